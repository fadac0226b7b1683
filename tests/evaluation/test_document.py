"""One document, two forms: read back by others' parsers they say the same, whatever names hold."""

import base64
import hashlib
import re

import pytest
from bs4 import BeautifulSoup
from markdown_it import MarkdownIt

from lib.errors import BadInput
from lib.evaluation.document import Cell, Document, Picture, Style, Table, code, emphasis, strong
from lib.evaluation.html import to_html
from lib.evaluation.markdown import to_markdown
from lib.evaluation.report import write_report
from tests.evaluation.stored import store_results

#: Names as nobody gives them, unless on purpose.
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=http://127.0.0.1:9/x onerror=alert(1)>',
    "a|b `c` *d* _e_ [f](http://127.0.0.1:9/) ~~g~~ <b>h</b> &amp; \\i",
    "![x](http://127.0.0.1:9/y)",
    "__init__ case_1_b $x^{$ {{ 7 * 7 }} {% raw %}",
    "two\nlines\r\n# and no heading",
    "`",
)


def of_markdown(text: str) -> BeautifulSoup:
    return BeautifulSoup(MarkdownIt("gfm-like", {"linkify": False}).render(text), "html.parser")


def of_html(text: str) -> BeautifulSoup:
    return BeautifulSoup(text, "html.parser")


def words(node) -> str:
    return " ".join(node.get_text().split())


def tables(page: BeautifulSoup) -> list[list[list[str]]]:
    return [
        [[words(cell) for cell in row(["th", "td"])] for row in table("tr")]
        for table in page("table")
    ]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    return write_report(store_results(folder).folder, folder / "report", frozenset({"case_0"}))


@pytest.fixture(scope="module")
def both(report):
    return of_markdown(report.with_suffix(".md").read_text()), of_html(report.read_text())


def test_both_forms_have_the_same_tables(both):
    markdown, html = map(tables, both)
    assert len(markdown) > 30
    assert markdown == html


def test_both_forms_have_the_same_text_and_pictures(both, report):
    markdown, html = both
    for tag in ("h1", "h2", "p", "li", "pre"):
        # a picture's caption is a paragraph of its own in Markdown
        of_page = [words(x) for x in html.select(f"h1, main {tag}, main figcaption")]
        of_text = [words(x) for x in markdown(tag) if words(x)]
        assert of_text, tag
        assert set(of_text) <= set(of_page), tag
    inside = [base64.b64decode(x["src"].partition("base64,")[2]) for x in html("img")]
    beside = [(report.parent / x["src"]).read_bytes() for x in markdown("img")]
    assert len(inside) == 11
    assert inside == beside
    assert [x["alt"] for x in html("img")] == [x["alt"] for x in markdown("img")]


def test_figures_sort_by_what_is_written(both):
    """The value of a cell is the first figure in it, as exact as the results."""
    _, html = both
    cells = html.select("[data-value]")
    assert len(cells) > 500
    for cell in cells:
        first = float(re.search(r"[-+]?[\d.]+", words(cell)).group())
        if words(cell) == "< 0.001":
            assert 0 <= float(cell["data-value"]) < first
        else:
            assert float(cell["data-value"]) == pytest.approx(first, abs=0.0051)
    assert not html.select("td.figure:-soup-contains('–')[data-value]")


def test_the_papers_line_stays_under_its_class(both):
    _, html = both
    (table,) = [t for t in html("table") if words(t.caption) == "Table VII: per bone class"]
    groups = [[words(row.th) for row in body("tr")] for body in table("tbody")]
    assert groups == [["rib", "paper"], ["femur", "paper"]]


def test_everything_is_inside_and_allowed_by_hash(report):
    page = of_html(report.read_text())
    (policy,) = [m["content"] for m in page("meta") if m.get("http-equiv")]
    rules = dict(rule.split(maxsplit=1) for rule in policy.split("; "))
    for tag in ("style", "script"):
        (part,) = page(tag)
        digest = base64.b64encode(hashlib.sha256(part.string.encode()).digest()).decode()
        assert rules.pop(f"{tag}-src") == f"'sha256-{digest}'"
    assert rules == {
        "default-src": "'none'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'",
    }  # fmt: skip
    asked = [x[a] for x in page(True) for a in ("src", "href", "style") if x.get(a)]
    assert all(link.startswith(("data:", "#")) for link in asked)


def test_settings_and_commands_are_those_of_the_run(both):
    _, html = both
    settings = {row[0]: row for row in tables(html)[-1]}
    key = "builtin_bone_first-middle-last_mask_single_is+sps"
    assert settings[key][1] == "1: IS + SPS; 7: IS + SPS"
    assert "policy=tau=0.3,intelligent=true" in settings[key][2] or "is+sps" in settings[key][2]
    assert "window" not in settings[key][2]  # as in every row that names none
    (typed,) = html("pre")
    assert "evaluate run --dataset made-up --split split.json --table 1" in words(typed)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_stays_text_in_both_forms(name, tmp_path):
    picture = tmp_path / "a picture.png"
    picture.write_bytes(b"png")
    document = Document(name)
    document.section(name)
    document.say("before ", strong(name), " ", emphasis(name), " ", code(name), name)
    document.points([[name], [code(name)]])
    header = [name, emphasis(name), "n"]
    document.add(
        Table.of(name, header, [[Cell(name), Cell(name, style=Style.CODE), Cell("1", 1)]]),
        Picture(picture, name, name),
    )
    plain = " ".join(name.split())
    for page in (of_markdown(to_markdown(document)), of_html(to_html(document))):
        body = page.body or page
        assert words(body.h1) == words(body.h2) == plain
        assert words(body.find("p", string=None, attrs={"class": None})).startswith("before")
        assert tables(body) == [[[plain, plain, "n"], [plain, plain, "1"]]]
        assert " ".join(body.img["alt"].split()) == plain
        assert [words(x) for x in (body.main or body)("li")] == [plain, plain]
        assert len(body("img")) == len(body("h1")) == 1
        assert not [a for a in body("a") if "127" in a["href"]]
        assert not body(["b", "del"])
        assert not [x for x in body(True) if x.get("onerror")]
        assert len(body("script")) == (1 if page.body else 0)  # our own


def test_a_whole_report_of_hostile_names(tmp_path):
    """Also in what matplotlib draws, where a $ begins mathematics."""
    cases = {f"{' '.join(name.replace('/', ' ').split())}/femur": "femur" for name in HOSTILE}
    store = store_results(tmp_path, cases, dataset=HOSTILE[0], split_file=HOSTILE[4])
    page = write_report(tmp_path, tmp_path / "report")
    html, text = of_html(page.read_text()), of_markdown(page.with_suffix(".md").read_text())
    assert tables(html) == tables(text)
    assert f"Dataset: {HOSTILE[0]}" in [words(x) for x in html("li")]
    assert len(html("script")) == 1
    assert any("$x^{$" in x["alt"] for x in html("img"))
    store.close()


def test_ragged_tables_are_refused():
    with pytest.raises(ValueError, match="1 cells under 2 headers"):
        Table.of("", ["a", "b"], [[Cell("x")]])


def test_a_page_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    store_results(tmp_path)
    before = tmp_path / "report" / "report.html"
    before.parent.mkdir()
    before.write_text("an earlier one")

    def full(document):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lib.evaluation.report.to_html", full)
    for slow in ("_figures", "_contact_sheets"):
        monkeypatch.setattr(f"lib.evaluation.report.{slow}", lambda *_: None)
    with pytest.raises(BadInput, match=r"cannot write .*report\.html: No space left"):
        write_report(tmp_path, before.parent)
    assert before.read_text() == "an earlier one"
