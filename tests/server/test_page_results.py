"""The results on the page: what the log says, to whoever may see it, and files that can be used."""

import io
import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import pytest
import requests
from bs4 import BeautifulSoup
from PIL import Image

from lib.engine.log import read_log
from lib.engine.replay import replay
from lib.pictures.figure import to_png
from lib.pictures.planes import Found
from lib.pictures.result import marked, picture_of
from lib.serving.clients import COOKIE
from lib.transforms.load import load_volume
from lib.transforms.window import parse_window
from lib.transforms.windowed import Windowed
from tests.server.viewers import Ohif, Slicer

HOSTILE = "<img src=x onerror=alert(1)> & \"'"


@dataclass
class Fragment:
    """The part of the page with the results, as a client gets it."""

    url: str
    client: str

    def ask(self, path: str = "", method: str = "GET", client: str | None = None):
        named = {"client_id": self.client if client is None else client}
        url = f"{self.url}/sam2_ct/page/results{path}"
        return requests.request(method, url, params=named, timeout=60)

    def shown(self):
        """Every result, newest first."""
        answer = self.ask()
        assert answer.status_code == 200, answer.text
        return BeautifulSoup(answer.text, "html.parser").select("details.result")

    def ids(self) -> list[str]:
        return [one["id"].removeprefix("result-") for one in self.shown()]


@pytest.fixture
def fragment(slicer) -> Fragment:
    return Fragment(slicer.url, slicer.client_id)


@pytest.fixture
def hip(slicer, sample, painted):
    """The answer to three painted slices of a hip."""
    answer = slicer.scribbles("pelvis", painted, sample.affine, {"hip": 1}, "hip", window="lung")
    assert answer.status == 200, answer.detail
    return answer


def test_nothing_yet(fragment):
    assert fragment.shown() == []
    assert "There is none yet" in fragment.ask().text


def test_it_says_what_the_report_says(fragment, hip):
    (result,) = fragment.shown()
    said = hip.params
    text = " ".join(result.get_text(" ").split())
    assert result.has_attr("open")
    voxels = int((hip.labels == 1).sum())
    assert said["objects"][0]["voxels"] == voxels
    millilitres = voxels * np.prod(said["volume"]["spacing"]) / 1000
    assert f"{millilitres:.2f} ml ({voxels} voxels)" in text
    assert f"hip {millilitres:.1f} ml" in " ".join(result.summary.get_text(" ").split())
    (end,) = said["ends"]
    (line,) = (" ".join(e.get_text(" ").split()) for e in result.select(".end"))
    assert line.startswith(f"axial: begins at slice {end['first']} (")
    assert f"ends at slice {end['last']} (" in line
    assert end["first_why"] in line
    assert end["last_why"] in line
    for sentence in (*said["decided"], *said["warnings"]):
        assert sentence in text
    assert said["checkpoint"]["sha256"] in text
    for name, value in said["settings"].items():
        assert f"{name} {value}" in text
    assert "pelvis" in result.summary.get_text()
    assert f"{said['confidence']:.2f}" in text


def test_the_plot_marks_what_was_painted_and_what_is_suggested(fragment, hip, painted):
    (result,) = fragment.shown()
    (plot,) = result.select("svg.along")
    slices = {
        kind: [int(mark["data-slice"]) for mark in plot.select(f"g.{kind}")]
        for kind in ("prompted", "suggested")
    }
    assert slices["prompted"] == np.flatnonzero(painted.any((0, 1))).tolist()
    assert slices["suggested"] == [s["index"] for s in hip.params["next_slices"]]
    (paint,) = result.select(".next")
    told = [int(n) for n in re.findall(r"slice (\d+)", paint.get_text())]
    assert told == slices["suggested"]


def test_the_picture_shows_the_mask_in_the_window_that_was_used(fragment, hip, studies):
    (result,) = fragment.shown()
    source = result.select_one("img.planes")["src"]
    answer = requests.get(f"{fragment.url}{source}", timeout=60)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["cache-control"] == "no-store"
    volume = load_volume(studies / "pelvis.nii.gz")
    log = read_log(studies / "sam2_ct" / hip.params["log"])
    shown = Windowed(volume.upright(), parse_window("lung"))
    found = Found(hip.labels, volume.grid, [1])
    expected = picture_of(shown, found, marked(log.prompts, log.told.next_slices), {1: "hip"})
    assert answer.content == to_png(expected)
    with Image.open(io.BytesIO(answer.content)) as png:
        assert (str(png.width), str(png.height)) == tuple(
            result.select_one("img.planes")[side] for side in ("width", "height")
        )


def link(result, name: str) -> str:
    (found,) = (a["href"] for a in result.select("a[download]") if a.get_text() == name)
    return found


def test_files_that_can_be_taken(fragment, hip, sample, tmp_path):
    (result,) = fragment.shown()
    assert {a.get_text() for a in result.select("a[download]")} == {"NIfTI", "NRRD", "Log"}
    for name, ending in (("NIfTI", ".nii.gz"), ("NRRD", ".nrrd")):
        answer = requests.get(f"{fragment.url}{link(result, name)}", timeout=60)
        disposition = answer.headers["content-disposition"]
        assert re.fullmatch(rf'attachment; filename="hip-\d+T\d+{ending}"', disposition)
        path = tmp_path / f"taken{ending}"
        path.write_bytes(answer.content)
        if ending == ".nrrd":
            labels, header = nrrd.read(str(path))
            assert header["space"] == "left-posterior-superior"
        else:
            loaded = nib.load(path)
            labels = np.asarray(loaded.dataobj)
            np.testing.assert_allclose(loaded.affine, sample.affine, atol=1e-6)
        np.testing.assert_array_equal(labels, hip.labels)


def test_no_dicom_seg_of_a_file(fragment, hip):
    (name,) = fragment.ids()
    answer = fragment.ask(f"/{name}/dcm")
    assert answer.status_code == 422
    assert "DICOM SEG needs" in answer.json()["detail"]


def test_the_command_makes_the_result_again_when_it_is_pasted(fragment, hip, tmp_path):
    (result,) = fragment.shown()
    command = result.select_one(".replay code").get_text()
    assert result.select_one(".replay button")["data-copy"] == result.select_one("code[id]")["id"]
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PATH": beside},
    )
    assert done.returncode == 0, done.stderr
    assert "voxel for voxel" in done.stderr
    (made,) = tmp_path.glob("*.nii.gz")
    assert made.name == shlex.split(command)[-1]
    np.testing.assert_array_equal(np.asarray(nib.load(made).dataobj), hip.labels)


def test_a_log_that_was_taken_makes_it_again_elsewhere(fragment, hip, studies, tmp_path):
    (result,) = fragment.shown()
    log = tmp_path / "log.json"
    log.write_bytes(requests.get(f"{fragment.url}{link(result, 'Log')}", timeout=60).content)
    _, outcome = replay(log, studies / "pelvis.nii.gz")
    assert outcome.report.replay.identical


def test_undo(fragment, hip, slicer, sample, painted):
    (first,) = fragment.ids()
    second = slicer.scribbles("pelvis", painted * 1, sample.affine, {"hip": 1}, "hip", prior="off")
    assert second.status == 200
    newest, older = fragment.shown()
    assert older["id"] == f"result-{first}"
    assert [b["data-url"] for b in older.select("button[data-method]")] == []
    # what is not the newest any more cannot be undone, and nothing else is instead
    refused = fragment.ask(f"/{first}/undo", "POST")
    assert refused.status_code == 409
    assert "newer result" in refused.json()["detail"]
    assert len(fragment.ids()) == 2

    (button,) = newest.select("button[data-method=POST]")
    done = requests.post(f"{fragment.url}{button['data-url']}", timeout=60)
    assert done.status_code == 200
    assert fragment.ids() == [first]
    gone = newest["id"].removeprefix("result-")
    for path in ("picture.png", "nii.gz", "nrrd", "json"):
        answer = fragment.ask(f"/{gone}/{path}")
        assert answer.status_code == 404
        assert "undone" in answer.json()["detail"]
    assert fragment.ask(f"/{gone}/undo", "POST").status_code == 404
    assert fragment.ask(f"/{first}/undo", "POST").status_code == 200
    assert fragment.ids() == []


def test_nobody_else_sees_it(fragment, hip, server):
    (name,) = fragment.ids()
    other = server.slicer()
    theirs = Fragment(server.url, other.client_id)
    assert theirs.shown() == []
    assert "hip" not in theirs.ask().text
    for method, path in (
        *(("GET", f"/{name}/{form}") for form in ("picture.png", "nii.gz", "nrrd", "dcm", "json")),
        ("POST", f"/{name}/undo"),
    ):
        for client in (other.client_id, ""):
            answer = fragment.ask(path, method, client=client)
            assert answer.status_code == 404
            assert "no such result" in answer.json()["detail"]
    assert fragment.ids() == [name]


def test_the_cookie_of_a_browser_is_enough(server):
    ohif = Ohif(server.url, {COOKIE: "browser-of-a-test"})
    clicks = {"foreground": [[30, 24, 12]], "object": "rib"}
    assert ohif.infer("sam2_ct_slice", "pelvis", **clicks).status == 200
    answer = requests.get(f"{server.url}/sam2_ct/page/results", cookies=ohif.cookies, timeout=60)
    (result,) = BeautifulSoup(answer.text, "html.parser").select("details.result")
    picture = result.select_one("img")["src"]
    asked = f"{server.url}{picture}"
    assert requests.get(asked, cookies=ohif.cookies, timeout=60).status_code == 200
    assert requests.get(asked, timeout=60).status_code == 404


@pytest.mark.parametrize(
    "name",
    [
        *("..", "../../pelvis", "..%2f..%2fpelvis", "%2e%2e%2fpelvis", "%00", "x" * 4000),
        *("%ed%a0%80", "*", "0" * 32, "é"),
    ],
)
@pytest.mark.parametrize("form", ["nrrd", "picture.png", "undo"])
def test_tricks_with_names(fragment, hip, name, form):
    url = f"{fragment.url}/sam2_ct/page/results/{name}/{form}"
    request = requests.Request("POST" if form == "undo" else "GET", url).prepare()
    request.url = f"{url}?client_id={fragment.client}"  # as it stands: not tidied up
    with requests.Session() as session:
        answer = session.send(request, timeout=60)
    assert answer.status_code in (404, 405), answer.text
    assert len(fragment.ids()) == 1


def test_names_say_nothing_and_text_stays_text(slicer, fragment, sample, painted):
    answer = slicer.scribbles(
        "pelvis", painted, sample.affine, {HOSTILE: 1}, HOSTILE, model="sam2_ct_masks"
    )
    assert answer.status == 200, answer.detail
    raw = fragment.ask().text
    assert "<img src=x" not in raw
    (result,) = fragment.shown()
    assert HOSTILE in result.summary.get_text()
    assert len(result.select("img")) == 1
    name = result["id"].removeprefix("result-")
    assert re.fullmatch(r"[0-9a-f]{32}", name)
    assert fragment.ask(f"/{name}/picture.png").status_code == 200
    disposition = fragment.ask(f"/{name}/nrrd").headers["content-disposition"]
    assert re.fullmatch(r'attachment; filename="[A-Za-z0-9_.-]+"', disposition)
    command = shlex.split(result.select_one(".replay code").get_text())
    assert not re.search(r"[<>&\"']", command[-1])


def test_what_a_browser_is_told(fragment, hip):
    headers = fragment.ask().headers
    assert headers["cache-control"] == "no-store"
    assert "script-src 'self'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"
    page = BeautifulSoup(fragment.ask().text, "html.parser")
    assert page.select("script, style, [style]") == []
    assert not any(key.startswith("on") for tag in page.find_all() for key in tag.attrs)
    ids = [tag["id"] for tag in page.find_all(id=True)]
    assert len(ids) == len(set(ids))
    addresses = [
        tag[key] for tag in page.find_all() for key in ("src", "href") if tag.has_attr(key)
    ]
    assert addresses
    assert all(one.startswith("/sam2_ct/page/results/") for one in addresses)


class TestWhenTheVolumeGoes:
    @pytest.fixture
    def opened(self, server, studies, sample, painted):
        slicer: Slicer = server.slicer()
        slicer.open_session(studies / "turned.nii.gz")
        affine = nib.load(studies / "turned.nii.gz").affine
        turned = nib.Nifti1Image(painted, sample.affine).as_reoriented(
            np.array([[1, -1], [0, 1], [2, -1]])
        )
        labels = np.asarray(turned.dataobj)
        answer = slicer.scribbles("", labels, affine, {"hip": 1}, "hip")
        assert answer.status == 200, answer.detail
        return slicer

    def test_a_session(self, opened, studies):
        fragment = Fragment(opened.url, opened.client_id)
        (name,) = fragment.ids()
        (result,) = fragment.shown()
        assert "opened in the viewer" in result.summary.get_text()
        before = fragment.ask(f"/{name}/picture.png")
        assert before.status_code == 200
        requests.delete(f"{opened.url}/session/{opened.session}", timeout=60)
        answer = fragment.ask(f"/{name}/picture.png")
        assert answer.status_code == 404
        assert "open it again" in answer.json()["detail"]
        command = fragment.shown()[0].select_one(".replay code").get_text()
        assert "VOLUME" in command
        for form in ("nii.gz", "nrrd", "json"):
            assert fragment.ask(f"/{name}/{form}").status_code == 200
        opened.open_session(studies / "turned.nii.gz")
        again = fragment.ask(f"/{name}/picture.png")
        assert again.content == before.content

    def test_another_volume_in_its_place(self, server, sample, painted, studies):
        path = studies / "changing.nii.gz"
        # not the pelvis, which other tests open in sessions: it would be found there
        nib.save(nib.Nifti1Image(sample.ct + 2, sample.affine), path)
        try:
            slicer = server.slicer()
            answer = slicer.scribbles("changing", painted, sample.affine, {"hip": 1}, "hip")
            assert answer.status == 200, answer.detail
            fragment = Fragment(slicer.url, slicer.client_id)
            (name,) = fragment.ids()
            assert fragment.ask(f"/{name}/picture.png").status_code == 200
            nib.save(nib.Nifti1Image(sample.ct[::-1] + 1, sample.affine), path)
            assert fragment.ask(f"/{name}/picture.png").status_code == 404
            path.write_bytes(b"no volume at all")
            assert fragment.ask(f"/{name}/picture.png").status_code == 404
            assert fragment.ask(f"/{name}/nii.gz").status_code == 200
        finally:
            path.unlink()


def test_a_log_of_a_later_version_is_told_of(fragment, hip, studies):
    log = studies / "sam2_ct" / hip.params["log"]
    content = json.loads(log.read_text())
    later = log.with_name("29990101T000000.000000.json")
    later.write_text(json.dumps({**content, "schema": 999}))
    later.with_suffix(".nrrd").write_bytes(log.with_suffix(".nrrd").read_bytes())
    try:
        assert "1 of the newest results cannot be read" in fragment.ask().text
        assert len(fragment.ids()) == 1
    finally:
        later.unlink()
        later.with_suffix(".nrrd").unlink()


def test_a_label_map_that_was_removed_is_told(fragment, hip, slicer, studies):
    (name,) = fragment.ids()
    (studies / "sam2_ct" / hip.params["log"]).with_suffix(".nrrd").unlink()
    answer = fragment.ask(f"/{name}/nrrd")
    assert answer.status_code == 404
    assert "removed meanwhile" in answer.json()["detail"]
    asked = {"image": "pelvis", "label": "hip", "client_id": slicer.client_id}
    answer = requests.get(f"{fragment.url}/sam2_ct/result", params=asked, timeout=60)
    assert answer.status_code == 404
