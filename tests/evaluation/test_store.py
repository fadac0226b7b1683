"""Results survive a kill at any byte."""

import numpy as np
import pytest

from lib.errors import BadInput
from lib.evaluation.store import FORMAT, ResultStore

RUN = {
    "format": FORMAT,
    "split_checksum": "abc",
    "model": "builtin",
    "checkpoint_sha256": "def",
    "configurations": [{"key": "one"}],
    "rows": [{"table": "1", "experiment": "e", "label": "one"}],
    "skipped": {},
    "device": "cpu",
    "versions": {"torch": "1"},
}


def record(n):
    return {"sample": f"case/{n}", "configuration": "one", "scores": {"dice": 0.5}}


@pytest.fixture
def store(tmp_path):
    store = ResultStore(tmp_path / "results")
    store.begin(RUN)
    yield store
    store.close()


def test_a_line_cut_anywhere_is_dropped_and_the_rest_kept(store):
    for n in range(3):
        store.append(record(n))
    whole = store.lines.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for cut in range(last, len(whole)):
        store.lines.write_bytes(whole[:cut])
        assert [r["sample"] for r in store.records()] == ["case/0", "case/1"]
    store.close()
    again = ResultStore(store.folder)
    again.begin(RUN)
    again.append(record(9))
    assert [r["sample"] for r in again.records()] == ["case/0", "case/1", "case/9"]
    again.close()


def test_damage_in_the_middle_is_told(store):
    store.append(record(0))
    with store.lines.open("ab") as file:
        file.write(b"{broken\n")
    store.append(record(1))
    with pytest.raises(BadInput, match="damaged in line 2"):
        store.done()


@pytest.mark.parametrize("name", ["split_checksum", "model", "checkpoint_sha256"])
def test_a_folder_belongs_to_one_split_and_one_checkpoint(store, name):
    store.close()
    with pytest.raises(BadInput, match="choose another folder"):
        ResultStore(store.folder).begin({**RUN, name: "other"})


def test_more_tables_join_what_is_there(store):
    store.close()
    more = {**RUN, "configurations": [{"key": "two"}], "skipped": {"three": "not there"}}
    more["rows"] = [{"table": "5", "experiment": "e", "label": "two"}]
    again = ResultStore(store.folder)
    again.begin(more)
    again.close()
    assert [c["key"] for c in again.run["configurations"]] == ["one", "two"]
    assert [r["table"] for r in again.run["rows"]] == ["1", "5"]
    assert again.run["skipped"] == {"three": "not there"}


def test_a_part_measured_elsewhere_is_remembered(store):
    for device in ("cpu", "gpu", "gpu", "cpu"):
        store.close()
        store.begin({**RUN, "device": device})
    assert [part["device"] for part in store.run["earlier"]] == ["gpu"]


@pytest.mark.parametrize("content", ['{"format": "sam2_ct results 1"}', "{}", "[]", "{"])
def test_a_folder_of_another_version_is_refused(store, content):
    store.close()
    (store.folder / "run.json").write_text(content)
    with pytest.raises(BadInput, match="holds no results"):
        store.begin(RUN)


def test_two_runs_do_not_write_at_once(store):
    with pytest.raises(BadInput, match="another run is writing"):
        ResultStore(store.folder).begin(RUN)


def test_views_and_a_folder_without_results(store, tmp_path):
    store.put_view("case/femur", "one", {"slices": np.arange(3)})
    assert np.load(store.view_path("case/femur", "one"))["slices"].tolist() == [0, 1, 2]
    with pytest.raises(BadInput, match="holds no results"):
        _ = ResultStore(tmp_path).run
