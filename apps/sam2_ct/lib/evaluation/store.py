"""The results of a run: a folder that a killed run leaves in order.

`run.json` says what is being measured and binds the folder to it; `results.jsonl` has a line per
sample and configuration, each on the disk before the next is begun.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from lib.errors import BadInput
from lib.files import write_json, write_whole

Record = dict[str, object]

#: Counts up when records or rows change so that older folders cannot be read.
FORMAT = "sam2_ct results 2"

#: What may differ between the parts of a run that was resumed, and is kept of each.
_CIRCUMSTANCES = ("device", "processor", "ray", "versions")

#: What must be the same for results to stand in one folder.
_IDENTITY = ("split_checksum", "model", "checkpoint_sha256")


class ResultStore:
    """Results in `folder`, to be read, or to be written by one process at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines = folder / "results.jsonl"
        self._lock = FileLock(folder / ".lock")

    # --- what is measured --------------------------------------------------------------

    @property
    def run(self) -> dict:
        """The content of `run.json`.

        Raises:
            BadInput: there is none, or it is another version's.
        """
        try:
            run = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
            if run["format"] != FORMAT:
                raise ValueError(f"format {run['format']!r}, expected {FORMAT!r}")
            return run
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadInput(
                f"{self.folder} holds no results of `evaluate.py run`: its run.json is missing, "
                f"damaged or of another version ({getattr(error, 'strerror', None) or error})"
            ) from error

    def begin(self, run: Mapping[str, object]) -> None:
        """Take the folder for writing and bind it to what is measured.

        Raises:
            BadInput: another run is writing, or the folder holds results of something else.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout:
            raise BadInput(f"another run is writing to {self.folder}: wait for it") from None
        except OSError as error:
            raise BadInput(f"cannot write to {self.folder}: {error.strerror or error}") from error
        if (self.folder / "run.json").exists():
            before = self.run
            for name in _IDENTITY:
                if before.get(name) != run[name]:
                    self.close()
                    raise BadInput(
                        f"{self.folder} holds results with another {name.replace('_', ' ')} "
                        f"({before.get(name)}, now {run[name]}): choose another folder"
                    )
            # a later run may measure more tables; what earlier ones decided stays
            known = {c["key"]: c for c in before["configurations"]}
            known |= {c["key"]: c for c in run["configurations"]}
            skipped = {**before.get("skipped", {}), **run.get("skipped", {})}
            skipped = {k: why for k, why in skipped.items() if k not in known}
            rows = {(r["table"], r["experiment"], r["label"]): r for r in before["rows"]}
            rows |= {(r["table"], r["experiment"], r["label"]): r for r in run["rows"]}
            run = {
                **run,
                "configurations": list(known.values()),
                "rows": list(rows.values()),
                "skipped": skipped,
                "earlier": _earlier(before, run),
            }
        write_json(self.folder / "run.json", run)
        self._mend()

    def close(self) -> None:
        """Let another process write."""
        self._lock.release()

    def _mend(self) -> None:
        """Cut off a line that a killed run did not finish."""
        if not self.lines.exists():
            return
        with self.lines.open("rb+") as file:
            end = file.seek(0, os.SEEK_END)
            size = end
            while size:
                file.seek(size - 1)
                if file.read(1) == b"\n":
                    break
                size -= 1
            if size != end:
                file.truncate(size)
                os.fsync(file.fileno())

    # --- results -----------------------------------------------------------------------

    def append(self, record: Record) -> None:
        """Add one result; when this returns it is on the disk."""
        line = json.dumps(record, separators=(",", ":"), allow_nan=False) + "\n"
        with self.lines.open("ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())

    def records(self) -> Iterator[Record]:
        """All results; an unfinished last line is passed over.

        Raises:
            BadInput: a line before the last is damaged.
        """
        if not self.lines.exists():
            return
        with self.lines.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return
                try:
                    yield json.loads(line)
                except ValueError:
                    raise BadInput(
                        f"{self.lines} is damaged in line {number}: remove that line, and the run "
                        "measures it again"
                    ) from None

    def done(self) -> set[tuple[str, str]]:
        """(sample, configuration) pairs that have a result."""
        return {(r["sample"], r["configuration"]) for r in self.records()}

    # --- pictures ----------------------------------------------------------------------

    def put_view(self, sample: str, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep what the contact sheet shows of one result."""
        path = self.view_path(sample, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda p: np.savez_compressed(p, **arrays))

    def view_path(self, sample: str, key: str) -> Path:
        """Where `put_view` puts it."""
        return self.folder / "views" / key / f"{sample.replace('/', '__')}.npz"


def _earlier(before: Mapping, run: Mapping) -> list[dict[str, object]]:
    """Circumstances of earlier parts of a run that are not those of this one."""
    known = [*before.get("earlier", []), {n: before.get(n) for n in _CIRCUMSTANCES}]
    now = {n: run.get(n) for n in _CIRCUMSTANCES}
    return [c for n, c in enumerate(known) if c != now and c not in known[:n]]
