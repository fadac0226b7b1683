"""OHIF, unmodified, in a real browser: open, click, run, see."""

import numpy as np
import requests
from scipy import ndimage

from lib.serving.clients import COOKIE
from tests.server.viewers import read_nrrd

AXIAL, SAGITTAL, CORONAL = range(3)
POINTS_DONE = "Running Inference for Point Prompts - Successful"
SEGMENTATION_DONE = "Running Segmentation - Successful"


def test_click_on_two_slices_then_propagate(page, browser_server, phantom, build_folder):
    page.open_study_list()
    page.until(lambda: "phantom-straight-0" in page.text())
    page.open_study("straight")
    page.connect()

    page.open_tab("Point Prompts")
    page.choose_model("sam2_ct_slice")
    page.choose_segment("bone")
    for voxel in two_voxels_of_a_bone(phantom, page):
        point = in_space(phantom.to_lps, voxel)
        page.scroll_to(AXIAL, point)
        page.click_on(AXIAL, point)
        page.run("Run PointPrompts", POINTS_DONE)
        labels, to_lps = newest_result(browser_server, phantom, page)
        slices = np.flatnonzero(labels.any((0, 1)))
        assert len(slices) == 1, "the click on the bone found nothing, or more than its slice"
        shown = in_space(to_lps, [[0, 0, slices[0]]])[0, 2]
        np.testing.assert_allclose(shown, point[2], atol=0.1)
        page.until(lambda labels=labels, to_lps=to_lps: is_shown(page, AXIAL, labels, to_lps))
        page.save(build_folder / "ohif-slice.png")

    page.open_tab("Auto-Segmentation")
    page.choose_model("sam2_ct_propagate")
    page.run("Run Segmentation", SEGMENTATION_DONE)
    labels, to_lps = newest_result(browser_server, phantom, page)
    assert labels.any((0, 1)).sum() >= 2
    for viewport in (AXIAL, SAGITTAL, CORONAL):
        page.show(viewport, point)  # the last one clicked on, which is in the bone
        page.until(lambda viewport=viewport: is_shown(page, viewport, labels, to_lps))
    page.save(build_folder / "ohif.png")

    jobs = browser_server.jobs()
    assert [(j["model"], j["state"]) for j in jobs] == [
        ("sam2_ct_propagate", "done"),
        ("sam2_ct_slice", "done"),
        ("sam2_ct_slice", "done"),
    ]
    assert jobs[0]["slices_done"] > 2  # more than the slices that were clicked on


def two_voxels_of_a_bone(phantom, page) -> list[np.ndarray]:
    """Inside the bone that the sagittal view shows most of, on two slices a third of it apart."""
    seen, _ = page.seen_plane(SAGITTAL)
    i = int(np.rint(np.linalg.solve(phantom.to_lps, [*seen, 1])[0]))
    plane = phantom.labels[i]
    value = np.bincount(plane[plane > 0]).argmax()
    slices = np.flatnonzero((plane == value).any(0))
    chosen = slices[len(slices) // 3], slices[2 * len(slices) // 3]
    depth = {k: ndimage.distance_transform_edt(phantom.labels[..., k] == value) for k in chosen}
    return [np.array([i, int(depth[k][i].argmax()), k]) for k in chosen]


def newest_result(server, phantom, page) -> tuple[np.ndarray, np.ndarray]:
    """What the server answered last: label map, and (4, 4) voxel index to LPS mm."""
    client = page.cookie(COOKIE)
    assert server.jobs(client_id=client), "OHIF's requests came without the cookie"
    asked = {"image": phantom.uid, "label": "bone", "client_id": client}
    answer = requests.get(f"{server.url}/sam2_ct/result", params=asked, timeout=30)
    assert answer.ok, answer.text
    labels, header = read_nrrd(answer.content)
    to_lps = np.eye(4)
    to_lps[:3, :3] = header["space directions"].T
    to_lps[:3, 3] = header["space origin"]
    return labels > 0, to_lps


def in_space(to_lps: np.ndarray, voxels) -> np.ndarray:
    return np.asarray(voxels) @ to_lps[:3, :3].T + to_lps[:3, 3]


def is_shown(page, viewport: int, labels: np.ndarray, to_lps: np.ndarray) -> bool:
    """Whether a viewport tints the voxels of a label map in its plane, and no others.

    Voxels next to the edge may be either; so may a click's surroundings, which are marked.
    """
    voxels = np.argwhere(np.ones(labels.shape, bool))
    seen, normal = page.seen_plane(viewport)
    away = np.abs((in_space(to_lps, voxels) - seen) @ normal)
    half = 0.5 * np.abs(normal @ to_lps[:3, :3]).sum()
    voxels = voxels[away < 0.99 * half]
    inside = labels[tuple(voxels.T)]
    near = ndimage.binary_dilation(labels, iterations=4)[tuple(voxels.T)]
    tinted = page.tinted(viewport, in_space(to_lps, voxels))
    # the mark of the click itself covers some voxels of a small mask
    return bool(inside.any() and tinted[inside].mean() > 0.85 and tinted[~near].mean() < 0.01)
