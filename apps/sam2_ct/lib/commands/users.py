"""`sam2-ct users`: the people who may log in to a server."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Annotated

import platformdirs
import typer

from lib.errors import BadInput
from lib.serving.auth.passwords import hashed
from lib.serving.auth.users import Role, User, UsersFile

app = typer.Typer(help="Who may log in to the server.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="lower-case letters, digits and . _ @ -")]
File = Annotated[
    Path | None,
    typer.Option(help="the users file [~/.config/sam2_ct/users.json]", show_default=False),
]


@app.command()
def add(name: Name, role: str = "annotator", file: File = None) -> None:
    """Add a user: user, annotator (the default), reviewer or admin."""
    users = _users(file)
    rank = Role.parse(role)
    if name in users.all():
        raise BadInput(f"there is a user {name} already: remove it, or use passwd")
    users.add(User(name, rank, hashed(_password(name))))
    print(f"added {name} ({rank.value}); start the server with --conf users {users.path}")


@app.command("list")
def list_users(file: File = None) -> None:
    """Names and roles."""
    for user in sorted(_users(file).all().values(), key=lambda user: user.name):
        print(f"{user.name}\t{user.role.value}")


@app.command()
def remove(name: Name, file: File = None) -> None:
    """Remove a user, who is logged out at once."""
    _users(file).remove(name)
    print(f"removed {name}")


@app.command()
def passwd(name: Name, file: File = None) -> None:
    """Set another password; what is logged in with the old one is logged out at once."""
    users = _users(file)
    if users.find(name) is None:
        raise BadInput(f"there is no user {name!r} in {users.path}")
    users.set_password(name, hashed(_password(name)))
    print(f"{name} has another password")


def _users(file: Path | None) -> UsersFile:
    config = platformdirs.user_config_path("sam2_ct", appauthor=False)
    return UsersFile(file.expanduser() if file else config / "users.json")


def _password(name: str) -> str:
    """Asked for twice, without echo; a script gives it as the first line of stdin."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first = getpass.getpass(f"password for {name}: ")
    if getpass.getpass("once more: ") != first:
        raise BadInput("these were two different passwords: nothing was changed")
    return first
