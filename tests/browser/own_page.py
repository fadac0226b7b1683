"""The server's own page as a person uses it: look, press, go by keyboard."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import numpy as np
from axe_core_python.selenium import Axe
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.browser.waiting import wait_for

PATIENCE = 60.0
LOGS = ("browser", "performance")
#: What a browser asks for on its own, and what names no machine.
_OWN = ("data", "blob", "about", "chrome")


class OwnPage:
    """A browser window on a server's page."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver = driver
        self.url = url

    def open(self, client_id: str = "") -> None:
        """The page, as a client."""
        query = f"?{urlencode({'client_id': client_id})}" if client_id else ""
        self.driver.get(f"{self.url}/sam2_ct/{query}")
        self.until(lambda: self.one("#live").text == "live")

    def leave(self) -> None:
        """Show nothing, and ask for nothing."""
        self.driver.get("about:blank")

    def one(self, selector: str) -> WebElement:
        """The first element."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        """Every element."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str = "body") -> str:
        """What can be read there."""
        return self.one(selector).text

    def focused(self) -> WebElement:
        """What has the focus."""
        return self.driver.switch_to.active_element

    def bar(self) -> tuple[float, float] | None:
        """Value and end of the bar of the job that runs."""
        value, end = self.driver.execute_script(
            "const bar = document.querySelector('#jobs .running progress');"
            "return bar && bar.position >= 0 ? [bar.value, bar.max] : [null, null]"
        )
        return None if value is None else (value, end)

    def until(self, condition: Callable, limit: float = PATIENCE):
        """The first true value of `condition`, looked at again and again."""
        return wait_for(condition, self.text, limit, pause=0.05)

    def listen(self) -> None:
        """From now on keep what is said to screen readers: each sentence replaces the last."""
        self.driver.execute_script(
            "const said = document.querySelector('#said'); window.heard = [];"
            "new MutationObserver(() => window.heard.push(said.textContent))"
            ".observe(said, {childList: true, characterData: true, subtree: true})"
        )

    def heard(self) -> list[str]:
        """What was said since `listen`."""
        return self.driver.execute_script("return window.heard")

    def complaints(self) -> list[str]:
        """What the console said since it was last asked, but for what is only information."""
        told = self.driver.get_log("browser")
        return [one["message"] for one in told if one["level"] in ("SEVERE", "WARNING")]

    def asked_elsewhere(self) -> list[str]:
        """Addresses of other machines that the browser asked since this was last called."""
        asked = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                asked.append(message["params"]["request"]["url"])
        assert asked, "the log of requests is empty"
        own = urlsplit(self.url).netloc
        return [
            url for url in asked if urlsplit(url).scheme not in _OWN and urlsplit(url).netloc != own
        ]

    def violations(self) -> list[str]:
        """Rules of accessibility (axe-core) that the page breaks, with the elements."""
        found = Axe().run(self.driver)["violations"]
        return [f"{rule['id']}: {node['html'][:200]}" for rule in found for node in rule["nodes"]]

    def look_like(self, scheme: str) -> None:
        """Show the page in `light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def be_wide(self, width: int, height: int = 900) -> None:
        """A window of that size, CSS pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def overflow(self) -> int:
        """Pixels by which the page is wider than its window."""
        return self.driver.execute_script(
            "const root = document.documentElement; return root.scrollWidth - root.clientWidth"
        )

    def picture(self, image: WebElement) -> np.ndarray:
        """(rows, columns, 3) the pixels of an image that the page shows, in its own size."""
        data = self.driver.execute_script(
            "const image = arguments[0], canvas = document.createElement('canvas');"
            "[canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];"
            "canvas.getContext('2d').drawImage(image, 0, 0);"
            "return canvas.toDataURL().split(',')[1]",
            image,
        )
        png = io.BytesIO(base64.b64decode(data))
        return np.asarray(Image.open(png).convert("RGB")).astype(int)

    def save(self, path: Path) -> None:
        """A screenshot."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(path))
