from dataclasses import replace

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
    assert next_slices(records, 1)[0].index == 10


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
