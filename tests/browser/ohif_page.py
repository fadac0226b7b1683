"""OHIF's MONAI Label mode as a person uses it: look, click, press buttons."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import requests
from PIL import Image
from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, WebDriverException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select

from tests.browser.waiting import wait_for

PATIENCE = 90.0
PACKAGES = "chromium chromium-driver"
FAILURES = ("Failed to Run", "Something went wrong", "something went wrong")
_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-dev-shm-usage "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--window-size=1500,950"
)


def find_browser() -> tuple[str, str] | None:
    """Chromium and its driver, if both are installed."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


def start_browser(profile: Path, logs: tuple[str, ...] = ()) -> webdriver.Chrome:
    """A headless Chromium with a fresh profile, which keeps `logs` in full."""
    browser, driver = find_browser()
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    options.set_capability("goog:loggingPrefs", dict.fromkeys(logs, "ALL"))
    for flag in (*_FLAGS.split(), f"--user-data-dir={profile}"):
        options.add_argument(flag)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))


class OhifPage:
    """One browser window on one server."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver = driver
        self.url = url

    def open_study_list(self) -> None:
        """The list of studies."""
        self.driver.get(f"{self.url}/ohif/")
        self.until(lambda: "Study List" in self.text())

    def open_study(self, description: str) -> None:
        """A study in the MONAI Label mode, images and panel loaded."""
        studies = requests.get(
            f"{self.url}/proxy/dicom/qido/studies",
            headers={"accept": "application/dicom+json"},
            cookies={cookie["name"]: cookie["value"] for cookie in self.driver.get_cookies()},
            timeout=30,
        ).json()
        named = {s["00100020"]["Value"][0]: s["0020000D"]["Value"][0] for s in studies}
        uid = next(uid for patient, uid in named.items() if description in patient)
        self.driver.get(f"{self.url}/ohif/monai-label?StudyInstanceUIDs={uid}")
        self.until(lambda: self.find("name", "monailabelServerURL") is not None)
        self.press("//button[contains(., 'Confirm and Hide')]")
        self.until(lambda: all(self.picture(n).max() > 200 for n in range(3)))

    def cookie(self, name: str) -> str:
        """The value of a cookie that the server gave."""
        return self.driver.get_cookie(name)["value"]

    def connect(self) -> None:
        """The panel's refresh button, at the address it shows; on success its tabs appear."""
        self.press("//tr[.//input[@name='monailabelServerURL']]//button")
        self.until(lambda: "Auto-Segmentation" in self.text())

    def open_tab(self, title: str) -> None:
        """A tab of the panel."""
        self.press(f"//label[contains(@class, 'tab-label') and contains(., '{title}')]")

    def choose_model(self, model: str) -> None:
        """In the menu of the tab that has it."""
        menu = f"//select[./option[@value='{model}']]"
        self.until(lambda: Select(self._shown(menu)).select_by_value(model) or True)

    def choose_segment(self, name: str) -> None:
        """In the list of segments of the point tab."""
        self.press(f"//tr[contains(@class, 'clickable-row') and .//td[text()='{name}']]")

    def run(self, title: str, success: str) -> None:
        """A Run button, by its tooltip; waits until OHIF reports this run's success."""
        self.until(lambda: success not in self.text())  # of an earlier run
        self.press(f"//button[@title='{title}']")

        def succeeded() -> bool:
            text = self.text()
            assert not any(word in text for word in FAILURES), text[:1500]
            return success in text

        self.until(succeeded)

    def seen_plane(self, viewport: int) -> tuple[np.ndarray, np.ndarray]:
        """A point (LPS mm) of the plane that a viewport shows, and its normal."""
        point, normal = self.cornerstone(
            "const c = viewport.getCamera(); return [c.focalPoint, c.viewPlaneNormal]",
            viewport,
        )
        return np.array(point), np.array(normal)

    def on_canvas(self, viewport: int, points: np.ndarray) -> np.ndarray:
        """Where a viewport draws points: (n, 3) LPS mm to (n, 2) column and row."""
        return np.array(
            self.cornerstone(
                "return given.map(point => Array.from(viewport.worldToCanvas(point)))",
                viewport,
                np.asarray(points, float).tolist(),
            )
        )

    def scroll_to(self, viewport: int, point: np.ndarray) -> None:
        """Turn the mouse wheel until the viewport shows the plane through a point (LPS mm)."""
        pane = self.viewports()[viewport]
        origin = ScrollOrigin.from_element(pane)
        step = 100
        for _ in range(500):
            before = self._distance(viewport, point)
            if abs(before) < 0.5:
                return
            ActionChains(self.driver).scroll_from_origin(origin, 0, step).perform()
            self.until(lambda before=before: self._distance(viewport, point) != before)
            if abs(self._distance(viewport, point)) > abs(before):
                step = -step
        raise WebDriverException(f"the wheel does not lead to {point}")

    def show(self, viewport: int, point: np.ndarray) -> None:
        """Have a viewport show the plane through a point (LPS mm), without the wheel."""
        self.cornerstone("viewport.jumpToWorld(given); viewport.render()", viewport, point.tolist())

    def _distance(self, viewport: int, point: np.ndarray) -> float:
        seen, normal = self.seen_plane(viewport)
        return float((point - seen) @ normal)

    def click_on(self, viewport: int, point: np.ndarray) -> None:
        """A click of the left button on a point (LPS mm) in view, until OHIF took it down.

        It does so only when it knows that no double click follows. A Run before that fails in OHIF.
        """
        column, row = self.on_canvas(viewport, point[None])[0]
        pane = self.viewports()[viewport]
        dx, dy = column - pane.size["width"] / 2, row - pane.size["height"] / 2
        before = self.marks()
        ActionChains(self.driver).move_to_element_with_offset(
            pane, round(dx), round(dy)
        ).click().perform()
        self.until(lambda: self.marks() > before)

    def marks(self) -> int:
        """Number of clicks that OHIF has taken down."""
        return self.driver.execute_script(
            "return cornerstoneTools.annotation.state.getAllAnnotations().length"
        )

    def cornerstone(self, script: str, viewport: int, given: object = None) -> object:
        """The value of JavaScript about a viewport, with `given`."""
        name = ("mpr-axial", "mpr-sagittal", "mpr-coronal")[viewport]
        return self.driver.execute_script(
            "const [name, given] = arguments;"
            "const viewport = cornerstone.getRenderingEngines()[0].getViewport(name);" + script,
            name,
            given,
        )

    def viewports(self) -> list[WebElement]:
        """Axial, sagittal, coronal."""
        return self.driver.find_elements("css selector", "canvas.cornerstone-canvas")

    def picture(self, viewport: int) -> np.ndarray:
        """(rows, columns, 3) what a viewport shows."""
        panes = self.viewports()
        if len(panes) <= viewport:
            return np.zeros((1, 1, 3), int)
        png = panes[viewport].screenshot_as_png
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)

    def tinted(self, viewport: int, points: np.ndarray) -> np.ndarray:
        """Which points (LPS mm) are drawn in a segment's colour: more red than blue."""
        picture = self.picture(viewport)
        coloured = picture[..., 0] > picture[..., 2] + 25
        columns, rows = np.floor(self.on_canvas(viewport, points)).astype(int).T
        return coloured[rows.clip(0, coloured.shape[0] - 1), columns.clip(0, coloured.shape[1] - 1)]

    def text(self) -> str:
        """Everything that can be read."""
        return self.driver.find_element("tag name", "body").text

    def find(self, by: str, what: str) -> WebElement | None:
        """The first such element, if there is one."""
        return next(iter(self.driver.find_elements(by, what)), None)

    def _shown(self, xpath: str) -> WebElement:
        """The first such element that can be seen.

        Raises:
            NoSuchElementException: there is none.
        """
        for element in self.driver.find_elements("xpath", xpath):
            if element.is_displayed():
                return element
        raise NoSuchElementException(xpath)

    def press(self, xpath: str) -> None:
        """Click on an element, whatever notification may lie over it, as soon as it is there."""
        click = "arguments[0].click(); return true"
        self.until(lambda: self.driver.execute_script(click, self._shown(xpath)))

    def until(self, condition: Callable):
        """The first true value of `condition`, looked at again and again."""
        return wait_for(condition, self.text, PATIENCE, pause=0.3)

    def save(self, path: Path) -> None:
        """A screenshot."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(path))
