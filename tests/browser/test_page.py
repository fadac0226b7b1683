"""The page at /sam2_ct/ in a real browser: it moves, it stops, it tells nobody else's names."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import requests
from scipy import ndimage

from lib.sample.ct import SampleCT, make_sample_ct
from lib.serving.auth.passwords import hashed
from lib.serving.auth.users import Role, User, UsersFile
from tests.browser.ohif_page import PACKAGES, find_browser, start_browser
from tests.browser.own_page import LOGS, OwnPage
from tests.server.conftest import Server, running_server
from tests.server.test_while_it_runs import CLICK, LONG, LongRun, at_work

#: Names of volumes that would be markup, end an attribute, or turn the text around.
HOSTILE = (
    "<img src=x onerror=document.title='taken'>",
    "\"'><b id=taken>&amp;",
    "turned \u202e2-1 round",
    "\u05e2\u05e6\u05dd 1",
)


@pytest.fixture(scope="module")
def sample() -> SampleCT:
    return make_sample_ct(0, shape=(100, 80, 64), spacing=(3.0, 3.0, 6.0))


@pytest.fixture(scope="module")
def painted(sample) -> np.ndarray:
    """First, middle and last slice of the left hip, as value 1."""
    hip = sample.labels == {name: value for value, name in sample.names.items()}["hip_left"]
    z = np.flatnonzero(hip.any((0, 1)))
    labels = np.zeros(hip.shape, dtype=np.uint8)
    for k in (z[0], z[len(z) // 2], z[-1]):
        labels[..., k] = hip[..., k]
    return labels


@pytest.fixture(scope="module")
def page_server(sample, tmp_path_factory) -> Iterator[Server]:
    if find_browser() is None:
        pytest.skip(f"Chromium and its driver are not installed: apt-get install {PACKAGES}")
    folder = tmp_path_factory.mktemp("page")
    studies = folder / "studies"
    studies.mkdir()
    nib.save(nib.Nifti1Image(sample.ct, sample.affine), studies / "pelvis.nii.gz")
    noise = np.random.default_rng(0).normal(0, 30, (40, 40, 300))
    noise[12:28, 12:28] += 700
    nib.save(
        nib.Nifti1Image(noise.astype(np.int16), np.diag([2, 2, 3, 1])), studies / "long.nii.gz"
    )
    with running_server(str(studies), folder / "server.log", {}) as server:
        yield server


@pytest.fixture
def open_own(tmp_path) -> Iterator[Callable[[Server], OwnPage]]:
    """Opens a browser on a server's page; in the end nothing was complained of or fetched away."""
    pages: list[OwnPage] = []

    def opened(server: Server) -> OwnPage:
        driver = start_browser(tmp_path / f"profile-{len(pages)}", LOGS)
        pages.append(OwnPage(driver, server.url))
        return pages[-1]

    yield opened
    told = [(page.complaints(), page.asked_elsewhere()) for page in pages]
    for page in pages:
        page.driver.quit()
    assert told == [([], [])] * len(pages)


@pytest.fixture
def page(page_server, open_own) -> OwnPage:
    return open_own(page_server)


def test_a_request_runs_the_bar_moves_and_the_button_stops_it(page, page_server):
    slicer = page_server.slicer()
    page.open(slicer.client_id)
    assert "Nothing of yours runs or waits" in page.text("#jobs")
    run = LongRun(slicer)
    seen = [page.until(page.bar)]
    for _ in range(3):
        seen.append(page.until(lambda: (new := page.bar()) != seen[-1] and new))
    assert [value for value, _ in seen] == sorted({value for value, _ in seen})
    assert all(0 < value < end for value, end in seen)
    assert page.until(lambda: "s left" in page.text("#jobs .told"))
    told = run.state()
    assert told["slices"] == seen[-1][1]
    assert " % · SAM 2 CT" in page.driver.title
    progress = page.one("#jobs progress")
    assert progress.aria_role == "progressbar"
    assert progress.accessible_name == "Progress of long"
    assert "slices" in progress.get_attribute("aria-valuetext")
    assert "long, sam2_ct_points: runs" in page.text("#queues")

    button = page.one("#jobs .stop")
    assert button.accessible_name == "Cancel long"
    page.driver.execute_script("arguments[0].focus()", button)
    page.until(lambda: page.bar() != seen[-1])  # the row is filled anew, the focus stays
    page.focused().send_keys("\n")
    page.until(lambda: page.text("#jobs .state") == "cancelled")
    assert run.answer.result(30).detail == "stopped: cancelled on request"
    assert "cancelled on request" in page.text("#jobs .told")
    assert page.focused().get_attribute("id") == "jobs-title"
    assert page.text("#said") or page.one("#said").get_attribute("textContent") == "long: cancelled"
    assert "Idle." in page.text("#queues")


def test_two_users_do_not_see_each_others_names(page_server, open_own):
    anna, bert = page_server.slicer(), page_server.slicer()
    hers, his = open_own(page_server), open_own(page_server)
    hers.open(anna.client_id)
    his.open(bert.client_id)
    run = LongRun(anna)
    try:
        run.wait_for(at_work)
        hers.until(lambda: "long" in hers.text("#jobs"))
        his.until(lambda: "somebody else’s, sam2_ct_points: runs" in his.text("#queues"))
        assert "Nothing of yours runs or waits" in his.text("#jobs")
        source = his.driver.page_source
        assert not any(name in source for name in (anna.client_id, run.job))
        assert "long" not in his.text("#jobs") + his.text("#queues") + his.text("#results")
    finally:
        run.cancel()
        run.answer.exception(60)


@pytest.fixture
def hostile(page_server) -> Iterator[tuple[str, ...]]:
    """Studies with names that would do harm; they lie in the folder for a while."""
    studies = Path(page_server.studies)
    files = [studies / f"{name}.nii.gz" for name in HOSTILE]
    for file in files:
        shutil.copyfile(studies / "pelvis.nii.gz", file)
    yield HOSTILE
    for file in files:
        file.unlink()


def test_names_are_text(page, page_server, hostile):
    page.open("<script>document.title='taken'</script>")
    page.until(lambda: len(page.all("#studies tbody tr")) == len(hostile) + 2)
    names = {row.get_attribute("textContent") for row in page.all("#studies th bdi")}
    assert names == {"long", "pelvis", *hostile}
    assert page.all("#taken, img, bdi > *") == []
    slicer = page_server.slicer()
    for name in hostile:
        page.open(slicer.client_id)
        within = {"roi": [0, 99, 0, 79, 30, 34]}
        clicked = slicer.smart_edit(name, [[30, 40, 32]], label=name, **within)
        if clicked.status == 422:  # the volume may be called so, a segment may not
            assert "cannot be the segment" in clicked.detail
            clicked = slicer.smart_edit(name, [[30, 40, 32]], **within)
        assert clicked.status == 200, clicked.detail
        page.until(lambda: page.text("#jobs .state") in ("done", "failed"))
        assert page.one("#jobs .image").get_attribute("textContent") == name
    assert len(page.all("#results .result")) > 1
    assert page.all("#taken, img[src=x], bdi > *") == []
    page.until(lambda: page.driver.title == "SAM 2 CT")
    assert page.one("#client").get_attribute("value") == slicer.client_id
    page.leave()  # before the volumes go, of which pictures may still be asked for


def box_of(mask: np.ndarray) -> tuple[slice, ...]:
    return ndimage.find_objects(mask.astype(int))[0]


def outline(picture: np.ndarray) -> np.ndarray:
    """Pixels of the red line in a picture of one plane: bool, cut to its box."""
    red = (picture[..., 0] > 110) & (picture[..., 0] - picture[..., 1:].max(-1) > 40)
    return red[box_of(red)]


def edge(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The outermost pixels of a plane of a mask, cut to its box and stretched to `shape`."""
    cut = mask[box_of(mask)]
    rows, columns = (
        ((np.arange(now) + 0.5) * before / now).astype(int)
        for now, before in zip(shape, cut.shape, strict=True)
    )
    large = cut[np.ix_(rows, columns)]
    return large & ~ndimage.binary_erosion(large)


def near(some: np.ndarray, others: np.ndarray) -> float:
    """The share of some pixels that have one of the others within three pixels."""
    return float((ndimage.distance_transform_edt(~others)[some] <= 3).mean())


def size(mask: np.ndarray, pixel: tuple[float, float]) -> np.ndarray:
    """Height and width of a plane of a mask, mm; `pixel` likewise."""
    pairs = zip(box_of(mask), pixel, strict=True)
    return np.array([(part.stop - part.start) * mm for part, mm in pairs])


def test_a_result_appears_and_its_outline_is_that_of_the_mask(
    page, page_server, sample, painted, build_folder
):
    slicer = page_server.slicer()
    page.be_wide(1400, 1080)
    page.open(slicer.client_id)
    page.until(lambda: "There is none yet" in page.text("#results"))
    answer = slicer.scribbles("pelvis", painted, sample.affine, {"hip_left": 1}, "hip_left")
    assert answer.status == 200, answer.detail

    def drawn():
        image = page.one("#results img.planes")
        return image.get_property("complete") and image.get_property("naturalWidth") and image

    image = page.until(drawn)
    mask = answer.labels == 1
    picture = page.picture(image)
    picture = picture[: int(0.9 * len(picture))]  # below is the key
    # the file is RAS: on pictures, indices fall to the right and downwards
    half = mask.sum() / 2
    i, j, k = (
        int(np.searchsorted(mask.sum(others).cumsum(), half)) for others in ((1, 2), (0, 2), (0, 1))
    )
    planes = (
        (mask[::-1, ::-1, k].T, (3.0, 3.0)),
        (mask[::-1, j, ::-1].T, (6.0, 3.0)),
        (mask[i, ::-1, ::-1].T, (6.0, 3.0)),
    )
    scales = []
    for n, (plane, pixel) in enumerate(planes):
        third = picture.shape[1] // 3
        drawn = outline(picture[:, n * third : (n + 1) * third])
        expected = edge(plane, drawn.shape)
        assert near(drawn, expected) > 0.98, n
        assert near(expected, drawn) > 0.95, n  # other lines cross it
        scales.append(np.array(drawn.shape) / size(plane, pixel))
    np.testing.assert_allclose(scales, np.mean(scales), rtol=0.06)  # one scale, no distortion

    # what is said is what the report says
    told, params = page.text("#results .result"), answer.params
    assert f"{mask.sum() * 3 * 3 * 6 / 1000:.2f} ml" in told
    assert f"({mask.sum()} voxels)" in told
    first, *_ = [f"{one['axis']} slice {one['index']}" for one in params["next_slices"]]
    assert page.text("#results .next").startswith(f"Paint next: {first}")
    (end,) = params["ends"]
    assert f"begins at slice {end['first']} (" in page.text("#results .end")
    assert f"ends at slice {end['last']} (" in page.text("#results .end")
    marks = page.all("#results .plot svg title")
    assert marks
    for sentence in params["decided"]:
        assert sentence in told

    run = LongRun(slicer)
    try:
        page.until(lambda: (now := page.bar()) and now[0] > now[1] / 3)
        page.save(build_folder / "page.png")  # the README's
    finally:
        run.cancel()
        run.answer.exception(60)

    # undo, by keyboard: the result goes, here and in the log, and the focus stays on the page
    button = page.one("#results [data-url$='/undo?client_id=" + slicer.client_id + "']")
    page.driver.execute_script("arguments[0].focus()", button)
    page.focused().send_keys("\n")
    page.until(lambda: "There is none yet" in page.text("#results"))
    assert page.focused().get_attribute("id") == "results-title"
    asked = {"image": "pelvis", "label": "hip_left", "client_id": slicer.client_id}
    url = f"{page_server.url}/sam2_ct/result"
    assert requests.get(url, params=asked, timeout=30).status_code == 404


def test_studies_move_with_their_state(page, page_server):
    """Nobody reloads the page: a file comes, a label is submitted."""

    def listed() -> list[str]:
        return [row.text for row in page.all("#studies tbody tr")]

    page.open()
    page.until(lambda: len(listed()) == 2)
    studies = Path(page_server.studies)
    files = [studies / f"added-{n}.nii.gz" for n in range(2)]
    try:
        for file in files:
            shutil.copyfile(studies / "pelvis.nii.gz", file)
        page.until(lambda: "added-0 untouched –" in listed())
        labels = nib.Nifti1Image(np.ones((100, 80, 64), np.uint8), nib.load(files[0]).affine)
        nib.save(labels, studies.parent / "label.nii.gz")
        with (studies.parent / "label.nii.gz").open("rb") as label:
            answer = requests.put(
                f"{page_server.url}/datastore/label?image=added-0",
                files={"label": label},
                timeout=60,
            )
        assert answer.ok, answer.text
        page.until(lambda: listed()[-1] == "added-0 final –")
        page.until(lambda: "added-1 untouched –" in listed()[:-1])
    finally:
        for file in files:
            file.unlink()


def test_a_batch_shows_its_progress_and_stops(page, page_server):
    slicer = page_server.slicer()
    page.open(slicer.client_id)
    params = {**LONG, "client_id": slicer.client_id, "foreground": CLICK}
    asked = f"{page_server.url}/batch/infer/sam2_ct_points?images=all"
    started = requests.post(asked, json=params, timeout=30)
    assert started.ok, started.text
    page.until(lambda: "0 of 2 images · at long" in page.text("#batches"))
    page.until(page.bar)  # its job is in the list, as every job
    page.one("#batches .stop").send_keys("\n")
    page.until(lambda: page.text("#batches .state") == "stopped")
    assert "2 of 2 images" in page.text("#batches")
    assert not page.one("#batches .stop").is_displayed()
    assert page.focused().get_attribute("id") == "batches-title"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1500, 360])
def test_for_everybody(page, page_server, build_folder, scheme, width):
    """Rules of accessibility hold, nothing sticks out of a narrow window, it is dark at night."""
    slicer = page_server.slicer()
    page.look_like(scheme)
    page.be_wide(width)
    assert slicer.smart_edit("pelvis", [[30, 40, 32]], roi=[0, 99, 0, 79, 28, 36]).status == 200
    page.open(slicer.client_id)
    page.until(lambda: page.all("#results .result") and page.all("#studies tbody tr"))
    run = LongRun(slicer)
    try:
        page.until(page.bar)
        for summary in page.all("#results details details summary"):
            summary.click()
        assert page.violations() == []
        assert page.overflow() <= 0
        background = page.one("body").value_of_css_property("background-color")
        bright = sum(map(int, re.findall(r"\d+", background)[:3])) > 380
        assert bright == (scheme == "light")
        page.save(build_folder / f"page-{scheme}-{width}.png")
    finally:
        run.cancel()
        run.answer.exception(60)


def test_by_keyboard_alone(page, page_server):
    """Tab reaches everything that can be pressed, in the order in which it is read."""
    slicer = page_server.slicer()
    assert slicer.smart_edit("pelvis", [[30, 40, 32]], roi=[0, 99, 0, 79, 28, 36]).status == 200
    page.open(slicer.client_id)
    page.until(lambda: page.all("#results .result"))
    reached = []
    for _ in range(30):
        page.focused().send_keys("\t")
        element = page.focused()
        if element.tag_name == "body":
            break
        reached.append(element.accessible_name or element.text)
        shown = page.driver.execute_script(
            "return getComputedStyle(arguments[0]).outlineStyle", element
        )
        assert shown != "none", reached[-1]
    wanted = ["To the results", "Jobs and results of client", "Show", "Undo bone", "NIfTI", "NRRD"]
    assert [name for name in reached if name in wanted] == wanted


def test_a_part_that_is_swapped_keeps_the_focus_and_what_was_folded(page, page_server):
    slicer = page_server.slicer()

    def click() -> None:
        asked = slicer.smart_edit("pelvis", [[30, 40, 32]], roi=[0, 99, 0, 79, 28, 36])
        assert asked.status == 200

    click()
    page.open(slicer.client_id)
    page.until(lambda: len(page.all("#results .result")) == 1)
    settings = page.one("#results details details")
    settings.find_element("css selector", "summary").click()
    copy = page.one("#results [data-copy]")
    page.driver.execute_script("arguments[0].focus()", copy)
    names = settings.get_attribute("id"), copy.get_attribute("id")
    page.listen()
    click()
    page.until(lambda: len(page.all("#results .result")) == 2)
    assert page.one(f"#{names[0]}").get_attribute("open")
    assert page.focused().get_attribute("id") == names[1]
    page.until(lambda: "results changed" in page.heard())


def test_the_page_says_when_the_server_has_gone_and_comes_back(open_own, tmp_path):
    """Its own server, which is killed; what the console says then is the browser's."""
    (tmp_path / "studies").mkdir()
    with running_server(str(tmp_path / "studies"), tmp_path / "server.log", {}) as server:
        page = open_own(server)
        page.open()
        page.until(lambda: "There is no image yet" in page.text("#studies"))
        server.process.terminate()
        page.until(lambda: "does not answer: trying again" in page.text("#live"))
        page.leave()
        assert all("net::ERR_" in told for told in page.complaints())


def test_behind_the_log_in(page_server, open_own, tmp_path):
    users = UsersFile(tmp_path / "users.json")
    for name in ("anna", "bert"):
        users.add(User(name, Role.ANNOTATOR, hashed(f"password of {name}")))
    conf, log = {"users": str(users.path)}, tmp_path / "server.log"
    with running_server(page_server.studies, log, conf, probe="/auth/") as server:
        page = open_own(server)
        page.driver.get(f"{server.url}/sam2_ct/")
        log_in_as(page, "anna")
        page.until(lambda: page.text("#live") == "live")
        assert "Logged in as anna" in page.text("header")
        assert page.all("#client") == []
        window = page.driver.current_window_handle
        page.driver.switch_to.new_window("tab")
        page.driver.get(f"{server.url}/auth/login")
        page.one("form button").click()
        page.driver.switch_to.window(window)
        page.until(lambda: page.driver.current_url.endswith("/auth/login?next=%2Fsam2_ct%2F"))
        log_in_as(page, "bert")
        page.until(lambda: "Logged in as bert" in page.text("header"))
        page.until(lambda: page.text("#live") == "live")
        page.leave()  # before the server goes
        assert all(" 401 " in told for told in page.complaints())


def log_in_as(page: OwnPage, name: str) -> None:
    page.until(lambda: page.all("#username"))
    page.one("#username").send_keys(name)
    page.one("#password").send_keys(f"password of {name}\n")
