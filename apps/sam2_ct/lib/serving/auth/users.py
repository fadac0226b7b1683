"""The file of users: names, roles and salted hashes. Only its owner can read it."""

from __future__ import annotations

import json
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock

from lib.choice import Choice
from lib.errors import BadInput
from lib.files import read_json

FORMAT = "sam2_ct users 1"
_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")


class Role(Choice):
    """What somebody may do, as MONAI Label's routes ask for it; each includes those before it."""

    USER = "user"  # read everything, run models
    ANNOTATOR = "annotator"  # add images, submit labels
    REVIEWER = "reviewer"
    ADMIN = "admin"  # remove images and labels, batch runs, others' jobs

    @property
    def includes(self) -> tuple[Role, ...]:
        """This role and the lesser ones."""
        ranks = tuple(Role)
        return ranks[: ranks.index(self) + 1]


@dataclass(frozen=True)
class User:
    """Somebody who may log in; `password` is the salted hash."""

    name: str
    role: Role
    password: str

    @property
    def is_admin(self) -> bool:
        """Whether this is an administrator."""
        return self.role is Role.ADMIN


class UsersFile:
    """The users in a file, read again whenever it has changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, ...] | None = None
        self._users: dict[str, User] = {}

    def all(self) -> dict[str, User]:
        """Users by name; none where there is no file.

        Raises:
            BadInput: the file is damaged, or others can read or write it.
        """
        try:
            about = self.path.stat()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise BadInput(f"cannot read {self.path}: {error.strerror}") from error
        if os.name == "posix" and stat.S_IMODE(about.st_mode) & 0o077:
            raise BadInput(f"others can open {self.path}, which has passwords: chmod 600 it")
        seen = (about.st_ino, about.st_mtime_ns, about.st_size)
        if seen != self._seen:
            self._users = self._read()
            self._seen = seen
        return self._users

    def find(self, name: str) -> User | None:
        """The user of that name.

        Raises:
            BadInput: as `all`.
        """
        return self.all().get(name)

    def add(self, user: User) -> None:
        """Add a user.

        Raises:
            BadInput: the name is taken or no name, or the file cannot be written.
        """
        if not _NAME.fullmatch(user.name):
            raise BadInput(
                f"{user.name!r} is no user name: take 1 to 64 of a-z, 0-9 and . _ @ -, "
                "a letter or digit first"
            )
        with self._changed() as users:
            if user.name in users:
                raise BadInput(f"there is a user {user.name} already: remove it, or use passwd")
            users[user.name] = user

    def remove(self, name: str) -> None:
        """Remove a user, who is logged out with that.

        Raises:
            BadInput: there is none, or the file cannot be written.
        """
        self._known(self.all(), name)  # before a folder or a lock is made for it
        with self._changed() as users:
            del users[self._known(users, name).name]

    def set_password(self, name: str, password: str) -> None:
        """Give a user another password hash; what was logged in with the old one no longer is.

        Raises:
            BadInput: there is no such user, or the file cannot be written.
        """
        with self._changed() as users:
            users[name] = replace(self._known(users, name), password=password)

    def _known(self, users: dict[str, User], name: str) -> User:
        if name not in users:
            raise BadInput(f"there is no user {name!r} in {self.path}")
        return users[name]

    @contextmanager
    def _changed(self) -> Iterator[dict[str, User]]:
        """The users, to be changed, and written if nothing was raised."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self.path}.lock", mode=0o600):
                users = dict(self.all())
                yield users
                self._write(users)
        except OSError as error:
            raise BadInput(f"cannot write {self.path}: {error.strerror}") from error

    def _read(self) -> dict[str, User]:
        content = read_json(self.path)
        try:
            if content["format"] != FORMAT:
                raise ValueError(f"its format is not {FORMAT!r}")
            return {
                name: User(name, Role(entry["role"]), str(entry["password"]))
                for name, entry in content["users"].items()
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadInput(f"{self.path} is no file of users: {error}") from error

    def _write(self, users: dict[str, User]) -> None:
        """Whole or not at all, and readable by nobody else at any time."""
        listed = {u.name: {"role": u.role.value, "password": u.password} for u in users.values()}
        content = {"format": FORMAT, "users": listed}
        handle, beside = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(content, file, indent=1)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, self.path)
        except BaseException:
            os.unlink(beside)
            raise
