"""`--conf KEY VALUE` of the server, as typed settings and as the options a viewer shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from lib.configs.option import Option, Where, read_options
from lib.configs.options import PromptOptions, ServerOptions, Settings, options_of
from lib.errors import BadInput
from lib.models.registry import resolve

_UPSTREAM = {"server_mode"}  # MONAI Label's own keys, which come the same way


@dataclass(frozen=True)
class TaskConfig(ServerOptions):
    """What the person who started the server decided.

    Attributes:
        settings: defaults of every request.
    """

    settings: Settings = field(default_factory=Settings)

    @classmethod
    def parse(cls, conf: Mapping[str, str]) -> TaskConfig:
        """Read the strings of `--conf`.

        Raises:
            BadInput: an unknown key or model, or a value that is not understood.
        """
        known = {option.name for option in options_of(where=Where.SERVER)}
        unknown = set(conf) - known - _UPSTREAM
        if unknown:
            raise BadInput(
                f"unknown --conf {', '.join(sorted(unknown))}: use {', '.join(sorted(known))}"
            )
        served = read_options(ServerOptions, conf)
        if served.model != "auto":
            resolve(served.model)  # an unknown one is told now, not to whoever asks first
        given = {f.name: getattr(served, f.name) for f in fields(served)}
        return cls(**given, settings=Settings.parse(conf))

    def viewer_options(self) -> dict[str, object]:
        """Options by name: a list becomes a menu, its first item the default."""
        menus = {o.name: o.menu_items(getattr(self.settings, o.name)) for o in _menu(Settings)}
        menus |= {o.name: o.menu_items(getattr(self, o.name)) for o in _menu(ServerOptions)}
        if self.checkpoint is not None:
            menus["model"] = [self.checkpoint.name]
        return menus


def prompt_options(*names: str) -> dict[str, object]:
    """Options of `PromptOptions` as a viewer shows them: a menu, or a field for text."""
    return {
        o.name: o.menu_items(o.default) if o.menu else o.default_text
        for o in options_of(PromptOptions)
        if o.name in names
    }


def _menu(cls: type) -> tuple[Option, ...]:
    return tuple(o for o in options_of(cls) if o.menu)
