"""`sam2-ct demo` on a CT of one's own: through the real server, and refused before it starts."""

import json
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from lib.places import APP
from tests.cli.conftest import AFFINE, save


def demo(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, str(APP), "demo", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_ones_own_slices_and_no_more(tmp_path, ct, ct_array, painted):
    truth = np.zeros(ct_array.shape, np.uint8)
    truth[14:24, 12:22, 2:13] = 1
    slices = save(np.where(painted == 2, painted, 0), tmp_path / "slices.nii.gz")
    out = tmp_path / "out"
    whole = save(truth, tmp_path / "truth.nii.gz")
    done = demo("--ct", ct, "--prompts", slices, "--truth", whole, "-o", out)
    assert done.returncode == 0, done.stderr
    result = nib.load(out / "segmentation.nii.gz")
    np.testing.assert_allclose(result.affine, AFFINE)
    mask = np.asarray(result.dataobj) > 0
    assert (mask[..., 7] == (painted[..., 7] == 2)).all()
    dice = 2 * (mask & (truth > 0)).sum() / (mask.sum() + truth.sum())
    (asked,) = json.loads((out / "report.json").read_text())["demo"]["rounds"]
    assert asked["slices"] == [3, 7, 12]
    assert asked["dice"] == pytest.approx(dice, abs=1e-6)
    assert f"painted axial slices 3, 7, 12: Dice {dice:.3f}" in done.stdout
    assert (out / "overlay.png").read_bytes().startswith(b"\x89PNG")


def test_another_grid_is_refused_before_the_server_starts(tmp_path, ct, painted):
    slices = save(painted, tmp_path / "slices.nii.gz", np.diag([1, 1, 2, 1]))
    done = demo("--ct", ct, "--prompts", slices, "-o", tmp_path / "out")
    assert done.returncode == 2
    assert "lies on another grid" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out" / "server.log").exists()
