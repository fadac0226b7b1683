"""Each infer task called directly: a viewer's request in, a label map and its story out."""

import pkgutil
import threading
from concurrent.futures import Future
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lib.configs.tasks import TaskConfig
from lib.engine import models
from lib.engine.clock import Clock
from lib.engine.jobs import Job, JobBoard
from lib.engine.log import Key, Results
from lib.engine.models import Engines, ModelKey
from lib.engine.pipeline import Pipeline
from lib.engine.report import fingerprint
from lib.errors import BadInput
from lib.geometry import Axis
from lib.infers.base import Services
from lib.infers.masks import MaskTask
from lib.infers.points import PointTask, SliceTask
from lib.infers.propagate import PropagateTask
from lib.infers.request import Asker, ViewerRequest
from lib.models.build import load_predictor
from lib.transforms.load import load_labelmap
from tests.engine import phantom
from tests.engine.passing import Time


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


def scribbles(tmp_path: Path, labels: np.ndarray, affine: np.ndarray = phantom.AFFINE) -> Path:
    path = tmp_path / "scribbles.nii.gz"
    nib.save(nib.Nifti1Image(labels, affine), path)
    return path


def as_pir(voxels: np.ndarray) -> nib.Nifti1Image:
    """Voxels of the phantom, permuted and flipped as a file stored posterior-inferior-right."""
    image = nib.Nifti1Image(voxels, phantom.AFFINE)
    codes = nib.orientations.axcodes2ornt(tuple("PIR"))
    return image.as_reoriented(
        nib.orientations.ornt_transform(nib.io_orientation(phantom.AFFINE), codes)
    )


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


#: Where a request works, in the order it comes there: module, function, and in which stage.
WORK = (
    ("lib.engine.models.Engines.get", "model"),
    ("lib.engine.pipeline.load_volume", "load"),
    ("lib.engine.pipeline.unlike_ct", "window"),
    ("lib.infers.masks.load_labelmap", "prompts"),
    ("lib.infers.masks.from_scribbles", "prompts"),
    ("lib.engine.pipeline.pieces_of", "crop"),
    ("lib.transforms.windowed.scale", "crop"),
    ("lib.propagation.inferer.with_prior", "merge"),
    ("lib.engine.pipeline.label_map", "restore"),
    ("lib.engine.pipeline.leave_out", "restore"),
    ("lib.engine.pipeline.next_slices", "report"),
    ("lib.engine.log.save_labelmap", "log"),
    ("lib.engine.log.fingerprint", "log"),
    ("lib.infers.base.save_labelmap", "answer"),
)


def test_every_second_of_a_request_lies_in_a_named_stage(services, ct, tmp_path, monkeypatch):
    time = Time()
    for n, (name, _) in enumerate(WORK):
        where, _, function = name.rpartition(".")
        place = pkgutil.resolve_name(where)
        monkeypatch.setattr(place, function, time.of(getattr(place, function), 2.0**n))
    task, painted = MaskTask(services), scribbles(tmp_path, phantom.painted() * np.uint8(3))
    request = ViewerRequest.parse(
        SEGMENTS, task.name, Asker("me", "ct", "v"), label_file=painted, clock=Clock(time)
    )
    begun = time.now
    file, params = task(request, ct)
    Path(file).unlink()
    told = params["seconds"]
    assert sum(told.values()) == pytest.approx(time.now - begun, abs=0.01)
    expected = dict.fromkeys(dict.fromkeys(stage for _, stage in WORK), 0.0)
    for n, (_, stage) in enumerate(WORK):
        expected[stage] += 2.0**n
    measured = told["encode"] + told["track"]  # by the network itself, and taken off the merging
    assert {stage: told[stage] for stage in expected} == pytest.approx(
        expected | {"merge": expected["merge"] - measured}, abs=0.01
    )


def test_masks_again_take_what_changed(services, ct, tmp_path):
    task = MaskTask(services)
    painted = phantom.painted() * np.uint8(3)
    first, _, _ = ask(task, ct, scribbles(tmp_path, painted), **SEGMENTS)
    corrected = first * np.uint8(3)
    corrected[5:9, 5:9, 5] = 3
    _, _, params = ask(task, ct, scribbles(tmp_path, corrected), **SEGMENTS)
    assert params["decided"][0] == "prompts of 'rod': axial slices 2, 5, 8, 13"


def test_masks_on_a_permuted_and_flipped_file(services, ct, tmp_path):
    task, painted = MaskTask(services), phantom.painted() * np.uint8(3)
    straight, _, _ = ask(task, ct, scribbles(tmp_path, painted), **SEGMENTS)
    volume, drawn = as_pir(phantom.ct()), as_pir(painted)
    path = tmp_path / "pir.nii.gz"
    nib.save(volume, path)
    request = ViewerRequest.parse(
        {**SEGMENTS, "result_extension": ".nii.gz"},
        task.name,
        Asker("me", "pir", "pir"),
        label_file=scribbles(tmp_path, np.asarray(drawn.dataobj), drawn.affine),
    )
    file, params = task(request, path)
    answer = nib.load(file)
    labels = np.asarray(answer.dataobj)
    Path(file).unlink()
    assert nib.aff2axcodes(answer.affine) == ("P", "I", "R")
    np.testing.assert_allclose(answer.affine, volume.affine, atol=1e-5)
    assert params["decided"][0] == "prompts of 'rod': axial slices 2, 7, 13"  # 15 - k
    np.testing.assert_array_equal(labels, np.asarray(as_pir(straight).dataobj))


def test_a_result_is_filed_with_its_recipe(services, ct, tmp_path):
    task, painted = MaskTask(services), phantom.painted() * np.uint8(3)
    labels, _, params = ask(task, ct, scribbles(tmp_path, painted), **SEGMENTS)
    entry = services.results.last(Key("me", "volume-1", "rod"))
    log = entry.read()
    assert entry.path == services.results.folder / params["log"]
    assert (log.task, log.label, log.label_names) == (task.name, "rod", {"rod": 1})
    np.testing.assert_array_equal(entry.labels(), labels)
    assert log.labels_sha256 == fingerprint(labels)
    assert log.recipe.settings.axis is Axis.AXIAL
    given = log.recipe.prompts.prompts
    assert [(p.index, p.object_id) for p in given] == [(2, 1), (8, 1), (13, 1)]
    for prompt in given:
        np.testing.assert_array_equal(prompt.mask, painted[..., prompt.index] == 3)


def test_a_slice_wiped_inside_stays_empty(services, ct, tmp_path):
    task = MaskTask(services)
    first, _, _ = ask(task, ct, scribbles(tmp_path, phantom.painted((4, 11), 1) * 3), **SEGMENTS)
    assert first[..., 7].any()
    corrected = first * np.uint8(3)
    corrected[..., 7] = 0
    second, _, params = ask(task, ct, scribbles(tmp_path, corrected), **SEGMENTS)
    assert not second[..., 7].any()
    assert second[..., 4].any()
    assert second[..., 11].any()
    assert "left empty, since you wiped them: axial slices 7" in params["decided"]


def test_a_slice_wiped_beyond_the_prompts_ends_the_object(services, ct, tmp_path):
    task = MaskTask(services)
    said = {**SEGMENTS, "extent": "whole"}  # so that there is something beyond
    first, _, _ = ask(task, ct, scribbles(tmp_path, phantom.painted((4, 8), 1) * 3), **said)
    assert first[..., 10:13].any(axis=(0, 1)).all()
    corrected = first * np.uint8(3)
    corrected[..., 10] = 0
    second, _, _ = ask(task, ct, scribbles(tmp_path, corrected), **said)
    assert second[..., 9].any()
    assert not second[..., 10:].any()


def test_voxels_of_another_segment_are_left_to_it(services, ct, tmp_path):
    painted = phantom.painted() * np.uint8(3)
    painted[:14, :, 4:7] = 2  # between the painted slices, across the rod
    labels, _, params = ask(MaskTask(services), ct, scribbles(tmp_path, painted), **SEGMENTS)
    assert labels[14:, :, 4:7].any()
    assert not labels[painted == 2].any()
    left = params["objects"][0]["left_to_others"]
    assert left > 0
    assert f"{left} voxels belong to other segments and were left to them" in params["decided"]


def test_options_of_the_request_go_over_those_of_the_server(engines, tmp_path, ct):
    config = TaskConfig.parse({"labels": "rod", "policy": "sps", "prior": "off"})
    services = Services(config, engines, JobBoard(), Results(tmp_path / "results"))
    file = scribbles(tmp_path, phantom.painted() * np.uint8(3))
    _, _, params = ask(MaskTask(services), ct, file, **SEGMENTS, policy=["baseline"])
    assert params["settings"]["policy"] == "baseline"
    assert params["settings"]["prior"] == "off"


@pytest.mark.parametrize(
    "said", [{"policy": "magic"}, {"axis": "oblique"}, {"prompt_slices": "some"}], ids=str
)
def test_an_option_that_is_not_understood_is_refused(services, ct, tmp_path, said):
    with pytest.raises(BadInput, match=next(iter(said.values()))):
        ask(MaskTask(services), ct, scribbles(tmp_path, phantom.painted()), **SEGMENTS, **said)
    assert not list(services.results.folder.rglob("*.json"))


def test_a_label_map_on_another_grid_is_refused(services, ct, tmp_path):
    moved = phantom.AFFINE.copy()
    moved[2, 3] += 3
    file = scribbles(tmp_path, phantom.painted() * np.uint8(3), moved)
    with pytest.raises(BadInput, match="another grid than the volume"):
        ask(MaskTask(services), ct, file, **SEGMENTS)


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


def test_two_gpus_answer_two_requests_at_the_same_time(monkeypatch, ct, tmp_path):
    """Two GPUs are stood in for by two names: their networks lie on the CPU."""
    at_once = threading.Barrier(2, timeout=60)
    used = []

    class Meeting(Pipeline):
        def carry_out(self, *args, **named):
            at_once.wait()  # both networks are at work, or nobody gets past this
            used.append(self)
            return super().carry_out(*args, **named)

    monkeypatch.setattr(models, "choose_devices", lambda _: ("cuda:0", "cuda:1"))
    monkeypatch.setattr(
        models,
        "load_predictor",
        lambda name, file, _device, precision: load_predictor(name, file, "cpu", precision),
    )
    monkeypatch.setattr(models, "Pipeline", Meeting)
    engines = Engines(ModelKey("builtin"))
    board = JobBoard(engines.devices)
    config = TaskConfig.parse({"labels": "rod,thin"})
    task = MaskTask(Services(config, engines, board, Results(tmp_path / "results")))
    painted = scribbles(tmp_path, phantom.painted() * np.uint8(3))

    def submit(client: str) -> tuple[Job, Future]:
        job = Job(client, "ct", task.name)
        request = ViewerRequest.parse(
            SEGMENTS, task.name, Asker(client, "ct", "v"), label_file=painted, job=job.id
        )
        return job, board.submit(job, lambda: task(request, ct))

    asked = [submit(client) for client in ("me", "you")]
    answers = [load_labelmap(future.result(120)[0])[0] for _, future in asked]
    assert [job.device for job, _ in asked] == ["cuda:0", "cuda:1"]
    assert {id(one) for one in used} == {id(engines.get(None, d)) for d in engines.devices}
    np.testing.assert_array_equal(*answers)
    assert answers[0].any()
