"""The list of studies: states, and the order in which they are offered."""

import nibabel as nib
import numpy as np
import pytest

from lib.serving.next_volume import INFO_KEY, HardestFirst, unfinished
from lib.serving.page.studies import Stage, StudyList, studies_in_order
from lib.serving.studies import Studies


@pytest.fixture
def store(tmp_path) -> Studies:
    for name in ("a", "b", "c", "d", "e"):
        nib.save(nib.Nifti1Image(np.zeros((2, 2, 2)), np.eye(4)), tmp_path / f"{name}.nii.gz")
    store = Studies(str(tmp_path))
    label = tmp_path / "label.nrrd"
    label.write_bytes(b"NRRD0004\n")
    store.update_image_info("d", {INFO_KEY: {"confidence": 0.9}})
    store.update_image_info("e", {INFO_KEY: {"confidence": 0.0}})
    store.update_image_info("b", {INFO_KEY: {"confidence": 0.7}})
    store.save_label("b", str(label), "final", {})
    store.save_label("c", str(label), "original", {})
    label.unlink()
    return store


def test_states_in_the_order_of_the_active_learning(store):
    rows = studies_in_order(store)
    assert [(row.image, row.stage, row.confidence) for row in rows] == [
        ("e", Stage.BEGUN, 0.0),
        ("d", Stage.BEGUN, 0.9),
        ("a", Stage.UNTOUCHED, None),
        ("c", Stage.BEGUN, None),
        ("b", Stage.FINAL, 0.7),
    ]


def test_the_first_is_the_one_that_is_offered_and_looking_offers_nothing(store):
    first = studies_in_order(store)[0].image
    assert "offered" not in store.get_image_info(first)[INFO_KEY]
    assert HardestFirst()({}, store) == {"id": first, "weight": 0.0}
    assert store.get_image_info(first)[INFO_KEY]["offered"] > 0
    assert list(unfinished(store)) == ["e", "d", "a", "c"]  # to offer one changes no order


def test_the_list_is_read_once_until_something_changes(store, monkeypatch):
    listed = StudyList(store)
    rows = listed.rows()
    assert listed.rows() is rows
    store.update_image_info("a", {INFO_KEY: {"confidence": 0.1}})
    assert [row.image for row in listed.rows()] == ["e", "a", "d", "c", "b"]
    again = listed.rows()
    monkeypatch.setattr("lib.serving.page.studies._KEPT", -1.0)
    assert listed.rows() is not again


def test_all_finished(store):
    for image in store.get_unlabeled_images():
        store.save_label(image, store.get_label_uri("b", "final"), "final", {})
    assert unfinished(store) == {}
    assert HardestFirst()({}, store) is None
    assert {row.stage for row in studies_in_order(store)} == {Stage.FINAL}
