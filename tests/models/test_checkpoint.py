import os

import pytest
import torch
from safetensors.torch import save_file

from lib.errors import BadInput
from lib.models.checkpoint import Weights, architecture_of, put_into, read_weights
from lib.models.hashing import sha256_of
from lib.models.registry import Checkpoint, resolve


@pytest.fixture
def tensors():
    return {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2)}


def save_in_model(tensors, path):
    torch.save({"model": tensors}, path)


def save_legacy(tensors, path):
    torch.save({"model": tensors}, path, _use_new_zipfile_serialization=False)


FORMATS = pytest.mark.parametrize("save", [save_in_model, torch.save, save_legacy, save_file])


@FORMATS
def test_formats(tmp_path, tensors, save):
    path = tmp_path / "no-telling-suffix"
    save(tensors, path)
    weights = read_weights(path)
    assert weights.sha256 == sha256_of(path)
    assert weights.tensors.keys() == tensors.keys()
    assert all(torch.equal(weights.tensors[key], tensors[key]) for key in tensors)
    module = torch.nn.Linear(3, 2)
    put_into(module, weights, "line")
    assert torch.equal(module.weight, tensors["weight"])


@FORMATS
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.7, 0.99])
def test_truncated(tmp_path, tensors, save, share):
    path = tmp_path / "weights.pt"
    save(tensors, path)
    with path.open("r+b") as file:
        file.truncate(int(share * path.stat().st_size))
    with pytest.raises(BadInput, match=r"weights\.pt"):
        read_weights(path)


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"<html>no entry</html>", b"\x80\x02.", b"\0" * 64]
)
def test_not_a_checkpoint(tmp_path, content):
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"weights\.pt.*no PyTorch or safetensors file"):
        read_weights(path)


class Malice:
    def __reduce__(self):
        return os.mkdir, ("harm-done",)


def test_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Malice()}, tmp_path / "weights.pt")
    with pytest.raises(BadInput, match="perhaps code, and was not opened"):
        read_weights(tmp_path / "weights.pt")
    assert not (tmp_path / "harm-done").exists()


@pytest.mark.parametrize(
    "content", [{}, {"model": {}}, {"epoch": 3}, [torch.ones(1)], torch.ones(1)]
)
def test_no_weights_in_it(tmp_path, content):
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(BadInput, match="holds no weights"):
        read_weights(tmp_path / "weights.pt")


def test_missing_file(tmp_path):
    with pytest.raises(BadInput, match=r"nowhere\.pt: No such file"):
        read_weights(tmp_path / "nowhere.pt")
    with pytest.raises(BadInput, match="directory"):
        read_weights(tmp_path)


def test_expected_hash(tmp_path, tensors):
    path = tmp_path / "weights.pt"
    torch.save(tensors, path)
    read_weights(path, expected=Checkpoint("x", path.name, "", None, None))
    read_weights(path, expected=Checkpoint("x", path.name, "", None, sha256_of(path)))
    with pytest.raises(BadInput, match=r"damaged or another file than checkpoint 'x'.*restore it"):
        read_weights(path, expected=Checkpoint("x", path.name, "", None, "0" * 64))


def test_other_architecture_is_summarised(tmp_path):
    given = {"weight": torch.ones(2, 4), "offset": torch.ones(2), "scale": torch.ones(2)}
    weights = Weights(tmp_path / "w.pt", "", given)
    module = torch.nn.Linear(3, 2)
    before = module.weight.clone()
    with pytest.raises(BadInput) as error:
        put_into(module, weights, "line")
    assert "does not fit the architecture 'line'" in str(error.value)
    assert "1 missing (such as bias)" in str(error.value)
    assert "2 unexpected (such as offset)" in str(error.value)
    assert "1 of another shape (such as weight)" in str(error.value)
    assert torch.equal(module.weight, before)


def test_architecture_of_a_users_file(tmp_path):
    path, small = tmp_path / "mine.pt", resolve("small")
    assert architecture_of(path, small.sha256, "auto") is small
    assert architecture_of(path, small.sha256, "small") is small
    assert architecture_of(path, "0" * 64, "large") is resolve("large")
    with pytest.raises(BadInput, match=r"mine\.pt.*say with --model"):
        architecture_of(path, "0" * 64, "auto")
    with pytest.raises(BadInput, match=r"is the checkpoint 'small', but.*'large'"):
        architecture_of(path, small.sha256, "large")
    with pytest.raises(BadInput, match="unknown model"):
        architecture_of(path, "0" * 64, "huge")
