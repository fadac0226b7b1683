"""How far a run is and how long it will take: a bar on a terminal, a line per sample in a log."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class RunProgress:
    """Counts results (sample × configuration) on stderr."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self._sample = ""
        self._begin = time.monotonic()
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("results"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> RunProgress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def advance(self, sample: str) -> None:
        """One more result, of `sample`."""
        self.done += 1
        self._bar.update(self._task, advance=1, description=sample)
        if not self._console.is_terminal and sample != self._sample:
            self._console.print(
                f"{self.done}/{self.total} results, now {sample}, {self._left()}",
                highlight=False,
                soft_wrap=True,
            )
        self._sample = sample

    def say(self, line: str) -> None:
        """A sentence between the counts."""
        self._console.print(line, highlight=False, soft_wrap=True)

    def _left(self) -> str:
        seconds = (time.monotonic() - self._begin) / self.done * (self.total - self.done)
        return f"about {seconds / 60:.1f} min left"
