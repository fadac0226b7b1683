"""What the tasks of all viewers share: options, engine, log, and the answer."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from lib.configs.options import Settings
from lib.configs.tasks import TaskConfig, prompt_options
from lib.engine.jobs import JobBoard
from lib.engine.log import Key, Results
from lib.engine.models import Engines
from lib.engine.pipeline import Case
from lib.engine.recipe import Recipe
from lib.engine.report import to_json
from lib.files import temporary
from lib.infers.request import AnswerFormat, ViewerRequest
from lib.transforms.save import save_labelmap


@dataclass(frozen=True)
class Services:
    """What every task works with."""

    config: TaskConfig
    engines: Engines
    board: JobBoard
    results: Results


@dataclass(frozen=True)
class Order:
    """A request, translated.

    Attributes:
        recipe: what to do.
        label_names: object names and their values in the answer.
        label: the name results are filed under.
    """

    recipe: Recipe
    label_names: dict[str, int]
    label: str


class PromptTask(InferTask):
    """A model in the viewer's list. Subclasses say how to read the request."""

    name: str
    kind: InferType
    dimensions = 3
    about: str
    extra_options: tuple[str, ...] = ()
    hidden_options: frozenset[str] = frozenset()

    def __init__(self, services: Services) -> None:
        options = services.config.viewer_options() | prompt_options(*self.extra_options)
        super().__init__(
            type=self.kind,
            labels=dict(services.config.labels),
            dimension=self.dimensions,
            description=self.about,
            config={k: v for k, v in options.items() if k not in self.hidden_options},
        )
        self.services = services

    def is_valid(self) -> bool:
        """Always offered; a missing checkpoint is told when it is asked for."""
        return True

    def __call__(self, request: ViewerRequest, volume: Path) -> tuple[str, dict[str, object]]:
        """Answer a request with a label map file and what is to be said about it.

        Args:
            request: of the viewer.
            volume: file or folder of the image it is about.

        Raises:
            BadInput, Unavailable, Cancelled: as the engine says.
        """
        services = self.services
        job = services.board.find(request.job)
        settings = request.settings(services.config.settings, self.hidden_options)
        clock = request.clock
        with clock("model"):
            engine = services.engines.get(request.checkpoint, job.device if job else None)
        case = engine.open(volume, settings, clock)
        if job:
            job.check()
        with clock("prompts"):
            order = self.read(request, case, settings)
        outcome = engine.carry_out(case, order.recipe, job.progress if job else None, clock=clock)
        with clock("log"):
            entry = services.results.add(
                self.key(request, order.label), self.name, order.recipe, outcome, order.label_names
            )
        with clock("answer"):
            answer = write_answer(outcome.labels, case, request.answer)
        return str(answer), {
            "label_names": order.label_names,
            **to_json(outcome.report),
            "seconds": clock.seconds,  # the report could not have these last ones
            "log": entry.path.relative_to(services.results.folder).as_posix(),
        }

    def key(self, request: ViewerRequest, label: str) -> Key:
        """Where results of this request are filed."""
        return Key(request.asker.client, request.asker.filed_under, label)

    def object_name(self, request: ViewerRequest) -> str:
        """The segment a click request is about; the first of the server's if it says none."""
        return request.object_name or next(iter(self.services.config.labels))

    @abstractmethod
    def read(self, request: ViewerRequest, case: Case, settings: Settings) -> Order:
        """Translate the request.

        Raises:
            BadInput: it cannot be used.
        """


def write_answer(labels: np.ndarray, case: Case, answer: AnswerFormat) -> Path:
    """A file in the format the viewer asked for; whoever sends it removes it."""

    def write(path: Path) -> None:
        save_labelmap(labels, case.source_grid, path, like=case.path, compress=answer.compress)

    return temporary(answer.ending, write)
