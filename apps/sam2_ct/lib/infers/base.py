"""What the tasks of all viewers share: options, engine, log, and the answer."""

from __future__ import annotations

import tempfile
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from lib.configs.options import Settings, Where, options_of
from lib.configs.tasks import TaskConfig, prompt_options
from lib.engine.clock import Clock
from lib.engine.jobs import JobBoard
from lib.engine.log import Key, Results
from lib.engine.models import Engines
from lib.engine.pipeline import Case
from lib.engine.recipe import Recipe
from lib.engine.report import to_json
from lib.errors import BadInput
from lib.prompts.viewers import first_item
from lib.transforms.save import save_labelmap

Request = Mapping[str, object]


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

    def __call__(self, request: Request) -> tuple[str, dict[str, object]]:
        """Answer a request with a label map file and what is to be said about it.

        Raises:
            BadInput, Unavailable, Cancelled: as the engine says.
        """
        services = self.services
        job = services.board.find(request.get("job"))
        settings = self.settings(request)
        clock = Clock()
        with clock("model"):
            engine = services.engines.get(_text(request.get("network")))
        with clock("load"):
            case = engine.open(str(request["image"]), settings)
        if job:
            job.check()
        with clock("read"):
            order = self.read(request, case, settings)
        outcome = engine.carry_out(case, order.recipe, job.progress if job else None, clock=clock)
        entry = services.results.add(
            self.key(request, order.label), self.name, order.recipe, outcome, order.label_names
        )
        answer = write_answer(outcome.labels, case, request)
        return str(answer), {
            "label_names": order.label_names,
            **to_json(outcome.report),
            "log": entry.path.relative_to(services.results.folder).as_posix(),
        }

    def settings(self, request: Request) -> Settings:
        """Options of the request over the server's defaults; an `auto` axis is left for `read`.

        Raises:
            BadInput: an option that is not understood.
        """
        offered = {o.name for o in options_of(Settings, where=Where.REQUEST)} - self.hidden_options
        said = {name: first_item(request.get(name)) for name in offered}
        return Settings.parse(said, self.services.config.settings)

    def key(self, request: Request, label: str) -> Key:
        """Where results of this request are filed."""
        client = _text(request.get("client")) or _text(request.get("client_id")) or "local"
        image = _text(request.get("image_key")) or Path(str(request["image"])).name
        return Key(client, image, label)

    def object_name(self, request: Request) -> str:
        """The segment a click request is about; the first of the server's labels if it says none.

        `label` is a name here, never a file. OHIF does not send one: the option `object` tells
        several objects apart there.
        """
        named = _text(request.get("object")) or _text(request.get("label"))
        return named or next(iter(self.services.config.labels))

    @abstractmethod
    def read(self, request: Request, case: Case, settings: Settings) -> Order:
        """Translate the request.

        Raises:
            BadInput: it cannot be used.
        """


def write_answer(labels: np.ndarray, case: Case, request: Request) -> Path:
    """A file in the format the viewer asked for; whoever sends it removes it.

    Raises:
        BadInput: an unknown format.
    """
    ending = _text(request.get("result_extension")) or ".nrrd"
    if ending not in (".nrrd", ".nii.gz", ".nii"):
        raise BadInput(f"unknown result_extension {ending!r}: use .nrrd, .nii.gz or .nii")
    with tempfile.NamedTemporaryFile(suffix=ending, prefix="sam2_ct_", delete=False) as file:
        path = Path(file.name)
    compress = first_item(request.get("result_compress")) is not False
    save_labelmap(labels, case.source_grid, path, like=case.path, compress=compress)
    return path


def _text(value: object) -> str | None:
    value = first_item(value)
    return str(value) if value not in (None, "") else None
