"""`lib` first, before anything loads torch: it settles how torch's threads wait."""

from collections.abc import Iterator

import pytest

import lib  # noqa: F401
from lib.places import HOME_VARIABLE


@pytest.fixture(scope="session", autouse=True)
def _home(tmp_path_factory) -> Iterator[None]:
    """What the app keeps for itself stays out of the user's folders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(tmp_path_factory.mktemp("home")))
        yield
