"""The report in a log, typed again: the inverse of `report.to_json`."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from lib.configs.options import Settings
from lib.engine.report import KEYS, CheckpointReport, Report
from lib.errors import BadInput

#: What older versions did not say, because it was always so; where crops lay was not known.
_SILENT: Mapping[type, Mapping[str, object]] = {
    Report: {"crops": ()},
    CheckpointReport: {"precision": "fp32"},
}


def read_report(record: Mapping[str, Any]) -> Report:
    """The report that a log has, of this version or an earlier one.

    Args:
        record: JSON, as `to_json` makes it; its settings in today's words.

    Raises:
        BadInput: it is no report.
    """
    try:
        report: Report = _read_fields(Report, record)
        return report
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"not the report of a result: {error!r}") from error


def _read_fields(kind: type, record: Mapping[str, Any]) -> Any:
    hints, silent, found = _hints(kind), _SILENT.get(kind, {}), {}
    for field in fields(kind):
        key = KEYS.get(field.name, field.name)
        if not field.init:
            continue
        if key in record:
            found[field.name] = _read(hints[field.name], record[key])
        elif field.name in silent:
            found[field.name] = silent[field.name]
        elif field.default is MISSING:
            raise KeyError(key)
    return kind(**found)


def _read(kind: Any, value: Any) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):  # X | None
        return None if value is None else _read(inner[0], value)
    if origin is tuple:
        every = inner[-1] is Ellipsis
        return tuple(
            _read(one, part)
            for one, part in zip(inner[:1] * len(value) if every else inner, value, strict=True)
        )
    if origin is Mapping:
        return {str(key): _read(inner[1], part) for key, part in value.items()}
    if kind is Settings:
        return Settings.parse(value)
    if is_dataclass(kind) and isinstance(kind, type):
        return _read_fields(kind, value)
    if isinstance(kind, type) and issubclass(kind, Enum | Path | float):
        return kind(value)
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
