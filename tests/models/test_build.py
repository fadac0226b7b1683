import dataclasses

import pytest
import torch
from safetensors.torch import save_file

from lib.errors import BadInput, Unavailable
from lib.models import registry
from lib.models.build import (
    PREFERRED,
    STOCK_PREDICTOR,
    build_network,
    choose_device,
    choose_devices,
    load_predictor,
    read_config,
)
from lib.models.download import Patience
from lib.models.hashing import sha256_of
from lib.models.precision import Precision
from lib.models.registry import BUILTIN, CHECKPOINTS, resolve

QUICK = Patience(connect=1, answer=2, read=1, resumes=0)


@pytest.fixture
def builtin(tmp_path, monkeypatch):
    """A built-in checkpoint of random weights (seed 3) in a folder of its own."""
    checkpoint = dataclasses.replace(resolve(BUILTIN), sha256=None)
    monkeypatch.setitem(CHECKPOINTS, BUILTIN, checkpoint)
    network = build_network(read_config(checkpoint), STOCK_PREDICTOR, seed=3)
    save_file(network.state_dict(), tmp_path / checkpoint.file)
    return network


@pytest.fixture
def offline(server, monkeypatch):
    """The preferred checkpoint is refused by its server."""
    server.status = 503
    refused = dataclasses.replace(resolve(PREFERRED), url=server.url)
    monkeypatch.setitem(CHECKPOINTS, PREFERRED, refused)
    return refused


def load(tmp_path, model="auto", checkpoint=None, **kwargs):
    return load_predictor(
        model,
        checkpoint,
        "cpu",
        Precision.FP32,
        folder=tmp_path,
        patience=QUICK,
        **kwargs,
    )


def test_same_modules_as_the_official_builder():
    from sam2.build_sam import build_sam2_video_predictor

    official = build_sam2_video_predictor(resolve("tiny").config, device="cpu")
    ours = build_network(read_config(resolve("tiny")), STOCK_PREDICTOR)
    theirs = official.state_dict()
    assert list(ours.state_dict()) == list(theirs)
    ours.load_state_dict(theirs)
    assert repr(ours) == repr(official)
    assert not ours.training

    def settings(module):
        plain = (bool, int, float, str, type(None), dict, list, tuple)
        return {k: v for k, v in vars(module).items() if k[0] != "_" and isinstance(v, plain)}

    for (name, a), (_, b) in zip(ours.named_modules(), official.named_modules(), strict=True):
        if name:
            assert settings(a) == settings(b), name
    different = {
        key: (value, settings(official)[key])
        for key, value in settings(ours).items()
        if value != settings(official)[key]
    }
    assert different == {"fill_hole_area": (0, 8)}


@pytest.mark.parametrize("name", ["small", "sam2.0-base_plus", BUILTIN])
def test_configurations_are_found(name):
    assert read_config(resolve(name)).num_maskmem == 7


def test_random_state_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = build_network(read_config(resolve(BUILTIN)), STOCK_PREDICTOR)
    assert torch.equal(torch.rand(1), expected)
    second = build_network(read_config(resolve(BUILTIN)), STOCK_PREDICTOR)
    state = second.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in first.state_dict().items())


def test_builtin(tmp_path, builtin):
    loaded = load(tmp_path, BUILTIN)
    assert loaded.name == BUILTIN
    assert loaded.sha256 == sha256_of(tmp_path / resolve(BUILTIN).file)
    assert loaded.image_size == loaded.predictor.image_size == 192
    assert loaded.trained
    assert loaded.warnings == ()
    assert not loaded.predictor.training
    state = loaded.predictor.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in builtin.state_dict().items())


def test_auto_offline_takes_the_builtin_and_warns(tmp_path, builtin, offline):
    loaded = load(tmp_path)
    assert loaded.name == BUILTIN
    (warning,) = loaded.warnings
    assert "'small' is not available" in warning
    assert offline.url in warning
    assert str(tmp_path / offline.file) in warning


def test_auto_with_neither_is_loudly_untrained(tmp_path, offline):
    loaded = load(tmp_path)
    assert not loaded.trained
    assert loaded.name == "untrained"
    assert len(loaded.warnings) == 2
    assert "UNTRAINED" in loaded.warnings[1]
    assert len(loaded.sha256) == 64
    again = load(tmp_path, BUILTIN)
    assert again.sha256 == loaded.sha256
    assert len(again.warnings) == 1


def test_by_name_offline_is_an_error(tmp_path, builtin, offline):
    with pytest.raises(Unavailable, match="answers 503"):
        load(tmp_path, PREFERRED)


def test_auto_downloads_the_preferred(tmp_path, server, monkeypatch):
    # The built-in architecture plays the preferred one: its weights are small.
    config = resolve(BUILTIN).config
    shaped = dataclasses.replace(resolve(PREFERRED), config=config)
    source = tmp_path / "source.pt"
    torch.save({"model": build_network(read_config(shaped), STOCK_PREDICTOR).state_dict()}, source)
    server.content = source.read_bytes()
    monkeypatch.setitem(
        CHECKPOINTS,
        PREFERRED,
        server.checkpoint(config=config),
    )
    loaded = load(tmp_path)
    assert loaded.name == PREFERRED
    assert loaded.warnings == ()
    assert loaded.sha256 == sha256_of(source)
    load(tmp_path)
    assert len(server.asked) == 1


def test_damaged_file_in_place_is_not_replaced_silently(tmp_path, builtin, offline):
    (tmp_path / offline.file).write_bytes(b"half of it")
    with pytest.raises(BadInput, match=r"damaged or another file.*remove it"):
        load(tmp_path)


def test_own_file(tmp_path, builtin, monkeypatch):
    own = tmp_path / "own.pt"
    torch.save({"model": builtin.state_dict()}, own)
    loaded = load(tmp_path, BUILTIN, own)
    assert loaded.name == "builtin:own.pt"
    assert loaded.sha256 == sha256_of(own)
    with pytest.raises(BadInput, match="say with --model"):
        load(tmp_path, "auto", own)
    with pytest.raises(BadInput, match="does not fit the architecture 'tiny'"):
        load(tmp_path, "tiny", own)
    # A file known by its hash needs no name.
    known = dataclasses.replace(resolve(BUILTIN), sha256=sha256_of(own))
    monkeypatch.setitem(CHECKPOINTS, BUILTIN, known)
    assert load(tmp_path, "auto", own).name == BUILTIN


def test_unknown_model(tmp_path):
    with pytest.raises(BadInput, match="unknown model 'huge'"):
        load(tmp_path, "huge")


def test_missing_configuration(tmp_path, monkeypatch):
    monkeypatch.setattr("lib.models.build.MODEL_DIR", tmp_path)
    with pytest.raises(Unavailable, match=r"configuration .* is missing"):
        read_config(resolve(BUILTIN), tmp_path)
    assert tmp_path != registry.MODEL_DIR


def test_devices(monkeypatch):
    assert choose_device("cpu") == torch.device("cpu")
    for word in ("gpu", "cuda:", "cuda:x", "cpu:0", ""):
        with pytest.raises(BadInput, match="unknown device"):
            choose_device(word)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    with pytest.raises(BadInput, match="no CUDA GPU"):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert choose_device("auto") == torch.device("cuda")
    assert choose_device("cuda:0") == torch.device("cuda", 0)
    with pytest.raises(BadInput, match="there are 1 CUDA GPUs"):
        choose_device("cuda:1")


def test_a_server_takes_every_gpu_or_those_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_devices("auto") == choose_devices("cpu") == (torch.device("cpu"),)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    every = tuple(torch.device("cuda", n) for n in range(3))
    assert choose_devices("auto") == choose_devices("cuda") == every
    assert choose_devices("cuda:2, cuda:0") == (every[2], every[0])
    assert choose_devices("cuda:1") == (every[1],)
    for twice in ("cuda:1,cuda:1", "cuda,cuda:0"):
        with pytest.raises(BadInput, match="each device once"):
            choose_devices(twice)
    with pytest.raises(BadInput, match="there are 3 CUDA GPUs"):
        choose_devices("cuda:0,cuda:3")
