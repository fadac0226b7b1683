"""Waiting for what a page is about to show."""

from __future__ import annotations

import time
from collections.abc import Callable

from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException

_LONGEST = 1500  # characters of the page in an error


def wait_for(condition: Callable, text: Callable[[], str], limit: float, pause: float):
    """The first true value of `condition`, looked at again and again.

    Args:
        condition: elements in it may be missing or drawn anew meanwhile, as while a page loads.
        text: what the page says, for the error.
        limit: seconds until it is one.
        pause: seconds between two looks.
    """
    deadline = time.monotonic() + limit
    while True:
        try:
            if value := condition():
                return value
        except (NoSuchElementException, StaleElementReferenceException):
            pass
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain; the page says:\n{text()[-_LONGEST:]}")
        time.sleep(pause)
