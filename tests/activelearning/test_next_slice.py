from lib.activelearning.next_slice import confidence, next_slices
from lib.geometry import Axis
from lib.propagation.records import SliceRecord, Source
from lib.serving.next_volume import HardestFirst


def record(index, iou, source="forward", score=5.0, object_id=1, axis=Axis.AXIAL):
    return SliceRecord(object_id, axis, index, Source(source), iou, score)


def test_least_sure_first_and_apart():
    records = [record(0, 1.0, "prompt"), *(record(i, 0.9) for i in range(1, 20))]
    records[12] = record(12, 0.4)
    records[13] = record(13, 0.5)
    found = next_slices(records)
    assert found[0].index == 12
    assert 13 not in [s.index for s in found]
    assert len(found) == 3


def test_far_from_prompts_at_equal_confidence():
    records = [record(0, 1, "prompt"), record(20, 1, "prompt")]
    records += [record(i, 0.8) for i in range(1, 20)]
    assert next_slices(records, 1)[0].index == 10


def test_prompted_and_empty_slices_are_not_suggested():
    records = [record(0, 0.1, "prompt"), record(1, 0.1, score=-3.0), record(2, 0.9)]
    assert [s.index for s in next_slices(records)] == [2]
    # of two passes over one slice the less sure one speaks
    assert next_slices([*records, record(2, 0.3, "backward")])[0].weight == 0.7


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
