"""The evaluation's HTML report, opened as a file: it sorts, it is read, it asks for nothing."""

import base64
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from lib.evaluation.document import Cell, Document, Table
from lib.evaluation.html import to_html
from lib.evaluation.report import write_report
from tests.browser.ohif_page import PACKAGES, find_browser, start_browser
from tests.browser.own_page import LOGS, OwnPage
from tests.evaluation.stored import CASES, store_results

#: As text their order would be another in every column.
ROWS = (
    ("b 10", "10", 10, "0.9 ± 0.1", 0.9, "-0.2 to +0.3", -0.2, "*"),
    ("b 9", "9", 9, "–", None, "+0.1 to +0.2", 0.1, "-"),
    ("a <i>x</i>", "100", 100, "0.850 ± 0.200", 0.85, "–", None, "-"),
    ("é", "–", None, "10.00 ± 1.00", 10.0, "-1.5 to -1.0", -1.5, "–"),
)


def a_table() -> Table:
    rows = [
        [Cell(name), Cell(n, v), Cell(mean, m), Cell(interval, low), Cell(word)]
        for name, n, v, mean, m, interval, low, word in ROWS
    ]
    return Table.of("Made up", ["Row", "n", "Dice", "95 % CI", "word"], rows)


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[OwnPage]:
    if find_browser() is None:
        pytest.skip(f"Chromium and its driver are not installed: apt-get install {PACKAGES}")
    page = OwnPage(start_browser(tmp_path_factory.mktemp("profile"), LOGS), "file://")
    yield page
    page.driver.quit()


@pytest.fixture
def show(browser, tmp_path):
    """Opens a document; in the end nothing was complained of, and nothing asked for but it."""

    def shown(page: str | Path) -> OwnPage:
        if isinstance(page, str):
            (tmp_path / "report.html").write_text(page, encoding="utf-8")
            page = tmp_path / "report.html"
        browser.driver.get(page.as_uri())
        return browser

    yield shown
    assert browser.complaints() == []
    assert browser.asked_elsewhere() == []


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stored")
    odd = {"<img src=http://127.0.0.1:9/x onerror=document.title='taken'>/rib": "rib"}
    return write_report(store_results(folder, CASES | odd).folder, folder / "report")


def sorted_by(page: OwnPage, column: int) -> tuple[str, list[str]]:
    header = page.all("thead th")[column]
    return header.get_attribute("aria-sort"), [th.text for th in page.all("tbody th")]


def press(page: OwnPage, *keys: str) -> None:
    ActionChains(page.driver).send_keys(*keys).perform()


@pytest.mark.parametrize(
    ("column", "up", "down"),
    [
        # 9 before 10; é beside e, not after z
        (0, ["a <i>x</i>", "b 9", "b 10", "é"], ["é", "b 10", "b 9", "a <i>x</i>"]),
        (1, ["b 9", "b 10", "a <i>x</i>", "é"], ["a <i>x</i>", "b 10", "b 9", "é"]),
        (2, ["a <i>x</i>", "b 10", "é", "b 9"], ["é", "b 10", "a <i>x</i>", "b 9"]),
        (3, ["é", "b 10", "b 9", "a <i>x</i>"], ["b 9", "b 10", "é", "a <i>x</i>"]),
    ],
)
def test_a_column_sorts_by_value_up_down_and_back(show, column, up, down):
    document = Document("A report")
    document.add(a_table())
    page = show(to_html(document))
    as_written = ["b 10", "b 9", "a <i>x</i>", "é"]
    button = page.all("thead button")[column]
    assert sorted_by(page, column) == ("none", as_written)
    button.click()
    assert sorted_by(page, column) == ("ascending", up)
    button.click()
    assert sorted_by(page, column) == ("descending", down)
    button.click()
    assert sorted_by(page, column) == ("none", as_written)


def test_it_sorts_by_keyboard_and_says_so(show):
    document = Document("A report")
    document.add(a_table())
    page = show(to_html(document))
    # the link past the sections, the table that scrolls, its first and second header
    press(page, Keys.TAB)
    assert page.focused().text == "To the report"
    press(page, Keys.TAB, Keys.TAB, Keys.TAB)
    assert page.focused().text == "n"
    press(page, Keys.ENTER)
    assert sorted_by(page, 1)[0] == "ascending"
    assert page.focused().text == "n"
    assert page.one("#said").get_attribute("textContent") == "Made up: sorted by n, ascending"
    press(page, Keys.SPACE)
    assert sorted_by(page, 1)[0] == "descending"
    press(page, Keys.TAB, Keys.ENTER)
    assert [sorted_by(page, n)[0] for n in (1, 2)] == ["none", "ascending"]


def test_equal_cells_keep_their_order_and_groups_stay_together(show):
    groups = [
        [[Cell(name), Cell(str(v), v)], [Cell(f"paper's {name}"), Cell("0", 0)]]
        for name, v in (("femur", 3), ("rib", 1), ("hip", 2), ("skull", 1))
    ]
    document = Document("A report")
    document.add(Table("By class", ["Class", "Dice"], groups))
    page = show(to_html(document))
    page.all("thead button")[1].click()
    order = ["rib", "skull", "hip", "femur"]
    assert sorted_by(page, 1)[1] == [x for name in order for x in (name, f"paper's {name}")]
    page.all("thead button")[1].click()
    order = ["femur", "hip", "rib", "skull"]
    assert sorted_by(page, 1)[1] == [x for name in order for x in (name, f"paper's {name}")]


def test_what_got_in_would_neither_run_nor_ask(browser, tmp_path):
    """The policy itself: a page that was tampered with, and a socket that nobody comes to."""
    document = Document("A report")
    document.add(a_table())
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        url = f"http://127.0.0.1:{elsewhere.getsockname()[1]}/x"
        bad = (
            "<script>document.title='taken'</script><style>table{display:none}</style>"
            f"<img src='{url}' onerror=\"document.title='taken'\">"
            f"<link rel='stylesheet' href='{url}'><script src='{url}'></script></main>"
        )
        path = tmp_path / "report.html"
        path.write_text(to_html(document).replace("</main>", bad), encoding="utf-8")
        browser.driver.get(path.as_uri())
        assert browser.driver.title == "A report"
        assert browser.one("table").is_displayed()
        browser.all("thead button")[0].click()
        assert sorted_by(browser, 0)[0] == "ascending"  # ours runs
        elsewhere.settimeout(0.2)
        with pytest.raises(TimeoutError):
            elsewhere.accept()
    refused = [r for r in browser.complaints() if "Content Security Policy" in r]
    assert len(refused) == 6  # two scripts, two styles, a picture, its handler
    browser.asked_elsewhere()  # what was refused stands in the log as well


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1400])
def test_a_whole_report_is_accessible_in_every_window(show, report, scheme, width):
    page = show(report)
    page.look_like(scheme)
    page.be_wide(width)
    assert page.driver.title == "Evaluation"  # not `taken`
    assert page.overflow() == 0
    assert page.violations() == []
    assert page.driver.execute_script(
        "return [...document.images].every((image) => image.complete && image.naturalWidth > 100)"
    )
    behind, ink = page.driver.execute_script(
        "const s = getComputedStyle(document.body);"
        "return [getComputedStyle(document.documentElement).backgroundColor, s.color]"
    )
    levels = [int(x) for x in re.findall(r"\d+", ink)[:3]]
    assert (min(levels) > 200) if scheme == "dark" else (max(levels) < 60), (behind, ink)


def test_every_table_of_a_whole_report_sorts(show, report):
    page = show(report)
    orders = page.driver.execute_script("""
        return [...document.querySelectorAll("thead button")].map((button) => {
            button.click();
            const th = button.parentElement, table = th.closest("table");
            const cells = [...table.tBodies].map((b) => b.rows[0].cells[th.cellIndex]);
            const values = cells.map((c) => "value" in c.dataset ? +c.dataset.value : c.innerText);
            return [th.className, th.getAttribute("aria-sort"), values];
        })""")
    assert len(orders) > 200
    for kind, state, values in orders:
        assert state == "ascending"
        if kind == "figure":
            figures = [v for v in values if isinstance(v, int | float)]
            assert figures == sorted(figures)
            assert values[: len(figures)] == figures, "what was not measured is not last"


def test_it_prints_every_table_within_the_paper(show, report):
    page = show(report)
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    page.be_wide(720)  # A4 between its margins, CSS pixels
    too_wide = page.driver.execute_script(
        "return [...document.querySelectorAll('table, img, pre')]"
        ".filter((x) => x.getBoundingClientRect().right > innerWidth).map((x) => x.innerText)"
    )
    assert too_wide == []
    assert page.driver.execute_script(
        "return getComputedStyle(document.querySelector('nav')).display"
    ) == "none"  # fmt: skip
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    printed = base64.b64decode(page.driver.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert printed.startswith(b"%PDF")


def test_it_is_read_without_scripts(show, report):
    """What sorts is added by the script; all figures are there without it."""
    page = show(re.sub(r"<script>.*</script>", "", report.read_text(), flags=re.DOTALL))
    assert not page.all("thead button")
    assert len(page.all("tbody tr")) > 100
