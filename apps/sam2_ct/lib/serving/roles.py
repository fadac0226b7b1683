"""Who may call a route: dependencies for MONAI Label's four roles."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC, User

_user = RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER)
_annotator = RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR)
_admin = RBAC(settings.MONAI_LABEL_AUTH_ROLE_ADMIN)

USER = [Depends(_user)]
ADMIN = [Depends(_admin)]

AnyUser = Annotated[User, Depends(_user)]
Annotator = Annotated[User, Depends(_annotator)]
