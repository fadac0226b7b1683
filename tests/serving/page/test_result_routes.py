"""What the routes of the results do that a client does not see from outside."""

import asyncio
import threading
import time
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from lib.configs.options import Settings
from lib.engine.log import Key, Results
from lib.engine.recipe import Recipe
from lib.engine.report import ObjectReport, Outcome
from lib.geometry import Axis, Grid
from lib.places import APP
from lib.prompts.types import Mask, PromptSet
from lib.serving.clients import Caller
from lib.serving.page import result_routes as routes
from lib.serving.page.results import ResultList, ResultView
from tests.engine.reports import bare_report

GRID = Grid((4, 5, 6), np.diag([1, 1, 2, 1]))


@pytest.fixture
def results(tmp_path) -> Results:
    return Results(tmp_path / "results")


@pytest.fixture
def add(results, tmp_path):
    """Log a result of `me`."""
    volume = tmp_path / "the ct.nii.gz"
    volume.write_bytes(b"")

    def added(label: str = "hip", checkpoint: str = "builtin", path=volume):
        recipe = Recipe(
            PromptSet(GRID, (Mask(Axis.AXIAL, 2, 1, np.eye(4, 5, dtype=bool)),)), Settings()
        )
        report = bare_report(
            GRID, path, checkpoint, settings=recipe.settings, objects=(ObjectReport(1, 20),)
        )
        labels = np.ones(GRID.shape, np.uint8)
        outcome = Outcome(labels, GRID, report)
        return results.add(Key("me", "ct", label), "masks", recipe, outcome, {label: 1})

    return added


def view_of(entry) -> ResultView:
    return ResultView("0" * 32, entry, entry.read(), True)


@pytest.mark.parametrize("installed", [True, False])
def test_the_command_for_whoever_sits_at_the_server(add, monkeypatch, installed):
    monkeypatch.setattr(routes.shutil, "which", lambda _: "/bin/sam2-ct" if installed else None)
    entry = add()
    said = routes.replay_command(view_of(entry), is_local=True)
    program = "sam2-ct segment" if installed else f"{routes.sys.executable} {APP / 'segment.py'}"
    assert said.startswith(f"{program} --replay {entry.path} -o hip-")
    assert said.endswith(".nii.gz")


def test_the_command_for_others_names_no_folder(add, tmp_path):
    said = routes.replay_command(view_of(add()), is_local=False)
    assert said.startswith("sam2-ct segment VOLUME --replay hip-")
    assert str(tmp_path) not in said


def test_what_is_to_be_filled_in_is_said(add, tmp_path):
    entry = add(checkpoint="small:mine.pt", path=tmp_path / "gone.nii.gz")
    said = routes.replay_command(view_of(entry), is_local=True)
    assert " VOLUME --replay " in said
    assert " --checkpoint CHECKPOINT " in said


@pytest.mark.parametrize(
    ("label", "stem"),
    [
        ("hip", "hip"),
        ("../../etc/passwd", "etc_passwd"),
        ("Knochen Ä/ß", "Knochen"),
        ("骨", "result"),
        ("x" * 128, "x" * 60),
        ("; rm -rf ~", "rm_-rf"),
    ],
)
def test_files_have_names_that_are_safe_everywhere(add, label, stem):
    name, _, when = routes.file_stem(add(label).read()).rpartition("-")
    assert name == stem
    assert len(when) == len("20261124T120000")


def test_names_of_results_are_another_servers_secret(results, add):
    entry = add()
    first, second = ResultList(results), ResultList(results)
    views = [known.recent(Caller("me"), 6)[0][0] for known in (first, second)]
    assert views[0].entry == views[1].entry == entry
    assert views[0].id != views[1].id


def test_pictures_wait_for_their_turn_without_a_thread(results, add, monkeypatch):
    """Everything else is answered while many wait for one picture after the other."""
    add()
    drawing = threading.Lock()
    together = []

    def slow(_drawing) -> bytes:
        together.append(drawing.acquire(blocking=False))
        time.sleep(0.05)
        drawing.release()
        return b"picture"

    monkeypatch.setattr(routes, "draw", slow)
    monkeypatch.setattr(routes, "volume_of", lambda _instance, log: log.volume)
    app = FastAPI()
    instance = SimpleNamespace(datastore=lambda: None)
    app.include_router(routes.result_routes(instance, results, True))

    @app.get("/quick")
    def quick() -> str:  # in a thread, as most routes
        return "here"

    async def ask() -> tuple[list[int], int]:
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            listed = (await client.get("/sam2_ct/page/results?client_id=me")).text
            source = listed.split('<img class="planes" src="')[1].split('"')[0]
            pictures = [asyncio.ensure_future(client.get(source)) for _ in range(80)]
            await asyncio.sleep(0.2)
            assert (await client.get("/quick")).status_code == 200
            before = sum(picture.done() for picture in pictures)
            return [answer.status_code for answer in await asyncio.gather(*pictures)], before

    codes, before = asyncio.run(ask())
    assert codes == [200] * 80
    assert together == [True] * 80
    assert before < 40  # there are as many threads
