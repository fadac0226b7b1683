"""The speed benchmark itself, end to end on a small network: rows, ratios, JSON, and a GPU's part.

No GPU is asked for: its clock, its name and stock's compiled predictor are stood in for, and all
else runs as it would.
"""

import json
import sys
from contextlib import nullcontext

import pytest
import torch

from benchmarks import speed
from lib.models.build import STOCK_PREDICTOR
from lib.models.compilation import Compilation

SMALL = ["--image-size", "64", "--slices", "9", "--policy", "is+sps"]


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_it_measures_stock_and_ours_and_writes_what_it_found(tmp_path, monkeypatch, capsys):
    out = tmp_path / "speed.json"
    monkeypatch.setattr(sys, "argv", ["speed.py", *SMALL, "--threads", "1", "--json", str(out)])
    speed.main()
    found = json.loads(out.read_text())
    assert set(found["ratios"]) == {"stock/first", "stock/correction"}
    seconds = found["seconds"]
    for name in ("first", "correction"):
        ratio = seconds[f"stock/{name}"] / seconds[f"ours/{name}"]
        assert found["ratios"][f"stock/{name}"] == pytest.approx(ratio, abs=0.02, rel=0.02)
    assert found["clock"] == "processor"
    assert found["rounds"] == 3
    assert found["machine"]["threads"] == 1
    assert found["versions"]["torch"] == torch.__version__
    assert "frames_per_second" not in found
    shown = capsys.readouterr().out
    assert f"| faster than stock | ×{found['ratios']['stock/first']} |" in shown


def test_on_a_gpu_it_waits_for_the_device_and_compares_with_compiled_stock(monkeypatch):
    waited = []

    class GpuClock(speed.Clock):
        def __init__(self, device):
            super().__init__(device)
            self.gpu, self.name = True, "wall"

    monkeypatch.setattr(speed, "Clock", GpuClock)
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "a card")
    monkeypatch.setattr(speed, "COMPILED_PREDICTOR", STOCK_PREDICTOR)
    monkeypatch.setattr(speed, "as_meta_measures", nullcontext)
    monkeypatch.setattr(speed, "choose_compilation", lambda *_: Compilation(True))
    found = speed.run(speed.parser().parse_args(SMALL))
    assert found["clock"] == "wall"
    assert found["machine"]["card"] == "a card"
    assert found["compiled"] is False  # the network of this test is on a CPU
    assert {"stock compiled/first", "stock compiled/correction"} < set(found["ratios"])
    frames = found["frames_per_second"]
    assert set(frames) == {"stock", "stock compiled", "ours", "ours, no files"}
    assert frames["stock"] == pytest.approx(9 / found["seconds"]["stock/first"], rel=0.01)
    assert len(waited) >= 7 * 4  # every row of every round
    assert "frames per second on a card: stock " in speed.table(found)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(["--rounds", "2"], "3 rounds or more"), (["--device", "cuda"], "no CUDA GPU")],
)
def test_what_cannot_be_measured_is_refused_at_once(monkeypatch, capsys, arguments, sentence):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["speed.py", *arguments])
    with pytest.raises(SystemExit) as refused:
        speed.main()
    assert refused.value.code == 2
    assert sentence in capsys.readouterr().err
