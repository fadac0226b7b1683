"""Each infer task called directly: a viewer's request in, a label map and its story out."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lib.configs.tasks import TaskConfig
from lib.engine.jobs import JobBoard
from lib.engine.log import Results
from lib.engine.models import Engines, ModelKey
from lib.errors import BadInput
from lib.infers.base import Services
from lib.infers.masks import MaskTask
from lib.infers.points import PointTask, SliceTask
from lib.infers.propagate import PropagateTask
from lib.infers.request import Asker, ViewerRequest
from lib.transforms.load import load_labelmap
from tests.engine import phantom


@pytest.fixture(scope="module")
def engines() -> Engines:
    return Engines(ModelKey("builtin"), "cpu", 64 << 20)


@pytest.fixture
def services(engines, tmp_path) -> Services:
    config = TaskConfig.parse({"labels": "rod,thin"})
    return Services(config, engines, JobBoard(), Results(tmp_path / "results"))


@pytest.fixture
def ct(tmp_path) -> Path:
    return phantom.write_ct(tmp_path / "ct.nii.gz")


def ask(task, ct: Path, label_file: Path | None = None, **said):
    request = ViewerRequest.parse(
        said, task.name, Asker("me", "ct", "volume-1"), label_file=label_file
    )
    file, params = task(request, ct)
    labels, grid = load_labelmap(file)
    Path(file).unlink()
    return labels, grid, params


def scribbles(tmp_path: Path, labels: np.ndarray) -> Path:
    path = tmp_path / "scribbles.nii.gz"
    nib.save(nib.Nifti1Image(labels, phantom.AFFINE), path)
    return path


SEGMENTS = {
    "label_info": [{"name": "rod", "id": 3}, {"name": "thin", "id": 2}],
    "selected_label_name": "rod",
}


def test_masks(services, ct, tmp_path):
    others = phantom.painted(range(1, 15), 2)
    painted = phantom.painted() * np.uint8(3)
    labels, grid, params = ask(
        MaskTask(services), ct, scribbles(tmp_path, np.maximum(painted, others)), **SEGMENTS
    )
    assert grid.shape == phantom.SHAPE
    assert set(np.unique(labels)) == {0, 1}
    np.testing.assert_array_equal(labels[..., 8] == 1, painted[..., 8] == 3)
    assert not labels[others > 0].any()
    assert params["label_names"] == {"rod": 1}
    assert {o["object"] for o in params["objects"]} == {1}
    assert {s["object"] for s in params["next_slices"]} <= {1}
    assert params["decided"][0] == "prompts of 'rod': axial slices 2, 8, 13"
    assert (services.results.folder / params["log"]).is_file()


def test_masks_again_take_what_changed(services, ct, tmp_path):
    task = MaskTask(services)
    painted = phantom.painted() * np.uint8(3)
    first, _, _ = ask(task, ct, scribbles(tmp_path, painted), **SEGMENTS)
    corrected = first * np.uint8(3)
    corrected[5:9, 5:9, 5] = 3
    _, _, params = ask(task, ct, scribbles(tmp_path, corrected), **SEGMENTS)
    assert params["decided"][0] == "prompts of 'rod': axial slices 2, 5, 8, 13"


def test_masks_without_a_label_map(services, ct):
    with pytest.raises(BadInput, match="no label map came"):
        ask(MaskTask(services), ct, **SEGMENTS)


def test_points(services, ct):
    labels, grid, params = ask(PointTask(services), ct, foreground=[[14, 18, 8]], label="rod")
    assert grid.shape == phantom.SHAPE
    assert set(np.unique(labels)) <= {0, 1}
    assert params["label_names"] == {"rod": 1}
    assert params["settings"]["axis"] == "axial"
    with pytest.raises(BadInput, match="no point and no region of interest"):
        ask(PointTask(services), ct)


def test_slices_alone_then_propagated(services, ct):
    accepted = {}
    for k, (i0, i1) in {4: (6, 18), 10: (9, 21)}.items():
        labels, _, params = ask(
            SliceTask(services), ct, roi=[i0, i1, 12, 24, k, k], object="rod", policy="magic"
        )
        assert not labels[..., [n for n in range(16) if n != k]].any()
        assert {s["index"] for s in params["slices"]} == {k}
        accepted[k] = labels[..., k]
    assert all(mask.any() for mask in accepted.values())
    task = PropagateTask(services, lambda _image: None)
    labels, _, params = ask(task, ct, source="accepted")
    assert params["label_names"] == {"rod": 1}
    assert "slices accepted earlier" in params["decided"][0]
    for k, mask in accepted.items():
        np.testing.assert_array_equal(labels[..., k], mask)


def test_propagated_from_a_submitted_label(services, ct, tmp_path):
    both = phantom.painted() + phantom.painted((4, 8, 12), 2)
    path = scribbles(tmp_path, both)
    task = PropagateTask(services, lambda _image: (path, {"long": 1, "thin": 2}))
    labels, _, params = ask(task, ct)
    assert params["label_names"] == {"long": 1, "thin": 2}
    assert (labels[both > 0] == both[both > 0]).all()
    assert {o["object"] for o in params["objects"]} == {1, 2}


def test_nothing_to_propagate(services, ct):
    with pytest.raises(BadInput, match="nothing to propagate"):
        ask(PropagateTask(services, lambda _image: None), ct)
