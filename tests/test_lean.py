"""MONAI loads without optional packages, which stay importable."""

import subprocess
import sys

import pytest

from lib.places import APP


def python(program: str) -> str:
    program = f"import sys; sys.path.insert(0, {str(APP)!r})\n{program}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_optional_packages_are_left_out_and_can_be_had_afterwards():
    pytest.importorskip("mlflow")
    said = python("""
from lib.lean import load_monai
load_monai("itk")
loaded = {name for name in sys.modules if "." not in name}
import monai.transforms, monai.networks, monai.metrics, mlflow.entities
print(*sorted(loaded & {"mlflow", "transformers", "matplotlib", "itk", "fastapi", "ignite"}))
""")
    assert said == ""


def test_what_is_loaded_already_is_not_touched():
    said = python("""
import json, types
fake = sys.modules["mlflow"] = types.ModuleType("mlflow")
fake.__file__ = "here"
import lib.lean
lib.lean._OPTIONAL = ("mlflow",)
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name == "monai":
            raise ImportError("monai is broken")
sys.meta_path.insert(0, Refuse())
try:
    lib.lean.load_monai("itk")
except ImportError as error:
    print(error, sys.modules["mlflow"] is fake, "itk" in sys.modules)
""")
    assert said == "monai is broken True False"
