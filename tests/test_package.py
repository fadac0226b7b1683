"""The package: pins in one place, the command and its doors, and what loading them costs."""

import ast
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from lib.places import APP
from lib.version import __version__

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = APP.parents[1]
HEAVY = {"torch", "monai", "monailabel", "sam2", "scipy", "skimage", "pandas", "matplotlib", "itk"}
HEAVY |= {"fastapi", "highdicom", "transformers", "mlflow"}


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pinned(file: str) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in (ROOT / file).read_text().splitlines())
    return sorted(line for line in lines if line)


def test_requirement_files_say_what_pyproject_says(project):
    extras = project["optional-dependencies"]
    assert pinned("requirements.txt") == sorted(project["dependencies"])
    asked = {need for name in ("ray", "dev") for need in extras[name]} - {"sam2-ct[ray]"}
    assert pinned("requirements-dev.txt") == sorted(asked)


def test_sam2_is_told_to_uv_as_it_is(project):
    """uv is spared building sam2 to learn what it needs; that must be what it does need."""
    from importlib.metadata import requires, version

    (told,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"][
        "dependency-metadata"
    ]
    assert f"{told['name']}=={version('sam2')}" in project["dependencies"]
    assert told["version"] == version("sam2")
    assert told["requires-dist"] == [need for need in requires("sam2") if "extra ==" not in need]


def test_the_wheel_ships_every_file_of_the_app():
    """What is not Python is shipped by pattern; a new kind of file needs one."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = [*settings["package-data"]["*"], "*.py", "*.pyc"]
    made_there = {APP / "logs", APP / "bin"}
    for path in APP.rglob("*"):
        if path.is_dir() or made_there & {*path.parents} or path.suffix in (".pt", ".part"):
            continue
        assert any(fnmatch(path.name, pattern) for pattern in patterns), path


def scripts_of_setup() -> list[Path]:
    """What the Makefile's targets run that ask for `setup` alone."""
    makefile = (ROOT / "Makefile").read_text()
    recipes = re.findall(r"^[\w-]+: setup\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    return [ROOT / name for name in re.findall(r"benchmarks/\w+\.py", "".join(recipes))]


def test_there_are_benchmarks():
    assert len(scripts_of_setup()) > 1


@pytest.mark.parametrize("script", scripts_of_setup(), ids=lambda path: path.stem)
def test_benchmarks_need_no_development_packages(script):
    """They run after `make setup` alone; what they import from tests would import pytest."""
    imported = set()
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.Import):
            imported |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    development = {re.split("[=<>]", need)[0] for need in pinned("requirements-dev.txt")}
    assert not imported & (development | {"tests", "hypothesis"})


def python(*arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("door", ["segment.py", "evaluate.py"])
def test_the_scripts_are_doors_to_the_command(door, tmp_path):
    done = python(APP / door, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"Usage: sam2-ct {door.removesuffix('.py')}" in done.stdout


def test_version(tmp_path):
    assert python(APP, "--version", cwd=tmp_path).stdout == f"{__version__}\n"


def test_app_prints_a_folder_the_server_can_be_started_with(tmp_path):
    folder = Path(python(APP, "app", cwd=tmp_path).stdout.strip())
    assert (folder / "main.py").is_file()


ANSWERED_AT_ONCE = [
    (["--version"], 0),
    (["--help"], 0),
    *[
        ([word, "--help"], 0)
        for word in ("segment", "demo", "serve", "serve-dicom", "evaluate", "users")
    ],
    (["segment", "--colour", "red"], 2),
    (["segment", "ct.nii.gz", "-o", "o.nii.gz", "--policy", "magic"], 2),
    (["segment", "ct.nii.gz", "-o", "o.nii.gz", "--axis", "coronal"], 2),
    (["evaluate", "run", "--dataset", "nowhere"], 2),
    (["segment", "ct.nii.gz", "-o", "nowhere/out.nii.gz", "--prompts", "p.nii.gz"], 2),
]


@pytest.mark.parametrize(
    ("words", "code"),
    ANSWERED_AT_ONCE,
    ids=[" ".join(words) for words, _ in ANSWERED_AT_ONCE],
)
def test_what_needs_no_network_loads_none(words, code, tmp_path):
    """Help, version and mistakes of typing answer without torch: by what is loaded, not by time."""
    program = f"""
import sys
sys.path.insert(0, {str(APP)!r})
from lib.commands import execute
from lib.commands.main import app
code = execute(app, {words!r})
loaded = {{name.partition(".")[0] for name in sys.modules}}
print("LOADED", code, *sorted(loaded & {HEAVY!r}))
"""
    done = python("-c", program, cwd=tmp_path)
    last = done.stdout.strip().splitlines()[-1]
    assert re.fullmatch(f"LOADED {code}", last), last + done.stderr
