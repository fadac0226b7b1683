"""The history's page and figure come from its lines alone, and the lines are the command's own."""

import json
import xml.etree.ElementTree as ElementTree

from benchmarks import history


def line(commit, **ratios):
    speed = {
        "ratios": ratios,
        "precision": "bf16",
        "policy": "is+sps",
        "machine": {"processor": "a processor"},
    }
    memory = [
        {"slices": n, "peak": 300 + n, "input": 1, "output": 1, "rest": 298 + n, "cache": 8,
         "seconds": 1}
        for n in (100, 800)
    ]  # fmt: skip
    return {
        "commit": commit,
        "day": "2026-01-01",
        "speed": {"a run": speed},
        "memory": memory,
        "start_seconds": 0.5,
    }


LINES = [line("abc1234", first=2.5), line("def5678", first=3.5, correction=9.0)]


def test_the_page_tells_every_line(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(history, "FIGURE", tmp_path / "page.svg")
    history.draw(LINES)
    page = history.PAGE.read_text()
    assert "| abc1234 | 2026-01-01 | bf16 | is+sps | ×2.5 |  | a processor |" in page
    assert "| def5678 | 2026-01-01 | bf16 | is+sps | ×3.5 | ×9.0 | a processor |" in page
    assert "| 800 | 1100 |" in page
    assert "(page.svg)" in page
    first = history.FIGURE.read_bytes()
    assert ElementTree.fromstring(first).tag.endswith("svg")
    history.draw(LINES)
    assert history.FIGURE.read_bytes() == first


def test_curves_go_through_what_was_measured():
    panel = history.figure(LINES).axes[0]
    curves = {curve.get_label(): list(curve.get_ydata()) for curve in panel.lines}
    assert curves["first"] == [2.5, 3.5]
    assert curves["correction"][1] == 9.0
    assert [label.get_text() for label in panel.get_xticklabels()] == ["abc1234", "def5678"]


def test_the_page_in_the_repository_is_that_of_the_history():
    lines = [json.loads(text) for text in history.HISTORY.read_text().splitlines()]
    assert history.PAGE.read_text() == history.page(lines)
    assert all(run["rounds"] >= 3 for one in lines for run in one["speed"].values())
