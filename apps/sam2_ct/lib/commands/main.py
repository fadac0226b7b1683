"""`sam2-ct`: the words it knows. Nothing here, nor above a command's body, loads torch."""

from __future__ import annotations

from typing import Annotated

import typer

from lib import commands
from lib.commands import evaluate, users
from lib.commands.demo import demo
from lib.commands.sample import sample
from lib.commands.segment import segment
from lib.commands.serve import serve
from lib.commands.serve_dicom import serve_dicom
from lib.places import app_folder
from lib.version import __version__

NAME = "sam2-ct"

app = typer.Typer(
    name=NAME, add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True
)


def _say_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_say_version, help="Say which.")
    ] = False,
) -> None:
    """Segment bones in CT from a few marked slices, zero-shot, with SAM 2."""


app.command("demo")(demo)
app.command("serve")(serve)
app.command("serve-dicom")(serve_dicom)
app.command("segment")(segment)
app.add_typer(evaluate.app, name="evaluate")
app.command("sample")(sample)
app.add_typer(users.app, name="users")


@app.command("app")
def print_app_folder() -> None:
    """Print the folder for `python -m monailabel.main start_server --app`."""
    print(app_folder())


def main(*words: str, began: float | None = None) -> None:
    """Run the command line of this process, as if `words` stood before it, and exit.

    Args:
        words: see above.
        began: when the process did, by `time.perf_counter`; for the report.
    """
    import sys

    commands.run(app, [*words, *sys.argv[1:]], NAME, began)
