"""The folder of studies outlives kills, full disks, odd files and odd info."""

import json
import logging
import os
import zipfile
from pathlib import Path

import pytest
from monailabel.datastore.local import LocalDatastore
from monailabel.interfaces.exception import ImageNotFoundException

from lib.errors import BadInput
from lib.serving import studies
from lib.serving.studies import Studies


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "studies"
    made.mkdir()
    (made / "a.nii.gz").write_bytes(b"image a")
    return made


@pytest.fixture
def label(tmp_path):
    path = tmp_path / "label.nii.gz"
    path.write_bytes(b"a label")
    return str(path)


def index_of(folder) -> dict:
    return json.loads((folder / "datastore_v2.json").read_text())


def junk(folder) -> list[str]:
    return [p.name for p in folder.rglob(".*") if p.name != ".lock"]


def test_what_lies_in_the_folder_is_found_and_survives_a_restart(folder, label):
    store = Studies(str(folder))
    assert store.list_images() == ["a"]
    store.save_label("a", label, "final", {"label_info": [{"name": "hip"}]})
    store.update_image_info("a", {"note": "x"})
    again = Studies(str(folder))
    assert again.get_labels_by_image_id("a") == {"final": "a"}
    assert again.get_label_info("a", "final")["label_info"] == [{"name": "hip"}]
    assert again.get_image_info("a")["note"] == "x"
    assert LocalDatastore(str(folder)).get_label_info("a", "final")["label_info"]  # upstream's, too
    assert not junk(folder)


def test_files_of_others_are_seen_when_they_come_and_go(folder):
    store = Studies(str(folder))
    (folder / "b.nrrd").write_bytes(b"image b")
    assert store.status()["total"] == 2
    (folder / "labels" / "draft").mkdir(parents=True)
    (folder / "labels" / "draft" / "b.nii.gz").write_bytes(b"label")
    assert store.get_labels_by_image_id("b") == {"draft": "b"}
    (folder / "a.nii.gz").unlink()
    assert store.list_images() == ["b"]


def test_two_servers_on_one_folder_lose_nothing_of_each_other(folder, label):
    one, other = Studies(str(folder)), Studies(str(folder))
    one.update_image_info("a", {"one": 1})
    other.update_image_info("a", {"other": 2})
    one.save_label("a", label, "final", {"by": "one"})
    info = other.get_image_info("a")
    assert (info["one"], info["other"]) == (1, 2)
    assert other.get_label_info("a", "final")["by"] == "one"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"objects": 3}',
        b'{"objects": {"a": 3}}',
        b'{"objects": {"a": {"image": {"ext": ".nii.gz", "info": {"x": "\\ud800"}}}}}',
        b'{"objects": {"a": {"image": {"ext": ".nii.gz", "info": {"x": NaN}}}}}',
        b'{"objects": {"a": {"image": {"ext": ".nii.gz", "info": {"x": '
        + b"[" * 900
        + b"]" * 900
        + b"}}}}",
        b'{"objects": {"../a": {"image": {"ext": ".nii.gz"}}}}',
    ],
)
def test_a_damaged_index_is_put_aside_and_made_anew(folder, content, caplog):
    (folder / "datastore_v2.json").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        store = Studies(str(folder))
    assert store.list_images() == ["a"]
    assert index_of(folder)["objects"].keys() == {"a"}
    assert "made anew from the folder" in caplog.text
    (aside,) = folder.glob("datastore_v2.damaged-*.json")
    assert aside.read_bytes() == content


def test_sound_entries_of_a_damaged_index_are_kept(folder, label):
    (folder / "b.nii.gz").write_bytes(b"image b")
    store = Studies(str(folder))
    store.save_label("a", label, "final", {"label_info": [{"name": "hip"}]})
    content = index_of(folder)
    content["objects"]["b"]["image"]["info"]["x"] = "\ud800"
    (folder / "datastore_v2.json").write_text(json.dumps(content))
    again = Studies(str(folder))
    assert again.get_label_info("a", "final")["label_info"] == [{"name": "hip"}]
    assert "x" not in again.get_image_info("b")


@pytest.mark.parametrize("fails", ["copyfile", "fsync"])
def test_when_the_disk_is_full_the_old_label_stays(folder, label, tmp_path, monkeypatch, fails):
    store = Studies(str(folder))
    store.save_label("a", label, "final", {"by": "first"})
    before = (index_of(folder), (folder / "labels/final/a.nii.gz").read_bytes())

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(
        f"lib.serving.studies.shutil.{fails}" if fails == "copyfile" else "os.fsync", full
    )
    other = tmp_path / "other.nii.gz"
    other.write_bytes(b"another label")
    with pytest.raises(OSError, match="No space"):
        store.save_label("a", str(other), "final", {"by": "second"})
    with pytest.raises(OSError, match="No space"):
        store.add_image("b", str(other), {})
    monkeypatch.undo()
    for look in (store, Studies(str(folder))):
        assert look.get_label_info("a", "final")["by"] == "first"
        assert look.list_images() == ["a"]
    assert (index_of(folder), (folder / "labels/final/a.nii.gz").read_bytes()) == before
    assert not junk(folder)


@pytest.mark.parametrize(
    "info", [{"a": "\ud800"}, {"a": float("nan")}, {"\udc00": 1}, {"a": "x" * 70_000}]
)
def test_info_that_would_poison_the_index_is_refused(folder, info):
    store = Studies(str(folder))
    with pytest.raises(BadInput):
        store.update_image_info("a", info)
    assert Studies(str(folder)).get_image_info("a").keys() == {"ts", "name", "path"}


def test_another_ending_replaces_the_old_file(folder, tmp_path):
    store = Studies(str(folder))
    other = tmp_path / "x.nrrd"
    other.write_bytes(b"image")
    store.add_image("a", str(other), {})
    assert sorted(p.name for p in folder.glob("a.*")) == ["a.nrrd"]
    assert store.get_image_uri("a").endswith("a.nrrd")


def test_the_archive_tells_images_apart_that_are_links_to_files_of_one_name(
    folder, label, tmp_path
):
    for name in "bc":
        (tmp_path / name).mkdir()
        (tmp_path / name / "ct.nii.gz").write_text(f"image {name}")
        (folder / f"{name}.nii.gz").symlink_to(tmp_path / name / "ct.nii.gz")
    os.utime(tmp_path / "b" / "ct.nii.gz", (0, 0))  # ZIP begins in 1980
    store = Studies(str(folder))
    for name in "bc":
        store.save_label(name, label, "final", {})
    path = Path(store.get_dataset_archive(None))
    with zipfile.ZipFile(path) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    path.unlink()
    assert held.pop("metadata.json")
    assert held == {
        **{f"image/{name}.nii.gz": f"image {name}".encode() for name in "bc"},
        **{f"label/{name}.nii.gz": b"a label" for name in "bc"},
    }
    path = Path(store.get_dataset_archive(1))
    with zipfile.ZipFile(path) as archive:
        assert len(archive.namelist()) == 3
    path.unlink()


def test_an_archive_that_cannot_be_made_leaves_nothing(folder, label, tmp_path, monkeypatch):
    store = Studies(str(folder))
    store.save_label("a", label, "final", {})
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(zipfile.ZipFile, "write", lambda *_, **__: (_ for _ in ()).throw(OSError()))
    with pytest.raises(OSError):  # noqa: PT011
        store.get_dataset_archive(None)
    assert sorted(tmp_path.iterdir()) == before


def test_removing(folder, label):
    store = Studies(str(folder))
    store.save_label("a", label, "final", {})
    store.remove_label("a", "final")
    assert not (folder / "labels/final/a.nii.gz").exists()
    store.save_label("a", label, "draft", {})
    store.remove_image("a")
    assert store.list_images() == []
    assert not list(folder.rglob("a.*"))
    with pytest.raises(ImageNotFoundException):
        store.remove_image("a")


def test_what_a_killed_server_had_begun_is_swept_and_what_a_living_one_has_is_not(folder):
    dead = folder / ".part-999999999-0123abcd.b.nii.gz"
    living = folder / f".part-{os.getppid()}-0123abcd.b.nii.gz"
    dead.touch(), living.touch()
    assert Studies(str(folder)).list_images() == ["a"]
    assert not dead.exists()
    assert living.exists()


def test_what_another_server_changed_is_told(folder):
    mine, other = Studies(str(folder)), Studies(str(folder))
    other.update_image_info("a", {"note": "x"})
    before = mine.changed.rung
    assert mine.get_image_info("a")["note"] == "x"
    assert mine.changed.rung > before


def test_what_is_no_file_is_left_out(folder):
    """Whoever opens a pipe waits for ever."""
    (folder / "labels" / "final").mkdir(parents=True)
    for place in (folder, folder / "labels" / "final"):
        os.mkfifo(place / "pipe.nii.gz")
        (place / "folder.nii.gz").mkdir()
        (place / "nowhere.nii.gz").symlink_to(folder / "not there.nii.gz")
        (place / "loop.nii.gz").symlink_to(place / "loop.nii.gz")
    (folder / "link.nii.gz").symlink_to(folder / "a.nii.gz")
    store = Studies(str(folder))
    assert store.list_images() == ["a", "link"]
    assert store.status()["label_tags"] == {}
    (folder / "a.nii.gz").unlink()
    (folder / "link.nii.gz").unlink()
    os.mkfifo(folder / "a.nii.gz")
    assert store.list_images() == []


def test_a_file_that_comes_while_we_write_is_seen(folder, monkeypatch):
    """The folder's time of change is that of both."""
    monkeypatch.setattr(studies, "_LOOK_AGAIN", 0.0)
    monkeypatch.setattr(studies, "_is_settled", lambda stamp: True)
    store = Studies(str(folder))
    assert store.list_images() == ["a"]
    sync = studies.sync

    def meanwhile(path):
        (folder / "b.nii.gz").write_bytes(b"image b")
        sync(path)

    monkeypatch.setattr(studies, "sync", meanwhile)
    store.update_image_info("a", {"note": "x"})
    assert store.list_images() == ["a", "b"]


def test_names_that_are_not_unicode_are_left_out(folder):
    (folder / os.fsdecode(b"caf\xe9.nii.gz")).write_bytes(b"image")
    assert Studies(str(folder)).list_images() == ["a"]
