"""Who asks: the person who logged in, or whoever the request says, a cookie, or the address.

OHIF names no client, and through a tunnel or a proxy all its users come from one address.
Without log-in nothing of this is proved: a client is believed about its name.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from fastapi import Request

from lib.engine.jobs import Job

#: Given to a browser with OHIF's pages; OHIF's requests to the same server bring it back.
COOKIE = "SAM2_CT_CLIENT"
_A_YEAR = 365 * 24 * 3600


@dataclass(frozen=True)
class Caller:
    """Who asks.

    Attributes:
        client: the name under which jobs and results are kept.
        user: who logged in; None where log-in is off.
        is_admin: an administrator who logged in.
    """

    client: str
    user: str | None = None
    is_admin: bool = False

    def may_see(self, client: str) -> bool:
        """Whether what is kept under the name of a client is shown to the caller.

        That is the caller's own, under whichever of the user's client names, or an administrator
        asks.
        """
        if self.user is None:
            return client == self.client
        return self.is_admin or client.partition("/")[0] == self.user

    def may_manage(self, job: Job) -> bool:
        """Whether the caller may see a job's names and stop it."""
        return self.may_see(job.client)


def caller_of(http: Request, client_id: str | None = None) -> Caller:
    """Who sent a request that names `client_id` as its client, or none.

    Where log-in is on, that is a name within the user's own: `anna/slicer-2`.
    """
    user = getattr(http.state, "user", None)
    if user is not None:
        client = f"{user.name}/{client_id}" if client_id else user.name
        return Caller(client, user.name, user.is_admin)
    address = http.client.host if http.client else "local"
    return Caller(client_id or http.cookies.get(COOKIE) or address)


def client_of(http: Request, client_id: str | None = None) -> str:
    """The name under which somebody's jobs and results are kept."""
    return caller_of(http, client_id).client


def new_name() -> str:
    """A name for a browser that has none."""
    return f"browser-{uuid.uuid4().hex[:12]}"


def cookie_with(name: str) -> str:
    """A `Set-Cookie` header that names a browser for a year."""
    return f"{COOKIE}={name}; Path=/; Max-Age={_A_YEAR}; HttpOnly; SameSite=Lax"
