from dataclasses import replace

import pytest

from lib.activelearning.next_slice import confidence, next_slices
from lib.geometry import Axis
from lib.propagation.records import SliceRecord, Source
from lib.serving.next_volume import HardestFirst


def record(index, iou, source="forward", score=5.0, object_id=1, axis=Axis.AXIAL):
    return SliceRecord(object_id, axis, index, Source(source), iou, score)


def test_where_most_is_uncertain_first_and_apart():
    records = [record(0, 1.0, "prompt"), *(record(i, 0.95) for i in range(1, 40))]
    for i in range(18, 23):
        records[i] = record(i, 0.4)
    records.append(record(40, 1.0, "prompt"))
    found = next_slices(records)
    assert found[0].index == 20
    assert len(found) == 3
    assert all(abs(a.index - b.index) >= 3 for a in found for b in found if a is not b)
    assert all(0 <= s.weight <= 1 for s in found)


def test_the_middle_of_the_larger_gap_at_equal_confidence():
    records = [record(i, 1, "prompt") for i in (0, 20, 30)]
    records += [record(i, 0.8) for i in range(1, 30) if i != 20]
    first, second = next_slices(records, 2)
    assert first.index == 10
    assert first.weight == pytest.approx(10 / 28, abs=1e-4)
    assert second.index == 25, "the first counts as painted"


def moving(lengths, moved, iou=0.8):
    """Painted at both ends; in between the outline moves as told."""
    between = [replace(record(i, iou), moved=m) for i, m in enumerate(moved, start=1)]
    return [record(0, 1, "prompt"), *between, record(lengths, 1, "prompt")]


def test_where_the_outline_jumps_not_where_it_rests():
    records = moving(20, [1] * 13 + [30, 30] + [1] * 4)
    assert next_slices(records, 1)[0].index in (14, 15)
    calm = [replace(r, predicted_iou=1.0) if r.index in (14, 15) else r for r in records]
    assert next_slices(calm, 1)[0].index not in (14, 15), "sure of it: nothing to mend"


def test_weights_are_shares_of_what_may_be_wrong():
    """All of the slice, half of those beside it, nothing at half the length of the stretch."""
    found = next_slices(moving(4, [4, 8, 4]))
    assert [(s.index, s.weight) for s in found] == [(2, 0.75), (1, 0.25), (3, 0.25)]


def test_what_a_suggestion_mends_is_not_suggested_again():
    records = moving(40, [1] * 8 + [20] * 5 + [1] * 26)
    first, second = next_slices(records, 2)
    assert first.index in range(11, 16)
    assert second.index > 20


def test_nothing_is_mended_beyond_a_painted_slice():
    records = [record(0, 1, "prompt"), *moving(30, [1] * 29)[1:]]
    records[14] = record(14, 1, "prompt")
    records[15:17] = [replace(r, moved=30) for r in records[15:17]]
    assert next_slices(records, 1)[0].index > 14


def test_what_lies_beyond_the_painted_slices_competes():
    beyond = [replace(record(i, 0.1), moved=50) for i in range(4, 9)]
    first, *others = next_slices(moving(3, [1, 1]) + beyond)
    assert first.index == 6
    assert first.weight > others[0].weight
    calm = [replace(r, moved=0.01) for r in beyond]
    assert next_slices(moving(3, [1, 1]) + calm, 1)[0].index in (1, 2)


def test_a_slice_on_which_the_object_was_lost_between_painted_ones_is_suggested():
    records = moving(20, [0.5] * 8 + [40, 40, 40] + [0.5] * 8)
    records[9:12] = [replace(r, object_score=-2.0) for r in records[9:12]]
    assert next_slices(records, 1)[0].index in (9, 10, 11)


def test_estimated_uncertainty_counts_more_than_predicted_iou():
    records = [record(i, 1, "prompt") for i in (0, 10, 20)]
    records += [replace(record(i, 0.9), uncertainty=0.1) for i in range(1, 10)]
    records += [replace(record(i, 0.9), uncertainty=0.5) for i in range(11, 20)]
    assert next_slices(records, 1)[0].index == 15


def test_prompted_empty_and_outlying_slices_are_not_suggested():
    records = [record(0, 0.1, "prompt"), record(1, 0.1, score=-3.0), record(2, 0.9)]
    records.append(record(3, 0.2, "beyond"))
    assert [s.index for s in next_slices(records)] == [2]
    assert confidence(records) == 0.9


def test_of_two_passes_over_a_slice_the_less_sure_one_speaks():
    records = [record(i, 1, "prompt") for i in (0, 4, 8)]
    records += [record(i, 0.9) for i in (1, 2, 3, 5, 6, 7)]
    assert next_slices([*records, record(6, 0.2, "backward")], 1)[0].index == 6


def test_objects_apart():
    found = next_slices([record(3, 0.5), record(4, 0.5, object_id=2)])
    assert [(s.object_id, s.index) for s in found] == [(1, 3), (2, 4)]
    assert next_slices([]) == ()


def test_confidence():
    assert confidence([record(0, 0.2, "prompt"), record(1, 0.6), record(2, 0.8)]) == 0.7
    assert confidence([record(0, 0.2, "prompt")]) is None


class Store:
    def __init__(self, images):
        self.images = images

    def get_unlabeled_images(self):
        return list(self.images)

    def get_image_info(self, image):
        return self.images[image]

    def update_image_info(self, image, info):
        self.images[image] = info


def test_hardest_volume_first_then_untouched_ones():
    sure, unsure = {"sam2_ct": {"confidence": 0.9}}, {"sam2_ct": {"confidence": 0.5}}
    store = Store({"a": {}, "b": sure, "c": unsure})
    assert HardestFirst()({}, store)["id"] == "c"
    assert store.images["c"]["sam2_ct"]["confidence"] == 0.5
    del store.images["c"], store.images["b"]
    assert HardestFirst()({}, store)["id"] == "a"
    assert HardestFirst()({}, Store({})) is None


def test_beyond_the_painted_slices_nothing_is_suggested_where_nothing_was_found():
    records = moving(3, [0.1, 0.1]) + [replace(record(i, 0.1), moved=9 - i) for i in range(4, 9)]
    records += [replace(record(i, 0.1), moved=0) for i in range(9, 60)]
    assert all(s.index < 9 for s in next_slices(records))
