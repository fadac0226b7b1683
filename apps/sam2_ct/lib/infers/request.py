"""What a viewer asks for, parsed once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lib.configs.option import Where, read_options
from lib.configs.options import PromptOptions, ServerOptions, Settings, options_of
from lib.engine.clock import Clock
from lib.errors import BadInput
from lib.prompts.viewers import Marks, first_item

_ENDINGS = (".nrrd", ".nii.gz", ".nii")


@dataclass(frozen=True)
class AnswerFormat:
    """How the label map goes back.

    Attributes:
        ending: of its file name.
        compress: an NRRD is compressed.
    """

    ending: str = ".nrrd"
    compress: bool = True

    @classmethod
    def parse(cls, said: Mapping[str, object]) -> AnswerFormat:
        """From `result_extension` and `result_compress`.

        Raises:
            BadInput: an unknown format.
        """
        ending = _text(said.get("result_extension")) or ".nrrd"
        if ending not in _ENDINGS:
            raise BadInput(f"unknown result_extension {ending!r}: use {', '.join(_ENDINGS)}")
        return cls(ending, first_item(said.get("result_compress")) is not False)


@dataclass(frozen=True)
class Asker:
    """Who asks about what.

    Attributes:
        client: under whose name results are filed.
        image: id of the datastore, or a file of the server's own.
        filed_under: name of the image among the results.
    """

    client: str
    image: str
    filed_under: str


@dataclass(frozen=True, eq=False)
class ViewerRequest:
    """A viewer's request.

    Attributes:
        task: name of the infer task.
        asker: who asks about what.
        said: options of the request by name, as typed; `settings` reads them.
        checkpoint: name of the weights, None: the server's.
        options: which painted or accepted slices count.
        marks: points, region of interest, segments.
        object_name: the segment that clicks are about; None: not said.
        answer: how the label map goes back.
        label_file: the uploaded label map.
        job: id on the job board.
        save_as: tag under which the datastore keeps the result; None: it does not.
        clock: has the seconds since the request came in.
    """

    task: str
    asker: Asker
    said: Mapping[str, object]
    checkpoint: str | None
    options: PromptOptions
    marks: Marks
    object_name: str | None
    answer: AnswerFormat = field(default_factory=AnswerFormat)
    label_file: Path | None = None
    job: str | None = None
    save_as: str | None = None
    clock: Clock = field(default_factory=Clock)

    @classmethod
    def parse(
        cls,
        said: Mapping[str, object],
        task: str,
        asker: Asker,
        *,
        label_file: Path | None = None,
        job: str | None = None,
        save_as: str | None = None,
        clock: Clock | None = None,
    ) -> ViewerRequest:
        """Read a viewer's parameters; what no task of ours knows is dropped.

        An option as OHIF sends it, a list, stands for its first item. `model` is a checkpoint
        here. `label` is the name of a segment, never a file; OHIF sends none, so the option
        `object` tells several objects apart there.

        Raises:
            BadInput: malformed.
        """
        typed = {o.name: first_item(said.get(o.name)) for o in options_of(where=Where.REQUEST)}
        options = read_options(PromptOptions, typed)
        return cls(
            task=task,
            asker=asker,
            said=typed,
            checkpoint=_text(typed[_CHECKPOINT]),
            options=options,
            marks=Marks.parse(said),
            object_name=options.object or _text(said.get("label")),
            answer=AnswerFormat.parse(said),
            label_file=label_file,
            job=job,
            save_as=save_as,
            clock=clock or Clock(),
        )

    def settings(self, default: Settings, hidden: frozenset[str] = frozenset()) -> Settings:
        """The request's settings over the server's; an `auto` axis is left to the task.

        Args:
            default: the server's.
            hidden: options that the task does not offer.

        Raises:
            BadInput: an option that is not understood.
        """
        return Settings.parse({k: v for k, v in self.said.items() if k not in hidden}, default)


#: the one option of `ServerOptions` that a request may say
(_CHECKPOINT,) = (o.name for o in options_of(ServerOptions, where=Where.REQUEST))


def _text(value: object) -> str | None:
    value = first_item(value)
    return str(value) if value not in (None, "") else None
