"""Who asks: Slicer says so, browsers are told apart by a cookie, anybody else by the address.

OHIF names no client, and through a tunnel or a proxy all its users come from one address.
"""

from __future__ import annotations

import uuid

from fastapi import Request

#: Given to a browser with OHIF's pages; OHIF's requests to the same server bring it back.
COOKIE = "SAM2_CT_CLIENT"
_A_YEAR = 365 * 24 * 3600


def client_of(http: Request, client_id: str | None = None) -> str:
    """The name under which somebody's jobs and results are kept."""
    address = http.client.host if http.client else "local"
    return client_id or http.cookies.get(COOKIE) or address


def new_cookie() -> str:
    """A `Set-Cookie` header that names a browser for a year."""
    name = f"{COOKIE}=browser-{uuid.uuid4().hex[:12]}"
    return f"{name}; Path=/; Max-Age={_A_YEAR}; HttpOnly; SameSite=Lax"
