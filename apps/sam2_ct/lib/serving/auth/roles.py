"""The seam with MONAI Label's checks of roles, the only one.

Each of its routes depends on `RBAC(role)`, which asks `get_current_user` who comes. That one reads
a realm's signed token, and cannot with the PyJWT of today; FastAPI lets the app put another in its
place.
"""

from __future__ import annotations

from fastapi import FastAPI, HTTPException, Request
from monailabel.config import settings as server_settings
from monailabel.endpoints.user import auth as upstream

from lib.serving.auth.users import Role, User


def obey_roles(app: FastAPI) -> None:
    """Let MONAI Label's routes ask for roles of those whom the gate let in."""
    server_settings.MONAI_LABEL_AUTH_ENABLE = True
    app.dependency_overrides[upstream.get_current_user] = _current_user


def as_upstream(user: User) -> upstream.User:
    """A user as MONAI Label knows users."""
    names = {
        Role.USER: server_settings.MONAI_LABEL_AUTH_ROLE_USER,
        Role.ANNOTATOR: server_settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR,
        Role.REVIEWER: server_settings.MONAI_LABEL_AUTH_ROLE_REVIEWER,
        Role.ADMIN: server_settings.MONAI_LABEL_AUTH_ROLE_ADMIN,
    }
    return upstream.User(
        username=user.name, name=user.name, roles=[names[role] for role in user.role.includes]
    )


async def _current_user(request: Request) -> upstream.User:
    if request.state.user is None:  # on a route that the gate leaves open
        raise HTTPException(401, "log in first", headers={"WWW-Authenticate": "Bearer"})
    return as_upstream(request.state.user)
