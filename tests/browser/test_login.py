"""Logging in with a browser, and OHIF behind it."""

import requests

from lib.serving.auth.desk import COOKIE
from tests.browser.test_ohif import AXIAL, POINTS_DONE, in_space, two_voxels_of_a_bone

TIMEOUT = 30


def log_in(page, name: str, password: str) -> None:
    """As with a keyboard: the first field has the focus already."""
    page.until(lambda: page.driver.switch_to.active_element.accessible_name == "User name")
    page.driver.switch_to.active_element.send_keys(name)
    second = page.find("id", "password")
    assert (second.accessible_name, second.get_attribute("type")) == ("Password", "password")
    second.send_keys(password + "\n")


def test_ohif_works_behind_the_log_in(locked_server, open_page, phantom, build_folder):
    page = open_page(locked_server)
    page.driver.get(f"{page.url}/ohif/")
    assert page.driver.current_url == f"{page.url}/auth/login?next=%2Fohif%2F"
    assert page.driver.get_log("browser") == []  # its own policy lets its style in
    log_in(page, "anna", "wrong horse")
    page.until(lambda: page.find("css selector", "[role=alert]") is not None)
    assert "wrong user name or password" in page.text()
    page.save(build_folder / "login.png")
    log_in(page, "anna", "correct horse")
    page.until(lambda: "phantom-straight-0" in page.text())
    assert COOKIE not in page.driver.execute_script("return document.cookie")

    page.open_study("straight")
    page.connect()
    page.open_tab("Point Prompts")
    page.choose_model("sam2_ct_slice")
    page.choose_segment("bone")
    point = in_space(phantom.to_lps, two_voxels_of_a_bone(phantom, page)[0])
    page.scroll_to(AXIAL, point)
    page.click_on(AXIAL, point)
    page.run("Run PointPrompts", POINTS_DONE)
    cookies = {COOKIE: page.cookie(COOKIE)}
    jobs = requests.get(f"{page.url}/sam2_ct/jobs", cookies=cookies, timeout=TIMEOUT).json()
    assert [(job["client"], job["state"]) for job in jobs] == [("anna", "done")]
    refused = [e["message"] for e in page.driver.get_log("browser") if " 401 " in e["message"]]
    # the wrong password; and the manifest, which browsers ask for without cookies
    assert {m.split()[0].removeprefix(page.url) for m in refused} <= {
        "/auth/login",
        "/ohif/manifest.json",
    }

    page.driver.get(f"{page.url}/auth/login")
    assert "logged in as anna (annotator)" in page.text()
    page.press("//button[text()='Log out']")
    page.until(lambda: page.find("id", "username") is not None)
    page.driver.get(f"{page.url}/ohif/")
    assert "/auth/login" in page.driver.current_url
    answer = requests.get(f"{page.url}/sam2_ct/jobs", cookies=cookies, timeout=TIMEOUT)
    assert answer.status_code == 401
