"""Logging in and out, and who has."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from anyio import CapacityLimiter, to_thread
from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from lib.errors import BadInput
from lib.serving.auth.passwords import hash_of_nobody, is_right
from lib.serving.auth.tokens import Tokens
from lib.serving.auth.tries import Tries
from lib.serving.auth.users import User, UsersFile

logger = logging.getLogger(__name__)

#: Carries a browser's token.
COOKIE = "SAM2_CT_LOGIN"
_AT_ONCE = 2  # passwords checked at a time: each takes 64 MB and a core
DAMAGED = "the users file is damaged: the server's log says more"
_WRONG = "wrong user name or password"


@dataclass
class Desk:
    """Checks passwords, gives out tokens, and knows them again."""

    users: UsersFile
    tokens: Tokens
    tries: Tries = field(default_factory=Tries)
    _nobody: str = field(default_factory=hash_of_nobody)
    _checking: CapacityLimiter | None = None

    async def log_in(self, name: str, password: str, address: str) -> str:
        """A token for the user of that name and password.

        An unknown name is answered like a wrong password, as late.

        Raises:
            HTTPException: 401; 429 after too many failures; 503, the users file is damaged.
        """
        name = name.strip().lower()[:64]
        wait = self.tries.begin(name, address)
        if wait:
            logger.warning("log-in from %s: too many failures, %d s to wait", address, wait)
            raise HTTPException(
                429,
                f"too many failed log-ins: try again in {wait} s",
                headers={"Retry-After": str(wait)},
            )
        self._checking = self._checking or CapacityLimiter(_AT_ONCE)
        try:
            user = self.users.find(name)
            stored = user.password if user else self._nobody
            right = await to_thread.run_sync(is_right, password, stored, limiter=self._checking)
        except BadInput as error:
            logger.error("nobody can log in: %s", error)
            raise HTTPException(503, DAMAGED) from error
        if user is None or not right:
            logger.warning("log-in from %s failed", address)
            raise HTTPException(401, _WRONG, headers={"WWW-Authenticate": "Bearer"})
        self.tries.succeeded(name, address)
        logger.info("%s logged in from %s", user.name, address)
        return self.tokens.issue(user)

    def user_of(self, headers: Headers) -> User | None:
        """Who sent a request with these headers, if that is somebody who logged in.

        Raises:
            BadInput: the users file cannot be read.
        """
        token = token_in(headers)
        return self.tokens.owner(token, self.users.find) if token else None


def token_in(headers: Headers) -> str | None:
    """The bearer token, or that of a browser's cookie."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme:
        return token.strip() if scheme.lower() == "bearer" else None
    return cookie_parser(headers.get("cookie", "")).get(COOKIE)
