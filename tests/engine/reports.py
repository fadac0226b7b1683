"""Reports for tests of what is done with them."""

from pathlib import Path

from lib.configs.options import Settings
from lib.engine.report import CheckpointReport, Report, VolumeReport
from lib.geometry import Grid


def bare_report(grid: Grid, path: Path = Path("ct.nii"), checkpoint: str = "builtin", **more):
    """A report of a result that has nothing to say but what is given."""
    silent = {
        "crops": (),
        "settings": Settings(),
        "objects": (),
        "slices": (),
        "encoded_slices": 0,
        "confidence": None,
        "next_slices": (),
        "decided": (),
        "warnings": (),
        "seconds": {},
        "threads": 1,
        "versions": {},
    }
    return Report(
        volume=VolumeReport(path, grid.shape, grid.spacing),
        checkpoint=CheckpointReport(checkpoint, "0" * 64, True, 192, "cpu", "fp32"),
        **silent | more,
    )
