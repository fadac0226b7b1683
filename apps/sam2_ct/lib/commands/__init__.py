"""The command `sam2-ct`: what each of its words does; it translates, and calls the engine."""

from __future__ import annotations

import sys

import typer

from lib.errors import BadInput, Cancelled, Unavailable

BAD_INPUT, INTERRUPTED = 2, 130


def run(
    app: typer.Typer,
    arguments: list[str] | None = None,
    name: str | None = None,
    began: float | None = None,
) -> None:
    """Run a typer app on `arguments` (the process's, if None) and exit with its code."""
    sys.exit(execute(app, sys.argv[1:] if arguments is None else arguments, name, began))


def execute(
    app: typer.Typer, arguments: list[str], name: str | None = None, began: float | None = None
) -> int:
    """Exit code of a typer app: 0 done, 2 bad input (one line on stderr), 130 interrupted.

    Args:
        app: what to run.
        arguments: without the name of the program.
        name: of the program, in its help; None: that of the file that runs.
        began: when the process did, by `time.perf_counter`: the `obj` of typer's context.
    """
    command = typer.main.get_command(app)
    try:
        code = command(arguments, prog_name=name, standalone_mode=False, obj=began) or 0
    except typer.TyperException as error:
        return _one_line(error.format_message())
    except (BadInput, Unavailable) as error:
        return _one_line(str(error))
    except OSError as error:  # a folder that cannot be made, a disk that is full
        named = f"{error.filename}: " if error.filename else ""
        return _one_line(f"{named}{error.strerror or error}")
    except Cancelled as error:
        print(f"interrupted: {error}", file=sys.stderr)
        return INTERRUPTED
    if code == INTERRUPTED:  # what typer makes of Ctrl+C
        print("interrupted: nothing was written", file=sys.stderr)
    return code


def _one_line(message: str) -> int:
    if message:  # there is none where no word was given, and the help has been printed
        print("error: " + " ".join(message.split()), file=sys.stderr)
    return BAD_INPUT
