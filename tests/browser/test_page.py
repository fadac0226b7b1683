"""The page at /sam2_ct/ in a real browser: it moves, it stops, it tells nobody else's names."""

import shutil
from collections.abc import Callable, Iterator

import nibabel as nib
import numpy as np
import pytest

from lib.sample.ct import make_sample_ct
from tests.browser.ohif_page import PACKAGES, find_browser, start_browser
from tests.browser.own_page import LOGS, OwnPage
from tests.server.conftest import Server, running_server
from tests.server.test_while_it_runs import LongRun, at_work

#: Names of volumes that would be markup, end an attribute, or turn the text around.
HOSTILE = (
    "<img src=x onerror=document.title='taken'>",
    "\"'><b id=taken>&amp;",
    "turned \u202e2-1 round",
    "\u05e2\u05e6\u05dd 1",
)


@pytest.fixture(scope="module")
def page_server(tmp_path_factory) -> Iterator[Server]:
    if find_browser() is None:
        pytest.skip(f"Chromium and its driver are not installed: apt-get install {PACKAGES}")
    folder = tmp_path_factory.mktemp("page")
    studies = folder / "studies"
    studies.mkdir()
    sample = make_sample_ct(0, shape=(60, 48, 24), spacing=(5.0, 5.0, 8.0))
    nib.save(nib.Nifti1Image(sample.ct, sample.affine), studies / "pelvis.nii.gz")
    noise = np.random.default_rng(0).normal(0, 30, (40, 40, 300))
    noise[12:28, 12:28] += 700
    nib.save(
        nib.Nifti1Image(noise.astype(np.int16), np.diag([2, 2, 3, 1])), studies / "long.nii.gz"
    )
    for name in HOSTILE:
        shutil.copyfile(studies / "pelvis.nii.gz", studies / f"{name}.nii.gz")
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


def test_names_are_text(page, page_server):
    page.open("<script>document.title='taken'</script>")
    page.until(lambda: len(page.all("#studies tbody tr")) == len(HOSTILE) + 2)
    names = {row.get_attribute("textContent") for row in page.all("#studies th bdi")}
    assert names == {"long", "pelvis", *HOSTILE}
    assert page.all("#taken, img, bdi > *") == []
    slicer = page_server.slicer()
    for name in HOSTILE:
        page.open(slicer.client_id)
        assert slicer.smart_edit(name, [[10, 20, 12]], roi=[0, 59, 0, 47, 10, 14]).status == 200
        page.until(lambda: page.text("#jobs .state") == "done")
        assert page.one("#jobs .image").get_attribute("textContent") == name
    page.until(lambda: page.driver.title == "SAM 2 CT")
    assert page.one("#client").get_attribute("value") == slicer.client_id
