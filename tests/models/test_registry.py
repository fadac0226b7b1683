import importlib.resources
import re

import pytest

from lib.errors import BadInput
from lib.models.hashing import sha256_of
from lib.models.registry import BUILTIN, CHECKPOINTS, MODEL_DIR, recognise, resolve


def test_names():
    assert list(CHECKPOINTS)[:5] == ["builtin", "tiny", "small", "base_plus", "large"]
    assert resolve("small").file == "sam2.1_hiera_small.pt"


def test_unknown_name_lists_the_known():
    with pytest.raises(BadInput, match=r"unknown model 'huge'.*tiny.*sam2\.0-large"):
        resolve("huge")


@pytest.mark.parametrize("checkpoint", CHECKPOINTS.values(), ids=lambda c: c.name)
def test_entries(checkpoint):
    if checkpoint.name == BUILTIN:
        assert (MODEL_DIR / checkpoint.config).is_file()
        return
    assert re.fullmatch("[0-9a-f]{64}", checkpoint.sha256)
    assert checkpoint.url.startswith("https://")
    assert checkpoint.url.endswith("/" + checkpoint.file)
    assert (importlib.resources.files("sam2") / checkpoint.config).is_file()
    assert recognise(checkpoint.sha256) is checkpoint


def test_builtin_is_the_pinned_one():
    path = MODEL_DIR / resolve(BUILTIN).file
    if not path.exists():
        pytest.skip("the built-in checkpoint is not there yet")
    assert sha256_of(path) == resolve(BUILTIN).sha256
