"""MONAI loads without optional packages, which stay importable."""

import subprocess
import sys

import nibabel as nib
import numpy as np
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
load_monai()
loaded = {name for name in sys.modules if "." not in name}
import monai.transforms, monai.networks, monai.metrics, mlflow.entities
print(*sorted(loaded & {"mlflow", "transformers", "matplotlib", "fastapi", "ignite"}))
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
    lib.lean.load_monai()
except ImportError as error:
    print(error, sys.modules["mlflow"] is fake)
""")
    assert said == "monai is broken True"


def test_a_small_segmentation_loads_none_of_them(tmp_path):
    rng = np.random.default_rng(3)
    ct = rng.normal(40, 20, (32, 28, 8))
    ct[10:20, 10:20, 1:7] += 700
    labels = np.zeros(ct.shape, np.uint8)
    labels[12:18, 12:18, 3] = 1
    for array, name in ((ct.astype(np.int16), "ct"), (labels, "painted")):
        nib.save(nib.Nifti1Image(array, np.diag([1.5, 1.5, 3.0, 1.0])), tmp_path / f"{name}.nii.gz")
    said = python(f"""
from lib.commands import execute
from lib.commands.main import app
folder = {str(tmp_path)!r}
code = execute(app, ["segment", f"{{folder}}/ct.nii.gz", "--prompts", f"{{folder}}/painted.nii.gz",
                     "--model", "builtin", "-o", f"{{folder}}/out.nii.gz"])
loaded = {{name.partition(".")[0] for name in sys.modules}}
unneeded = {{"mlflow", "transformers", "matplotlib", "itk", "fastapi", "monailabel", "highdicom"}}
print(code, *sorted(loaded & unneeded))
""")
    assert said == "0"
    assert (tmp_path / "out.nii.gz").exists()
