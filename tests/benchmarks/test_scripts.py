"""Every benchmark can at least be started: they use parts of the app that change."""

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.parametrize("script", sorted(p.stem for p in BENCHMARKS.glob("*.py")))
def test_it_imports(script):
    module = importlib.import_module(f"benchmarks.{script}")
    assert module.__doc__
    if hasattr(module, "main"):
        assert f"benchmarks/{script}.py" in module.__doc__, "it says how it is run"
