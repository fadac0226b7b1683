"""Limits on guessing passwords: after some failures, one has to wait, longer each time.

Three counts, the first of which stops a person who guesses, and hardly ever the one who is guessed
at: of a name from an address, of an address, and of a name from anywhere.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

_FORGET_AFTER = 3600.0
_REMEMBERED = 50_000  # of each count; those longest untouched go first


@dataclass(frozen=True)
class Limit:
    """`free` failures cost nothing, then 1, 2, 4, … seconds, `longest` at most."""

    free: int
    longest: float

    def wait(self, failures: int) -> float:
        """Seconds after so many failures."""
        beyond = failures - self.free
        return 0.0 if beyond < 0 else min(2.0 ** min(beyond, 32), self.longest)


NAME_AND_ADDRESS = Limit(free=5, longest=900)
ADDRESS = Limit(free=30, longest=900)
NAME = Limit(free=50, longest=60)


@dataclass
class _Record:
    failures: int = 0
    wait_until: float = 0.0
    touched: float = 0.0


class Tries:
    """Failures so far. Used by one thread, the event loop's."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._records: OrderedDict[tuple[str, ...], _Record] = OrderedDict()

    def begin(self, name: str, address: str) -> int:
        """Seconds to wait, or 0: then go on, and the try counts as a failure until `succeeded`.

        Counting first means that tries sent at once are limited like tries in turn.
        """
        now = self._clock()
        records = {key: self._record(key, now) for key in _limits(name, address)}
        wait = max(record.wait_until - now for record in records.values())
        if wait > 0:
            return math.ceil(wait)
        for key, record in records.items():
            record.failures += 1
            record.wait_until = now + _limits(name, address)[key].wait(record.failures)
            record.touched = now
            self._records[key] = record
            self._records.move_to_end(key)
        while len(self._records) > 3 * _REMEMBERED:
            self._records.popitem(last=False)
        return 0

    def succeeded(self, name: str, address: str) -> None:
        """The try was none of guessing. The address keeps its other failures."""
        for key, limit in _limits(name, address).items():
            if limit is not ADDRESS:
                self._records.pop(key, None)
            elif (record := self._records.get(key)) is not None:
                record.failures -= 1
                record.wait_until = 0.0

    def _record(self, key: tuple[str, ...], now: float) -> _Record:
        record = self._records.get(key)
        fresh = record is None or now - record.touched > _FORGET_AFTER
        return _Record() if fresh else record


def _limits(name: str, address: str) -> dict[tuple[str, ...], Limit]:
    place = _network(address)
    return {
        ("both", name, place): NAME_AND_ADDRESS,
        ("address", place): ADDRESS,
        ("name", name): NAME,
    }


def _network(address: str) -> str:
    """The address; of IPv6 the /64, all of which one machine may use."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False))
