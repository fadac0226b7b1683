"""Splits: who is in, always the same ones, never silently others."""

import json

import pytest

from lib.errors import BadInput
from lib.evaluation import dataset as datasets
from lib.evaluation import split as splits


def test_every_paper_class_has_its_structures():
    kinds = {}
    vertebrae = [f"C{n}" for n in range(1, 8)] + [f"T{n}" for n in range(1, 13)]
    vertebrae += [f"L{n}" for n in range(1, 6)] + ["S1"]
    names = [f"vertebrae_{v}" for v in vertebrae]
    names += [f"rib_{s}_{n}" for s in ("left", "right") for n in range(1, 13)]
    names += [
        f"{b}_{s}"
        for b in ("humerus", "femur", "clavicula", "scapula", "hip")
        for s in ("left", "right")
    ]
    import re

    for name in [*names, "sacrum", "sternum", "skull"]:
        (kind,) = [k for k, pattern in datasets.BONES.items() if re.fullmatch(pattern, name)]
        kinds[kind] = kinds.get(kind, 0) + 1
    # paper table II: labels of each class
    assert kinds == {
        "vertebrae": 25, "rib": 24, "humerus": 2, "femur": 2, "clavicle": 2, "scapula": 2,
        "hip": 2, "sacrum": 1, "sternum": 1, "skull": 1,
    }  # fmt: skip


def draw(root, per_class=2, seed=0, **more):
    return splits.draw(root, datasets.BONES, per_class, seed, **more)


def test_balance_thin_masks_and_short_classes(dataset):
    split = draw(dataset)
    assert splits.counts(split) == {"rib": 1, "femur": 2, "sacrum": 1}
    assert "case_a/rib_left_1" not in {s.id for s in split.samples}
    assert split.short["rib"] == 1
    assert split.short["skull"] == 0
    assert "femur" not in split.short
    assert all(s.slices == 9 for s in split.samples)


def test_seed_decides_and_repeats(dataset):
    assert draw(dataset).checksum == draw(dataset).checksum
    chosen = {tuple(s.id for s in draw(dataset, 1, seed).samples) for seed in range(8)}
    assert len(chosen) > 1


def test_another_class_leaves_the_first_as_it_was(dataset):
    alone = splits.draw(dataset, datasets.classes("femur"), 2, 3)
    beside = splits.draw(dataset, datasets.classes("sacrum,femur,spleen"), 2, 3)
    assert [s for s in beside.samples if s.kind == "femur"] == list(alone.samples)
    assert any(s.kind == "spleen" for s in beside.samples)


def test_excluded_samples_are_not_drawn(dataset, tmp_path):
    file = tmp_path / "bad.txt"
    file.write_text("# known bad\ncase_a  # whole case\ncase_b/femur_left\n")
    split = draw(dataset, 4, exclusions=datasets.read_exclusions(file))
    assert {s.id for s in split.samples} == {"case_b/femur_right", "case_b/rib_right_7"}
    assert split.excluded == ("case_a", "case_b/femur_left")
    assert split.checksum != draw(dataset, 4).checksum


def test_round_trip_and_refusal_to_overwrite(dataset, tmp_path):
    path = tmp_path / "new folder" / "split.json"
    split = draw(dataset, exclusions=frozenset({"case_a/sacrum"}))
    assert splits.write(split, path) is True
    assert splits.read(path) == split
    assert splits.write(split, path) is False
    before = path.read_bytes()
    with pytest.raises(BadInput, match="never overwritten"):
        splits.write(draw(dataset, per_class=1), path)
    assert path.read_bytes() == before


def test_a_changed_or_missing_mask_is_found_before_a_run(dataset, changed):
    split = draw(dataset)
    splits.verify(split, dataset)
    root, file = changed
    with pytest.raises(BadInput, match=r"sacrum.*SHA-256 differs"):
        splits.verify(split, root)
    file.unlink()
    with pytest.raises(BadInput, match="not in the dataset"):
        splits.verify(split, root)


@pytest.mark.parametrize("content", ["", "[]", '{"format": "other"}', json.dumps({"seed": 1})])
def test_what_is_not_a_manifest_is_refused(content, tmp_path):
    path = tmp_path / "split.json"
    path.write_text(content)
    with pytest.raises(BadInput, match=r"split\.json"):
        splits.read(path)


def test_a_folder_without_masks_is_refused(tmp_path):
    with pytest.raises(BadInput, match="expected CASE/ct"):
        draw(tmp_path)
    with pytest.raises(BadInput, match="no dataset folder"):
        draw(tmp_path / "nowhere")
