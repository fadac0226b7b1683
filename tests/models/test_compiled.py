"""Compiled parts: what is compiled, when, and that it says the same.

There is no GPU here. What compiles is stood in for by something that counts; torch's compiler is
asked whether it takes the parts whole, with a backend that compiles nothing; the CUDA graph is one
that runs the function again. The last test needs a GPU and compiles in earnest.
"""

from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from lib.configs.options import Settings
from lib.engine.pipeline import Pipeline
from lib.engine.recipe import Recipe
from lib.geometry import Axis
from lib.models import compilation, compiled
from lib.models.build import load_predictor, with_compiled_parts
from lib.models.compilation import Compile, choose_compilation
from lib.models.compiled import Compiled, Cuda, Part
from lib.models.precision import Numerics, Precision
from lib.prompts.labelmap import from_labelmap
from lib.propagation.input_size import InputSize
from tests.engine import phantom

GPU = torch.device("cuda", 0)
SETTINGS = Settings.parse({"axis": "axial"})


class Counting:
    """Compiles nothing, and counts."""

    def __init__(self, fails: str = "") -> None:
        self.prepared, self.recorded, self.fails = [], [], fails

    def prepare(self, function, *, dynamic):
        self.prepared.append(dynamic)
        return function

    def record(self, function, arguments):
        if self.fails:
            raise RuntimeError(f"{self.fails}\nand a long story")
        self.recorded.append(arguments)
        return function


def pipeline_with(compiler) -> Pipeline:
    model = load_predictor("builtin", device="cpu")
    return Pipeline(replace(model, compiled=Compiled(model.predictor, compiler)))


def request(pipeline, path, slices=(2, 8, 13), **options):
    settings = Settings.parse({"axis": "axial", **options})
    case = pipeline.open(path, settings)
    prompts = from_labelmap(phantom.painted(slices), case.source_grid, Axis.AXIAL)
    return pipeline.carry_out(case, Recipe(prompts, settings))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return phantom.write_ct(tmp_path_factory.mktemp("ct") / "ct.nii.gz")


@pytest.fixture(scope="module")
def rehearsed():
    compiler = Counting()
    pipeline = pipeline_with(compiler)
    pipeline.rehearse(SETTINGS)
    return pipeline, compiler


@pytest.mark.parametrize(
    ("slices", "options"),
    [
        ((2, 8, 13), {}),
        ((8,), {}),
        ((2, 4, 9, 13), {}),
        ((1, 14), {"extent": "whole"}),
        ((3, 7), {"extent": "painted"}),
    ],
)
def test_after_the_rehearsal_requests_compile_nothing_and_find_every_shape(
    rehearsed, path, slices, options
):
    pipeline, compiler = rehearsed
    shapes = len(compiler.recorded)
    assert shapes > 4
    assert sorted(compiler.prepared) == [False, False, False, True]  # attention for many shapes
    outcome = request(pipeline, path, slices, **options)
    assert len(compiler.recorded) == shapes
    assert outcome.report.checkpoint.compiled
    assert not [d for d in outcome.report.decided if "compiled" in d]
    plain = request(Pipeline(load_predictor("builtin", device="cpu")), path, slices, **options)
    assert np.array_equal(outcome.labels, plain.labels)
    assert not plain.report.checkpoint.compiled


def test_a_shape_that_was_not_rehearsed_runs_as_it_is_and_the_report_says_so(rehearsed, path):
    pipeline, compiler = rehearsed
    shapes = len(compiler.recorded)
    outcome = request(pipeline, path, input="512")
    assert len(compiler.recorded) == shapes
    (sentence,) = [d for d in outcome.report.decided if "ran uncompiled" in d]
    assert "their shapes were not rehearsed" in sentence
    plain = request(Pipeline(load_predictor("builtin", device="cpu")), path, input="512")
    assert np.array_equal(outcome.labels, plain.labels)
    again = request(pipeline, path, slices=(2, 9, 13))  # and is not remembered of that request
    assert not [d for d in again.report.decided if "compiled" in d]


def test_without_a_rehearsal_nothing_is_compiled(path):
    compiler = Counting()
    outcome = request(pipeline_with(compiler), path)
    assert compiler.prepared == compiler.recorded == []
    assert any("ran uncompiled" in d for d in outcome.report.decided)


def test_what_cannot_be_compiled_runs_as_it_is_and_the_report_says_why(path):
    pipeline = pipeline_with(Counting(fails="no such instruction"))
    pipeline.rehearse(SETTINGS)
    outcome = request(pipeline, path)
    said = "the memory attention could not be compiled: no such instruction"
    assert said in outcome.report.decided
    plain = request(Pipeline(load_predictor("builtin", device="cpu")), path)
    assert np.array_equal(outcome.labels, plain.labels)


def test_compiled_results_are_not_taken_for_others():
    model = load_predictor("builtin", device="cpu")
    twin = replace(model, compiled=Compiled(model.predictor, Counting()))
    assert twin.identity != model.identity


def test_torchs_compiler_takes_every_part_whole_and_attention_for_many_shapes(monkeypatch, path):
    graphs = []

    def backend(module, _inputs):
        graphs.append(module)
        return module.forward

    class Traced(Counting):
        def prepare(self, function, *, dynamic):
            super().prepare(function, dynamic=dynamic)
            return Cuda(GPU).prepare(function, dynamic=dynamic)

        def record(self, function, arguments):
            super().record(function, arguments)
            before = len(graphs)
            function(*arguments[0], **arguments[1])
            self.compiled = getattr(self, "compiled", 0) + len(graphs) - before
            return function

    # a graph break would be an error: `fullgraph` is torch's, as `prepare` asks for it
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    # layers as on a GPU: oneDNN's own products cannot be traced, nor have they to be
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    compiler = Traced()
    pipeline = pipeline_with(compiler)
    # one size of the input: each has graphs of its own, which take as long again
    pipeline.rehearse(replace(SETTINGS, input=InputSize.OWN))
    parts = pipeline.model.compiled.parts
    assert not [part.failed for part in parts.values() if part.failed]
    assert parts["memory attention"].shapes > 20
    others = sum(part.shapes for name, part in parts.items() if name != "memory attention")
    assert compiler.compiled <= others + 4
    before = len(graphs)
    outcome = request(pipeline, path, input="own")
    assert len(graphs) == before
    plain = request(Pipeline(load_predictor("builtin", device="cpu")), path, input="own")
    assert np.array_equal(outcome.labels, plain.labels)


class Graph:
    """Stands for a CUDA graph: replayed, it runs the function on its own tensors again."""

    def __init__(self) -> None:
        self.recorded = None

    def replay(self) -> None:
        args, named = self.recorded._arguments
        fresh = self.recorded_function(*args, **named)
        for mine, new in zip(
            compiled._tensors(self.recorded._answer), compiled._tensors(fresh), strict=True
        ):
            mine.copy_(new)


def test_a_graph_is_fed_by_copies_and_its_answers_outlive_the_next(monkeypatch):
    log = []

    class Stream:
        def wait_stream(self, other):
            log.append("wait")

    @contextmanager
    def capture(graph, pool, *, stream, capture_error_mode):
        log.append(f"capture {capture_error_mode}")
        assert pool == "a pool"
        yield
        log.append("captured")

    @contextmanager
    def within(stream):
        yield

    monkeypatch.setattr(torch.cuda, "Stream", lambda _device: Stream())
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", within)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: "a pool")
    monkeypatch.setattr(torch.cuda, "graph", capture)

    def function(x, *, more, factor):
        log.append("call")
        return {"sum": x + more[0], "scaled": [factor * x]}

    call = (torch.ones(3),), {"more": [torch.zeros(3)], "factor": 2}
    cuda = Cuda(GPU)
    recorded = cuda.record(function, call)
    assert log == ["wait", *["call"] * 3, "wait", "capture thread_local", "call", "captured"]
    recorded._graph.recorded, recorded._graph.recorded_function = recorded, function
    first = recorded(torch.full((3,), 5.0), more=[torch.ones(3)], factor=2)
    second = recorded(torch.full((3,), 7.0), more=[torch.ones(3)], factor=2)
    assert first["sum"].tolist() == [6.0] * 3
    assert second["sum"].tolist() == [8.0] * 3
    assert second["scaled"][0].tolist() == [14.0] * 3
    assert call[0][0].tolist() == [1.0] * 3  # the first caller's tensors are its own

    # a graph of another shape is fed in the same memory, and neither says what the other was given
    small = cuda.record(function, ((torch.ones(2),), {"more": [torch.ones(2)], "factor": 3}))
    small._graph.recorded, small._graph.recorded_function = small, function
    addresses = [[t.data_ptr() for t in compiled._tensors(r._arguments)] for r in (recorded, small)]
    assert addresses[0] == addresses[1]
    assert small(torch.full((2,), 4.0), more=[torch.ones(2)], factor=3)["sum"].tolist() == [5.0] * 2
    again = recorded(torch.full((3,), 5.0), more=[torch.ones(3)], factor=2)
    assert again["sum"].tolist() == first["sum"].tolist()


def test_constants_are_part_of_what_is_compiled():
    compiler = Counting()
    part = Part(lambda x, *, flag: x if flag else -x, compiler)
    part.learns = True
    for flag in (True, False, True):
        part(torch.ones(2), flag=flag)
    part(torch.ones(2, dtype=torch.float16), flag=True)
    part(torch.ones(3), flag=True)
    assert len(compiler.recorded) == part.shapes == 4
    assert part.calls == [5, 5]


@pytest.mark.parametrize(
    ("asked", "device", "precision", "capability", "triton", "is_on", "why_not"),
    [
        ("auto", "cuda", "bf16", (9, 0), True, True, ""),
        ("auto", "cuda", "fp32-fast", (7, 0), True, True, ""),
        ("off", "cuda", "bf16", (9, 0), True, False, ""),
        ("auto", "cpu", "bf16", None, True, False, ""),
        ("auto", "cuda", "fp32", (9, 0), True, False, "stock SAM 2's bits"),
        ("auto", "cuda", "fp32-fast", (6, 1), True, False, "6.1, 7.0 is needed"),
        ("auto", "cuda", "bf16", (9, 0), False, False, "Triton is not installed"),
    ],
)
def test_what_is_compiled(
    monkeypatch, asked, device, precision, capability, triton, is_on, why_not
):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    found = object() if triton else None
    monkeypatch.setattr(compilation.importlib.util, "find_spec", lambda _name: found)
    chosen = choose_compilation(
        Compile.parse(asked), torch.device(device), Numerics(precision, "a test")
    )
    assert chosen.is_on is is_on
    assert why_not in chosen.why_not
    assert bool(chosen.why_not) == bool(why_not)


def test_on_a_cpu_nothing_is_compiled_and_nothing_said(path):
    model = with_compiled_parts(load_predictor("builtin", device="cpu"), Compile.AUTO)
    assert model.compiled is None
    report = request(Pipeline(model), path).report
    assert not report.checkpoint.compiled
    assert not [d for d in report.decided if "compile" in d]


def test_a_gpu_that_cannot_compile_says_why(path):
    model = load_predictor("builtin", device="cpu")
    model = replace(model, why_not_compiled="not compiled: Triton is not installed beside PyTorch")
    assert model.why_not_compiled in request(Pipeline(model), path).report.decided


@pytest.mark.skipif(not torch.cuda.is_available(), reason="compiles for a GPU, and there is none")
@pytest.mark.timeout(1200)
def test_on_a_gpu_compiled_parts_say_the_same(path):
    model = load_predictor("builtin", device="cuda", precision=Precision.FP32_FAST)
    plain = request(Pipeline(model), path)
    quick = with_compiled_parts(
        load_predictor("builtin", device="cuda", precision=Precision.FP32_FAST), Compile.AUTO
    )
    assert quick.compiled is not None, quick.why_not_compiled
    pipeline = Pipeline(quick)
    pipeline.rehearse(SETTINGS)
    outcome = request(pipeline, path)
    assert not [d for d in outcome.report.decided if "compiled" in d]
    assert (outcome.labels != plain.labels).mean() < 1e-3
