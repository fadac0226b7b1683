"""Results on series of an image store: on the page, and as DICOM SEG."""

import io

import highdicom as hd
import numpy as np
import pydicom
import pytest
import requests
from bs4 import BeautifulSoup
from PIL import Image

from lib.sample.dicom import KINDS
from lib.serving.clients import COOKIE
from tests.server.viewers import TIMEOUT, Ohif


@pytest.fixture
def ohif(dicom_server, request) -> Ohif:
    return Ohif(dicom_server.url, {COOKIE: f"browser-{abs(hash(request.node.name))}"})


@pytest.mark.parametrize("kind", KINDS)
def test_picture_and_dicom_seg(ohif, series, kind):
    uid, folder = series[kind]
    answer = ohif.infer("sam2_ct_slice", uid, foreground=[[30, 24, 10]], object="rib")
    assert answer.status == 200, answer.detail

    def ask(path: str, expected: int = 200) -> requests.Response:
        got = requests.get(f"{ohif.url}{path}", cookies=ohif.cookies, timeout=TIMEOUT)
        assert got.status_code == expected, got.text[:300]
        return got

    page = ask("/sam2_ct/page/results").text
    (result,) = BeautifulSoup(page, "html.parser").select("details.result")
    assert uid in result.summary.get_text()
    with Image.open(io.BytesIO(ask(result.select_one("img")["src"]).content)) as png:
        assert np.asarray(png.convert("RGB")).std() > 10
    links = {a.get_text(): a["href"] for a in result.select("a[download]")}
    assert set(links) == {"NIfTI", "NRRD", "DICOM SEG", "Log"}
    seg_file = ask(links["DICOM SEG"])
    assert seg_file.headers["content-type"] == "application/dicom"
    seg = hd.seg.segread(io.BytesIO(seg_file.content))
    assert [str(s.SegmentLabel) for s in seg.SegmentSequence] == ["rib"]
    images = [pydicom.dcmread(p, stop_before_pixels=True) for p in sorted(folder.iterdir())]
    assert {str(seg.ReferencedSeriesSequence[0].SeriesInstanceUID)} == {
        str(i.SeriesInstanceUID) for i in images
    }
    assert int((seg.pixel_array > 0).sum()) == int((answer.labels > 0).sum())


def test_a_copy_that_went_is_fetched_again(ohif, series, dicom_server):
    uid, _ = series["straight"]
    assert ohif.infer("sam2_ct_slice", uid, foreground=[[30, 24, 10]], object="rib").status == 200
    page = requests.get(
        f"{ohif.url}/sam2_ct/page/results", cookies=ohif.cookies, timeout=TIMEOUT
    ).text
    (result,) = BeautifulSoup(page, "html.parser").select("details.result")
    copies = [p for p in dicom_server.log.parent.rglob(f"{uid}.nii.gz") if p.is_file()]
    assert copies
    for copy in copies:
        copy.unlink()
    source = result.select_one("img")["src"]
    got = requests.get(f"{ohif.url}{source}", cookies=ohif.cookies, timeout=TIMEOUT)
    assert got.status_code == 200, got.text
