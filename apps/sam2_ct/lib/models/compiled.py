"""Parts of the network compiled for the shapes that requests bring, and never in a request.

What SAM 2 compiles itself (`SAM2VideoPredictorVOS`), in two steps: torch's compiler fuses the small
operations, and a CUDA graph of each shape launches them all at once. Not torch's own combination of
both (`max-autotune`, `reduce-overhead`): it keeps its graphs per thread (pytorch/pytorch#123177),
where a server has a thread for every GPU, and copies at every call what is no parameter, which the
weights of `numerics` are not.

A part learns shapes during a rehearsal only. In a request, shapes that were rehearsed run compiled
and all others as they always did, so the bits of a result do not depend on what came before it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

import torch

if TYPE_CHECKING:
    from lib.propagation.predictor import PolicyVideoPredictor

_WARM_UP = 3  # calls before a capture: kernels are chosen and compiled in the first
_MOST_SHAPES = 64  # that torch's compiler may specialise one part for; its own limit is 8
# a process may capture one graph at a time (torch.cuda.graph says so), whatever the device
_one_capture = threading.Lock()

Call = Callable[..., Any]
Arguments = tuple[tuple[Any, ...], Mapping[str, Any]]


class Compiler(Protocol):
    """Makes functions for one shape."""

    def prepare(self, function: Call, *, dynamic: bool) -> Call:
        """The function compiled; `dynamic`: once for many shapes."""

    def record(self, function: Call, arguments: Arguments) -> Call:
        """The function for arguments of exactly these shapes and constants."""


class Part:
    """A part of the network; stands where its function stood.

    Args:
        function: of tensors, numbers, and lists or dictionaries of these.
        compiler: what compiles.
        dynamic: shapes vary so much that they share what is compiled.
        only: calls worth compiling, by their keyword arguments.

    Attributes:
        learns: a call of a new shape is compiled.
        failed: why it cannot be compiled; empty if it can.
        calls: how many there were, and how many of these ran compiled.
    """

    def __init__(
        self,
        function: Call,
        compiler: Compiler,
        *,
        dynamic: bool = False,
        only: Callable[[Mapping[str, Any]], bool] = lambda _named: True,
    ) -> None:
        self.learns = False
        self.failed = ""
        self.calls = [0, 0]
        self._function, self._compiler = function, compiler
        self._dynamic, self._only = dynamic, only
        self._prepared: Call | None = None
        self._known: dict[Hashable, Call] = {}

    @property
    def shapes(self) -> int:
        """How many are known."""
        return len(self._known)

    def __call__(self, *args: Any, **named: Any) -> Any:
        """The part's answer."""
        if self.failed or not self._only(named):
            return self._function(*args, **named)
        shape = _shape_of((args, named))
        run = self._known.get(shape)
        if run is None and self.learns:
            run = self._learn(shape, (args, named))
        self.calls[0] += 1
        if run is None:
            return self._function(*args, **named)
        self.calls[1] += 1
        return run(*args, **named)

    def _learn(self, shape: Hashable, arguments: Arguments) -> Call | None:
        args, named = arguments
        self._function(*args, **named)  # makes what is made once per size, such as positions
        try:
            if self._prepared is None:
                self._prepared = self._compiler.prepare(self._function, dynamic=self._dynamic)
            self._known[shape] = self._compiler.record(self._prepared, arguments)
        except RuntimeError as error:  # of torch's compiler, and of a graph that was not captured
            self.failed = str(error).strip().partition("\n")[0] or type(error).__name__
            self._known.clear()
        return self._known.get(shape)


class Compiled:
    """The compiled parts of a predictor, which it uses from now on.

    Args:
        predictor: at work on its device, not in stock's bits.
        compiler: what compiles; None: torch's compiler and CUDA graphs.
    """

    def __init__(self, predictor: PolicyVideoPredictor, compiler: Compiler | None = None) -> None:
        # apart, because slices are encoded beside tracking, in another stream
        encoding, make = (compiler or Cuda(predictor.device) for _ in range(2))
        encoder, attention = predictor.image_encoder, predictor.memory_attention
        memory, decoder = predictor.memory_encoder, predictor.sam_mask_decoder
        maps = _Maps(encoder.forward, encoding)
        self.parts = {
            "image encoder": maps.part,
            "memory attention": Part(attention.forward, make, dynamic=True),
            "memory encoder": Part(memory.forward, make),
            # prompted slices, where it weighs one mask or clicks, are few
            "mask decoder": Part(
                decoder.forward, make, only=lambda named: bool(named["multimask_output"])
            ),
        }
        encoder.forward = maps
        attention.forward = self.parts["memory attention"]
        memory.forward = self.parts["memory encoder"]
        decoder.forward = self.parts["mask decoder"]

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """Within it, shapes that come by are compiled."""
        for part in self.parts.values():
            part.learns = True
        try:
            yield
        finally:
            for part in self.parts.values():
                part.learns = False

    def count(self) -> tuple[int, int]:
        """Calls of all parts since the last count, and how many ran compiled."""
        made = compiled = 0
        for part in self.parts.values():
            made, compiled = made + part.calls[0], compiled + part.calls[1]
            part.calls = [0, 0]
        return made, compiled

    def sentences(self, made: int, compiled: int) -> tuple[str, ...]:
        """For the report of a request whose calls were counted."""
        said = [
            f"the {name} could not be compiled: {part.failed}"
            for name, part in self.parts.items()
            if part.failed
        ]
        if compiled < made:
            said.append(
                f"{made - compiled} of {made} calls of the network ran uncompiled: their shapes "
                "were not rehearsed when the server started"
            )
        return tuple(said)


class _Maps:
    """The image encoder; its positional encodings depend on the size alone and are kept apart.

    They are as large as the maps themselves, and a graph would copy them at every call.
    """

    def __init__(self, forward: Call, compiler: Compiler) -> None:
        self._forward = forward
        self._positions: dict[tuple[int, ...], list[torch.Tensor]] = {}
        self.part = Part(lambda images: forward(images)["backbone_fpn"], compiler)

    def __call__(self, images: torch.Tensor) -> dict[str, object]:
        size = tuple(images.shape[1:])
        if size not in self._positions:
            seen = self._forward(images[:1])["vision_pos_enc"]
            self._positions[size] = [p[:1].clone() for p in seen]
        maps = self.part(images)
        positions = [p.expand(len(images), -1, -1, -1) for p in self._positions[size]]
        return {"vision_features": maps[-1], "vision_pos_enc": positions, "backbone_fpn": maps}


class Cuda:
    """Torch's compiler, and CUDA graphs that share memory, so only one may run at a time.

    A graph is fed just before it runs and its answer copied right after, so the graphs of a hundred
    shapes need little more than the largest of them.

    Args:
        device: where the network is.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: torch.cuda.Stream | None = None
        self._pool: Any = None
        self._inputs: dict[int, torch.Tensor] = {}

    def prepare(self, function: Call, *, dynamic: bool) -> Call:
        """See `Compiler`."""
        limit = torch.compiler.config.recompile_limit
        torch.compiler.config.recompile_limit = max(limit, _MOST_SHAPES)
        return torch.compile(function, dynamic=dynamic, fullgraph=True)

    def record(self, function: Call, arguments: Arguments) -> Call:
        """See `Compiler`."""
        if self._stream is None:
            # torch.cuda.graph would make one for the whole process, on whichever GPU came first
            self._stream = torch.cuda.Stream(self._device)
            self._pool = torch.cuda.graph_pool_handle()
        places = count()
        own = _mapped(arguments, lambda tensor: self._input(next(places), tensor))
        return _Recorded(function, own, self._stream, self._pool)

    def _input(self, place: int, given: torch.Tensor) -> torch.Tensor:
        """A copy of an argument, in memory that every graph has its argument of that place in."""
        needed = given.numel() * given.element_size()
        held = self._inputs.get(place)
        if held is None or len(held) < needed:
            held = torch.empty(needed, dtype=torch.uint8, device=given.device)
            self._inputs[place] = held
        return held[:needed].view(given.dtype).view(given.shape).copy_(given)


class _Recorded:
    """A CUDA graph of one call: arguments are copied to its own, it runs, and a copy goes out."""

    def __init__(
        self, function: Call, own: Arguments, stream: torch.cuda.Stream, pool: object
    ) -> None:
        self._arguments = own
        args, named = own
        here = torch.cuda.current_stream()
        stream.wait_stream(here)
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP):
                function(*args, **named)
        here.wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        # other threads go on allocating for other GPUs meanwhile: only this one is watched
        with (
            _one_capture,
            torch.cuda.graph(self._graph, pool, stream=stream, capture_error_mode="thread_local"),
        ):
            self._answer = function(*args, **named)

    def __call__(self, *args: Any, **named: Any) -> Any:
        for mine, given in zip(_tensors(self._arguments), _tensors((args, named)), strict=True):
            mine.copy_(given)
        self._graph.replay()
        return _mapped(self._answer, torch.clone)  # the next replay writes over the graph's own


def _mapped(value: Any, how: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The same with other tensors."""
    if isinstance(value, torch.Tensor):
        return how(value)
    if isinstance(value, Mapping):
        return {name: _mapped(one, how) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_mapped(one, how) for one in value)
    return value


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """Every tensor, in a fixed order."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for name in sorted(value):
            yield from _tensors(value[name])
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _tensors(one)


def _shape_of(value: Any) -> Hashable:
    """All that a compiled call depends on but the tensors' values."""
    if isinstance(value, torch.Tensor):
        return tuple(value.shape), value.dtype, value.device
    if isinstance(value, Mapping):
        return tuple((name, _shape_of(value[name])) for name in sorted(value))
    if isinstance(value, list | tuple):
        return tuple(_shape_of(one) for one in value)
    return value
