"""Nothing is written where the app is installed: the user's own folder, which can be chosen."""

import os
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

from lib import places
from lib.errors import BadInput
from lib.models.download import how_to_place
from lib.models.registry import BUILTIN, MODEL_DIR, place_of, resolve


@pytest.fixture
def app(tmp_path, monkeypatch) -> Path:
    """An app folder as an installation leaves it, and a home that does not exist yet."""
    folder = tmp_path / "installed"
    folder.mkdir()
    (folder / "main.py").write_text("class MyApp:\n    '''The one installed.'''\n")
    monkeypatch.setattr(places, "APP", folder)
    monkeypatch.setenv(places.HOME_VARIABLE, str(tmp_path / "home"))
    return folder


def test_home_is_the_systems_cache_folder_unless_named(monkeypatch, tmp_path):
    monkeypatch.delenv(places.HOME_VARIABLE, raising=False)
    assert places.home() == platformdirs.user_cache_path("sam2_ct", appauthor=False)
    monkeypatch.setenv(places.HOME_VARIABLE, str(tmp_path / "mine"))
    assert places.home() == tmp_path / "mine"
    places.settle(tmp_path / "other")
    assert places.downloads() == tmp_path / "other" / "model"


def test_a_relative_home_stays_where_it_was_meant(monkeypatch, tmp_path):
    monkeypatch.setenv(places.HOME_VARIABLE, "")
    monkeypatch.chdir(tmp_path)
    places.settle(Path("here"))
    monkeypatch.chdir("/")
    assert places.home() == tmp_path / "here"


def test_the_door_leads_to_the_installed_app(app):
    folder = places.app_folder()
    assert folder.parent == places.home()
    assert [p.name for p in folder.iterdir()] == ["main.py"]
    code = f"import runpy; print(runpy.run_path({str(folder / 'main.py')!r})['MyApp'].__doc__)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "The one installed."
    assert places.app_folder() == folder
    assert not (app / "logs").exists()


def test_an_app_folder_with_logs_is_taken_itself(app):
    (app / "logs").mkdir()
    assert places.app_folder() == app
    assert not places.home().exists()


def test_a_home_that_cannot_be_made_is_named(app, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(places.HOME_VARIABLE, str(tmp_path / "file" / "home"))
    with pytest.raises(BadInput, match=f"{places.HOME_VARIABLE}"):
        places.app_folder()


def test_downloads_go_home_unless_the_app_holds_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv(places.HOME_VARIABLE, str(tmp_path / "home"))
    monkeypatch.setattr("lib.models.registry.MODEL_DIR", tmp_path / "model")
    small = resolve("small")
    assert place_of(small) == tmp_path / "home" / "model" / small.file
    assert str(place_of(small)) in how_to_place(small)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / small.file).touch()
    assert place_of(small) == tmp_path / "model" / small.file
    assert place_of(small, tmp_path) == tmp_path / small.file


def test_the_built_in_checkpoint_comes_with_the_app():
    assert place_of(resolve(BUILTIN)) == MODEL_DIR / resolve(BUILTIN).file
    assert os.path.samefile(MODEL_DIR.parent, places.APP)
