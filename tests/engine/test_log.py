import json

import numpy as np
import pytest

from lib.configs.options import Settings
from lib.engine.log import Entry, Key, Results, fingerprint
from lib.engine.migrations import SCHEMA
from lib.engine.recipe import Recipe
from lib.engine.report import Outcome, Report
from lib.errors import BadInput
from lib.geometry import Axis, Grid
from lib.prompts.types import Mask, PromptSet
from tests.engine.reports import bare_report

GRID = Grid((4, 5, 6), np.eye(4))


@pytest.fixture
def results(tmp_path) -> Results:
    return Results(tmp_path / "results")


@pytest.fixture
def recipe() -> Recipe:
    mask = np.eye(4, 5, dtype=bool)
    return Recipe(PromptSet(GRID, (Mask(Axis.AXIAL, 2, 1, mask),)), Settings())


def said(recipe, confidence) -> Report:
    return bare_report(GRID, settings=recipe.settings, confidence=confidence)


def add(results, key, recipe, value=1, task="masks"):
    labels = np.zeros(GRID.shape, np.uint8)
    labels[1:3] = value
    return results.add(
        key,
        task,
        recipe,
        Outcome(labels, GRID, said(recipe, value)),
        {"x": 1},
    )


def test_newest_first_and_back_again(results, recipe):
    key = Key("me", "ct", "hip")
    first, second = add(results, key, recipe, 1), add(results, key, recipe, 2)
    assert results.entries(key) == [second, first]
    assert results.last(key).labels().max() == 2
    assert results.last(key).read().report["confidence"] == 2
    np.testing.assert_array_equal(
        results.last(key).read().recipe.prompts.prompts[0].mask, recipe.prompts.prompts[0].mask
    )
    assert results.undo(key) == first
    assert results.undo(key) is None
    with pytest.raises(BadInput, match="no result to undo"):
        results.undo(key)
    # undone, not lost
    assert len(list(results.folder.rglob("undone/*.json"))) == 2


def test_tasks_and_labels_are_kept_apart(results, recipe):
    add(results, Key("me", "ct", "hip"), recipe, task="slice")
    add(results, Key("me", "ct", "hip"), recipe, task="masks")
    add(results, Key("me", "ct", "rib 3"), recipe)
    add(results, Key("you", "ct", "skull"), recipe)
    assert len(results.entries(Key("me", "ct", "hip"), "slice")) == 1
    assert results.labels("me", "ct") == ["hip", "rib 3"]
    assert results.labels("nobody", "ct") == []


@pytest.mark.parametrize("name", ["../../up", "/etc", "..", "", "undone", "a/b", "ü" * 200, ".x"])
def test_any_name_stays_in_the_folder(results, recipe, name):
    entry = add(results, Key(name, name, name), recipe)
    assert entry.path.resolve().is_relative_to(results.folder.resolve())
    assert len(entry.path.relative_to(results.folder).parts) == 4
    assert results.entries(Key(name, name, name)) == [entry]
    assert results.labels(name, name) == [name]


def test_log_appears_last(results, recipe, monkeypatch):
    key = Key("me", "ct", "hip")
    monkeypatch.setattr("lib.engine.log.write_json", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        add(results, key, recipe)
    assert results.entries(key) == []


def test_fingerprint_does_not_depend_on_the_type():
    labels = np.arange(24).reshape(2, 3, 4)
    assert fingerprint(labels.astype(np.uint8)) == fingerprint(np.asfortranarray(labels))
    assert fingerprint(labels) != fingerprint(labels + 1)


def test_log_is_plain_json(results, recipe):
    entry = add(results, Key("me", "ct", "hip"), recipe)
    log = json.loads(entry.path.read_text())
    assert (log["format"], log["schema"]) == ("sam2_ct result", SCHEMA)
    assert log["report"]["volume"]["path"] == "ct.nii"


def test_results_of_some_clients_come_newest_first(results, recipe):
    mine = [
        add(results, Key(client, image, label), recipe)
        for client, image, label in (
            ("anna", "ct", "hip"),
            ("bert", "ct", "hip"),
            ("anna/slicer", "mr", "rib"),
            ("anna", "mr", "hip"),
            ("anna_slicer", "mr", "hip"),
        )
    ]
    hers = results.of_clients(lambda client: client.partition("/")[0] == "anna")
    assert hers == [mine[3], mine[2], mine[0]]
    assert results.of_clients(lambda client: client == "anna/slicer") == [mine[2]]
    assert results.of_clients(lambda _: False) == []
    results.undo(mine[2].read().key)
    assert results.of_clients(lambda client: client == "anna/slicer") == []


def test_undo_of_what_is_not_the_newest_any_more_changes_nothing(results, recipe):
    key = Key("me", "ct", "hip")
    first, second = add(results, key, recipe), add(results, key, recipe)
    with pytest.raises(BadInput, match="newer result"):
        results.undo(key, first)
    assert results.entries(key) == [second, first]
    assert results.undo(key, second) == first


def test_the_report_of_a_log_is_typed(results, recipe):
    log = add(results, Key("me", "ct", "hip"), recipe, 0.5).read()
    assert log.told == said(recipe, 0.5)
    assert log.prompts.object_ids == recipe.prompts.object_ids
    assert log.key == Key("me", "ct", "hip")


def test_a_clock_that_was_set_back_changes_no_order(results, recipe):
    key = Key("me", "ct", "hip")
    first = add(results, key, recipe, 1)
    ahead = Entry(first.path.with_name("29981231T235959.999999.json"))
    first.labels_path.rename(ahead.labels_path)
    first.path.rename(ahead.path)
    second = add(results, key, recipe, 2)
    third = add(results, key, recipe, 3)
    assert results.entries(key) == [third, second, ahead]
    assert results.undo(key) == second


DAMAGED = {
    "empty": lambda log: "",
    "nested": lambda log: "[" * 99_999,
    "nothing in it": lambda log: json.dumps({k: log[k] for k in ("format", "schema")}),
    "of old": lambda log: json.dumps({"format": log["format"], "schema": 1}),
    **{
        f"no {key}": lambda log, key=key: json.dumps({k: v for k, v in log.items() if k != key})
        for key in ("client", "image", "label", "label_names", "created", "recipe", "report")
    },
    "parts of the wrong kind": lambda log: json.dumps(log | {"recipe": [], "report": 3}),
    "no time": lambda log: json.dumps(log | {"created": "yesterday"}),
    "no value": lambda log: json.dumps(log | {"label_names": {"x": "one"}}),
}


@pytest.mark.parametrize("how", DAMAGED)
def test_a_damaged_log_is_told_and_hides_no_other(results, recipe, how):
    sound = add(results, Key("me/slicer", "ct", "a"), recipe)
    damaged = add(results, Key("me/slicer", "ct", "b"), recipe)
    damaged.path.write_text(DAMAGED[how](json.loads(damaged.path.read_text())))
    with pytest.raises(BadInput):
        damaged.read()
    again = Results(results.folder)
    assert again.of_clients(lambda client: client == "me/slicer") == [damaged, sound]
    assert again.of_clients(lambda client: client != "me/slicer") == []
