"""OHIF, unmodified, in a real browser: open, click, run, see."""

import requests


def test_click_a_bone_then_propagate(page, browser_server, build_folder):
    page.open_study_list()
    assert "phantom-straight-0" in page.text()
    page.open_study("straight")
    page.connect()

    page.open_tab("Point Prompts")
    page.choose_model("sam2_ct_slice")
    page.choose_segment("bone")
    page.click_on(0, *page.bone_at(0))
    before = [page.overlay(n) for n in range(3)]  # the mark of the click is tinted, too
    page.run("Run PointPrompts")
    page.until(lambda: page.overlay(0) > before[0] + 50)
    page.save(build_folder / "ohif-slice.png")

    page.open_tab("Auto-Segmentation")
    page.choose_model("sam2_ct_propagate")
    page.until(lambda: "Successful" not in page.text())  # of the run before
    one_slice = page.overlay(1)
    page.run("Run Segmentation")
    page.until(lambda: page.overlay(1) > 2 * one_slice)
    page.save(build_folder / "ohif.png")

    jobs = requests.get(f"{browser_server.url}/sam2_ct/jobs", timeout=30).json()
    assert [(j["model"], j["state"]) for j in jobs] == [
        ("sam2_ct_propagate", "done"),
        ("sam2_ct_slice", "done"),
    ]
