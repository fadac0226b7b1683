"""Seconds spent in the parts of SAM 2 while it works (paper figure 4a), by forward hooks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

#: Part → attribute of the predictor.
COMPONENTS = {
    "image encoder": "image_encoder",
    "memory attention": "memory_attention",
    "mask decoder": "sam_mask_decoder",
    "memory encoder": "memory_encoder",
}


@dataclass
class Spent:
    """Time in one part: seconds in all, and over how many calls."""

    seconds: float = 0.0
    calls: int = 0


class ComponentClock:
    """Times the parts of a predictor inside `with clock.watching(predictor):`.

    On a GPU the times are of the device, by events that are read once at the end, so that
    measuring does not make the host wait.
    """

    def __init__(self) -> None:
        self.spent = {name: Spent() for name in COMPONENTS}

    @contextmanager
    def watching(self, predictor: torch.nn.Module) -> Iterator[None]:
        """Hooks on while inside."""
        on_gpu = next(predictor.parameters()).is_cuda
        pending: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []
        started: dict[str, object] = {}
        hooks = []

        def now() -> object:
            if not on_gpu:
                return time.perf_counter()
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            return event

        def watch(name: str, module: torch.nn.Module) -> None:
            def before(*_: object) -> None:
                started[name] = now()

            def after(*_: object) -> None:
                first, last = started.pop(name), now()
                self.spent[name].calls += 1
                if on_gpu:
                    pending.append((name, first, last))
                else:
                    self.spent[name].seconds += last - first

            hooks.append(module.register_forward_pre_hook(before))
            hooks.append(module.register_forward_hook(after))

        for name, attribute in COMPONENTS.items():
            watch(name, getattr(predictor, attribute))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
            if pending:
                torch.cuda.synchronize()
            for name, first, last in pending:
                self.spent[name].seconds += first.elapsed_time(last) / 1000

    def as_json(self) -> dict[str, list[float]]:
        """Part → [seconds, calls]."""
        return {n: [round(s.seconds, 5), s.calls] for n, s in self.spent.items() if s.calls}
