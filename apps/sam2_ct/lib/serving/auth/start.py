"""May the server start like this? Decided before anything answers."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn

from lib.configs.tasks import TaskConfig
from lib.errors import BadInput
from lib.serving.auth.desk import Desk
from lib.serving.auth.tokens import Tokens
from lib.serving.auth.users import UsersFile
from lib.serving.guards import is_loopback

logger = logging.getLogger(__name__)


def open_desk(config: TaskConfig, host: str | None) -> Desk | None:
    """Where to log in; None where log-in is off, which is for this machine or said to be wanted.

    Args:
        config: `users`, `login_hours` and `open`.
        host: the server was told to listen on; None: no other machine is answered.

    Raises:
        BadInput: others could reach the studies unasked, or nobody could log in.
    """
    reachable = host is not None and not is_loopback(host)
    if config.users is None:
        if reachable and not config.open:
            raise BadInput(
                f"with --host {host} every machine that reaches this one could read the studies: "
                "add users (sam2-ct users add NAME) and say --conf users FILE, "
                "or, if that is wanted, --conf open true"
            )
        if reachable:
            logger.warning(
                "this server is bound to %s and open: every machine that reaches it can read the "
                "studies and start work",
                host,
            )
        return None
    if config.open:
        raise BadInput("--conf open true and --conf users say opposite things: choose one")
    users = UsersFile(config.users.resolve())
    if not users.all():
        raise BadInput(
            f"nobody could log in: add somebody with sam2-ct users add NAME --file {users.path}"
        )
    if reachable:
        logger.warning(
            "this server is bound to %s: unless a proxy or --ssl_certfile encrypts, "
            "passwords and CTs can be read on the way",
            host,
        )
    return Desk(users, Tokens(config.login_hours * 3600))


def leave(error: BadInput) -> NoReturn:
    """End the process with a line for a user's mistake and exit code 2.

    At once, because the server that loads the app makes a traceback and another code of whatever
    is raised there, SystemExit included.
    """
    print(f"error: {error}", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(2)
