"""A copy of the network, its features and its current device for each GPU of a server.

Two GPUs are stood in for by two names: what is loaded lies on the CPU.
"""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from lib.configs.options import Settings
from lib.engine import models
from lib.engine.models import Engines, ModelKey
from lib.engine.pipeline import Pipeline
from lib.engine.recipe import Recipe
from lib.geometry import Axis
from lib.models.build import load_predictor
from lib.models.compilation import Compile
from lib.prompts.labelmap import from_labelmap
from tests.engine import phantom

TWO = ("cuda:0", "cuda:1")


@pytest.fixture
def engines(monkeypatch):
    loaded = []

    def load(model, checkpoint, device, precision):
        loaded.append((model, device))
        return load_predictor(model, checkpoint, "cpu", precision)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    found = Engines(ModelKey("builtin"), "auto", cache_bytes=100)
    monkeypatch.undo()  # else SAM 2 would put its tables on a GPU, too
    monkeypatch.setattr(models, "load_predictor", load)
    assert found.devices == TWO
    return found, loaded


def test_each_device_has_its_own_copy_and_its_own_features(engines):
    engines, loaded = engines
    first, second = (engines.get("builtin", device) for device in TWO)
    assert loaded == [("builtin", "cuda:0"), ("builtin", "cuda:1")]
    assert engines.get(None, "cuda:1") is second
    assert engines.get() is first
    assert first.model.predictor is not second.model.predictor
    assert first.bank is not second.bank
    assert first.inferer.bank is first.bank
    assert [p.bank.max_bytes for p in (first, second)] == [50, 50]
    assert len(loaded) == 2


def test_a_gpu_is_the_current_one_while_its_network_works(monkeypatch, tmp_path):
    current, seen = [None], []

    @contextmanager
    def device(one):
        current[0] = one
        yield
        current[0] = None

    monkeypatch.setattr(torch.cuda, "device", device)
    pipeline = Pipeline(load_predictor("builtin", device="cpu"))
    infer = pipeline.inferer

    def watched(*args):
        seen.append(current[0])
        return infer(*args)

    pipeline.inferer = watched
    settings = Settings.parse({"axis": "axial"})
    case = pipeline.open(phantom.write_ct(tmp_path / "ct.nii.gz"), settings)
    prompts = from_labelmap(phantom.painted(), case.source_grid, Axis.AXIAL)
    pipeline.carry_out(case, Recipe(prompts, settings))
    pipeline.model = replace(pipeline.model, device=torch.device("cuda", 1))
    pipeline.carry_out(case, Recipe(prompts, settings))
    assert seen == [None, torch.device("cuda", 1)]
    assert current == [None]


def test_only_the_network_that_is_rehearsed_is_compiled(monkeypatch, engines):
    engines, _ = engines
    asked = []

    def compiled(model, compilation):
        asked.append((model.name, compilation))
        return model

    monkeypatch.setattr(models, "with_compiled_parts", compiled)
    assert engines.compiling() == ()
    engines.compilation = Compile.AUTO
    assert engines.compiling() == TWO
    engines.get(None, "cuda:1")
    engines.default = ModelKey("another")
    engines.get("builtin", "cuda:0")
    assert asked == [("builtin", Compile.AUTO)]


def test_a_server_without_a_gpu_rehearses_nothing():
    assert Engines(ModelKey("builtin"), "cpu", compilation=Compile.AUTO).compiling() == ()
