"""Who is logged in: random tokens, which only this process knows, each for a limited time.

Nothing is signed and nothing is stored: a token cannot be forged, a log-out is final, and a
restart of the server logs everybody out.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from lib.serving.auth.users import User

_EACH = 50  # tokens a user can have at a time; the oldest ones give way


@dataclass(frozen=True)
class _Grant:
    user: str
    password: str  # the hash it was given for: with another password, it is over
    until: float


class Tokens:
    """Tokens given out, which last `lifetime` seconds."""

    def __init__(self, lifetime: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.lifetime = lifetime
        self._clock = clock
        self._grants: OrderedDict[str, _Grant] = OrderedDict()  # in the order they end

    def issue(self, user: User) -> str:
        """A new token for somebody whose password was right."""
        now = self._clock()
        while self._grants and next(iter(self._grants.values())).until <= now:
            self._grants.popitem(last=False)
        own = [key for key, grant in self._grants.items() if grant.user == user.name]
        for key in own[: max(0, len(own) - _EACH + 1)]:
            del self._grants[key]
        token = secrets.token_urlsafe(32)
        self._grants[_key(token)] = _Grant(user.name, user.password, now + self.lifetime)
        return token

    def owner(self, token: str, find: Callable[[str], User | None]) -> User | None:
        """Whose token this is, as `find` knows the user now; None if it does not count."""
        grant = self._grants.get(_key(token))
        if grant is None or grant.until <= self._clock():
            return None
        user = find(grant.user)
        return user if user is not None and user.password == grant.password else None

    def revoke(self, token: str) -> None:
        """Log out."""
        self._grants.pop(_key(token), None)


def _key(token: str) -> str:
    """What a token is looked up by, so that how long that takes says nothing about the token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
