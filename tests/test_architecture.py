"""The rules of the house, read from the imports: which room may know of which (ARCHITECTURE.md)."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

APP = Path(__file__).resolve().parents[1] / "apps" / "sam2_ct"

#: room → the rooms it may import from, besides itself
FOUNDATION = {"choice", "errors", "geometry"}
ARROWS = {
    "choice": {"errors"},
    "geometry": {"choice", "errors"},
    "files": {"errors"},
    "places": {"errors", "files"},
    "version": set(),
    "lean": set(),
    "prompts": {*FOUNDATION, "files"},
    "transforms": {*FOUNDATION, "files", "prompts"},
    "propagation": {*FOUNDATION, "prompts"},
    "models": {*FOUNDATION, "files", "places", "propagation"},  # a predictor, for types
    "activelearning": {*FOUNDATION, "propagation"},
    "configs": {*FOUNDATION, "models", "prompts", "propagation", "transforms"},
    "dicom_seg": {*FOUNDATION, "files", "transforms", "version"},
    "engine": {
        *FOUNDATION,
        *("files", "configs", "prompts", "transforms", "propagation", "models", "activelearning"),
    },
    "pictures": {
        *FOUNDATION,
        *("files", "prompts", "transforms", "propagation", "activelearning", "engine"),
    },
    "evaluation": {
        *FOUNDATION,
        *("files", "configs", "prompts", "transforms", "propagation", "models", "engine"),
        "activelearning",
    },
}
#: rooms above the engine, from the lowest; each may import all that is listed and those below it
ABOVE = ("infers", "serving", "sample", "demo", "commands")

#: what the engine and everything below it does without
NO_HTTP = {"fastapi", "starlette", "monailabel", "uvicorn"}


def modules() -> Iterator[tuple[Path, str]]:
    for path in sorted((APP / "lib").rglob("*.py")):
        parts = path.relative_to(APP / "lib").with_suffix("").parts
        if parts != ("__init__",):
            yield path, parts[0]


def imports_of(path: Path) -> set[str]:
    """Dotted names of everything a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            if node.module == "lib":
                found |= {f"lib.{alias.name}" for alias in node.names}
    return found


def allowed(room: str) -> set[str]:
    if room in ARROWS:
        return ARROWS[room]
    below = ABOVE[: ABOVE.index(room)]
    return {*ARROWS, *FOUNDATION, *below}


@pytest.mark.parametrize("room", sorted({room for _, room in modules()}))
def test_every_room_is_known(room):
    assert room in {*ARROWS, *ABOVE, "errors"}, f"tell in ARROWS what {room} may import"


def test_no_arrow_runs_the_wrong_way():
    wrong = [
        f"{path.relative_to(APP)} imports {name}"
        for path, room in modules()
        if room != "errors"
        for name in imports_of(path)
        if name.startswith("lib.")
        and name.split(".")[1] != room
        and name.split(".")[1] not in allowed(room)
    ]
    assert not wrong


def test_the_engine_and_what_is_below_know_nothing_of_http():
    wrong = [
        f"{path.relative_to(APP)} imports {name}"
        for path, room in modules()
        if room not in ABOVE
        for name in imports_of(path)
        if name.split(".")[0] in NO_HTTP
    ]
    assert not wrong


def test_private_parts_of_others_are_touched_in_one_module_each():
    adapters = {APP / "lib/serving/upstream.py", APP / "lib/propagation/predictor.py"}
    touched = []
    for path, _ in [*modules(), (APP / "main.py", "main")]:
        if path in adapters or "numerics" in path.parts:
            continue  # numerics: SAM 2's layers once more, in another precision
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Attribute) or not node.attr.startswith("_"):
                continue
            owner = node.value
            own = isinstance(owner, ast.Name) and owner.id in ("self", "cls")
            own |= isinstance(owner, ast.Call) and getattr(owner.func, "id", "") == "super"
            if not own and not node.attr.startswith("__"):
                touched.append(f"{path.relative_to(APP)}:{node.lineno} {ast.unparse(node)}")
    allowed_ones = (
        "hashlib._Hash",
        "os._exit",
        "nrrd.reader._determine_datatype",
        # torch has no public name for a packed linear layer, nor for what a processor can do
        "torch.ops.mkldnn._reorder_linear_weight",
        "torch.ops.mkldnn._linear_pointwise",
        "torch.cpu._is_amx_tile_supported",
        "torch.cpu._is_avx512_bf16_supported",
    )
    assert [t for t in touched if not t.endswith(allowed_ones)] == []


@pytest.mark.parametrize(
    "module", ["lib.configs.options", "lib.propagation.policy", "lib.propagation.settings"]
)
def test_options_and_policies_are_read_without_torch(module):
    code = (
        f"import sys; sys.path.insert(0, {str(APP)!r}); import {module}; "
        "print(*[m for m in ('torch', 'monai', 'sam2') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split() == []
