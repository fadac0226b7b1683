"""`--conf KEY VALUE` of the server, as typed settings and as the options a viewer shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from lib.configs.settings import Settings, truth
from lib.errors import BadInput
from lib.models.registry import CHECKPOINTS
from lib.propagation.features import DEFAULT_CACHE_BYTES

_KEYS = {
    "model",
    "checkpoint",
    "device",
    "policy",
    "propagation",
    "window",
    "axis",
    "carry",
    "merge",
    "end_of_object",
    "labels",
    "results",
    "max_upload_mb",
    "cache_mb",
    "users",
    "login_hours",
    "open",
    "home",
    "origins",
    "expose",
}
#: Groups of MONAI Label's routes that no viewer of ours needs, see `serving.exposure`.
EXPOSABLE = ("wsi", "train", "scoring", "model", "logs", "reload", "docs")
_UPSTREAM = {"server_mode"}  # MONAI Label's own keys, which come the same way
_OFFERED = [name for name in CHECKPOINTS if not name.startswith("sam2.0")]


@dataclass(frozen=True)
class TaskConfig:
    """What the person who started the server decided.

    Attributes:
        model: checkpoint that serves unless a request names another.
        checkpoint: a file of one's own; then it is the only one offered.
        device: auto, cpu, cuda or cuda:N.
        settings: defaults of every request.
        axis: `auto` (what the viewer shows as slices) or an axis by name.
        labels: object names and their values in results of several objects.
        results: folder for the log of results; None: beside the studies.
        max_upload_mb: larger uploads are refused.
        cache_mb: bound of the encoded slices each loaded checkpoint keeps.
        users: the file of those who may log in; None: log-in is off.
        login_hours: after which one has to log in again.
        open: whoever reaches the server may use it, and no log-in is wanted.
        home: folder for downloads; None: see `lib.places`.
        origins: sites whose pages may use the server, besides its own.
        expose: groups of MONAI Label's routes that are served, besides those of the viewers.
    """

    model: str = "auto"
    checkpoint: Path | None = None
    device: str = "auto"
    settings: Settings = field(default_factory=Settings)
    axis: str = "auto"
    labels: Mapping[str, int] = field(default_factory=lambda: {"bone": 1})
    results: Path | None = None
    max_upload_mb: int = 2048
    cache_mb: int = DEFAULT_CACHE_BYTES >> 20
    users: Path | None = None
    login_hours: float = 12.0
    open: bool = False
    home: Path | None = None
    origins: tuple[str, ...] = ()
    expose: tuple[str, ...] = ()

    @classmethod
    def parse(cls, conf: Mapping[str, str]) -> TaskConfig:
        """Read the strings of `--conf`.

        Raises:
            BadInput: an unknown key, or a value that is not understood.
        """
        unknown = set(conf) - _KEYS - _UPSTREAM
        if unknown:
            raise BadInput(
                f"unknown --conf {', '.join(sorted(unknown))}: use {', '.join(sorted(_KEYS))}"
            )
        axis = (conf.get("axis") or "auto").strip().lower()
        options = {k: v for k, v in conf.items() if k != "axis" or axis != "auto"}
        return cls(
            model=conf.get("model") or "auto",
            checkpoint=Path(conf["checkpoint"]).expanduser() if conf.get("checkpoint") else None,
            device=conf.get("device") or "auto",
            settings=Settings.parse(options),
            axis=axis,
            labels=parse_labels(conf.get("labels") or "bone"),
            results=Path(conf["results"]).expanduser() if conf.get("results") else None,
            max_upload_mb=_positive(conf, "max_upload_mb", cls.max_upload_mb),
            cache_mb=_positive(conf, "cache_mb", cls.cache_mb),
            users=Path(conf["users"]).expanduser() if conf.get("users") else None,
            login_hours=_hours(conf.get("login_hours") or str(cls.login_hours)),
            open=truth(conf.get("open") or "false"),
            home=Path(conf["home"]).expanduser() if conf.get("home") else None,
            origins=_origins(conf.get("origins") or ""),
            expose=_groups(conf.get("expose") or ""),
        )

    def viewer_options(self) -> dict[str, object]:
        """Options by name: a list becomes a menu, its first item the default; a str a field."""
        chosen = self.settings.describe()
        return {
            "policy": _first(
                chosen["policy"], "is+sps", "sps", "is", "baseline", "sliced2", "stride4", "gate1"
            ),
            "propagation": _first(
                chosen["propagation"], "single", "forward-backward", "three-axis"
            ),
            "window": _first(
                chosen["window"],
                *("bone", "soft-tissue", "lung", "brain", "mr", "none", "clahe", "clahe+bone"),
            ),
            "axis": _first(self.axis, "auto", "axial", "coronal", "sagittal"),
            "model": [self.checkpoint.name] if self.checkpoint else _first(self.model, *_OFFERED),
        }


def _first(chosen: object, *others: str) -> list[str]:
    return list(dict.fromkeys([str(chosen), *others]))


def parse_labels(text: str) -> dict[str, int]:
    """Names separated by commas, numbered from 1.

    Raises:
        BadInput: none, or one twice.
    """
    found = _listed(text)
    if not found or len(set(found)) < len(found):
        raise BadInput(f"labels must be different names, like bone,rib; got {text!r}")
    return {name: number for number, name in enumerate(found, start=1)}


def _positive(conf: Mapping[str, str], key: str, default: int) -> int:
    text = (conf.get(key) or str(default)).strip()
    if not text.isdecimal() or int(text) == 0:
        raise BadInput(f"{key} must be a whole number above 0, got {text!r}")
    return int(text)


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = 0.0
    if not 0 < hours <= 24 * 365:
        raise BadInput(f"login_hours must be a number of hours above 0, got {text!r}")
    return hours


def _origins(text: str) -> tuple[str, ...]:
    found = tuple(_listed(text.lower()))
    for one in found:
        parts = urlsplit(one)
        if parts.scheme not in ("http", "https") or f"{parts.scheme}://{parts.netloc}" != one:
            raise BadInput(f"{one!r} is no origin: give them like https://viewer.example.org")
    return found


def _groups(text: str) -> tuple[str, ...]:
    found = tuple(_listed(text))
    unknown = set(found) - set(EXPOSABLE)
    if unknown:
        raise BadInput(f"cannot expose {min(unknown)!r}: use one or more of {','.join(EXPOSABLE)}")
    return found


def _listed(text: str) -> list[str]:
    return [one.strip() for one in text.split(",") if one.strip()]
