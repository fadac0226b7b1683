"""What commands share: a line for a user's mistake, exit codes, output whole or not at all."""

from __future__ import annotations

import json
import os
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import typer

from lib.errors import BadInput, Cancelled, Unavailable

BAD_INPUT, INTERRUPTED = 2, 130


def run(app: typer.Typer) -> None:
    """Run a typer app on the process's arguments and exit with its code."""
    sys.exit(execute(app, sys.argv[1:]))


def execute(app: typer.Typer, arguments: list[str]) -> int:
    """Exit code of a typer app: 0 done, 2 bad input (one line on stderr), 130 interrupted."""
    command = typer.main.get_command(app)
    try:
        code = command(arguments, standalone_mode=False) or 0
    except typer.TyperException as error:
        return _one_line(error.format_message())
    except (BadInput, Unavailable) as error:
        return _one_line(str(error))
    except Cancelled as error:
        print(f"interrupted: {error}", file=sys.stderr)
        return INTERRUPTED
    if code == INTERRUPTED:  # what typer makes of Ctrl+C
        print("interrupted: nothing was written", file=sys.stderr)
    return code


def write_whole(path: str | Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a file beside `path`, then put it in place in one step.

    Raises:
        BadInput: the folder cannot be written to.
    """
    path = Path(path)
    partial = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    try:
        write(partial)
        os.replace(partial, path)
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: str | Path, content: object) -> None:
    """JSON, indented, whole or not at all.

    Raises:
        BadInput: the folder cannot be written to.
    """
    write_whole(path, lambda p: p.write_text(json.dumps(content, indent=1) + "\n"))


def _one_line(message: str) -> int:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return BAD_INPUT
