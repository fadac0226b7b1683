import pytest
import torch

from lib.errors import BadInput
from lib.models import precision
from lib.models.precision import Abilities, Precision, abilities, choose

PLAIN = Abilities("this processor", bf16=False)
AMX = Abilities("a processor with AMX", bf16=True)
VOLTA = Abilities("V100", bf16=False, fp16=True)
HOPPER = Abilities("H100", bf16=True, fp16=True)


@pytest.mark.parametrize(
    ("asked", "device", "expected"),
    [
        ("auto", PLAIN, "fp32-fast"),
        ("fp32-fast", AMX, "fp32-fast"),
        ("auto", AMX, "bf16"),
        ("auto", VOLTA, "fp16"),
        ("auto", HOPPER, "bf16"),
        ("fp32", HOPPER, "fp32"),
        ("bf16", AMX, "bf16"),
        ("fp16", VOLTA, "fp16"),
    ],
)
def test_what_is_chosen(asked, device, expected):
    chosen = choose(Precision.parse(asked), device)
    assert chosen.name == expected
    assert chosen.is_exact == (expected == "fp32")


@pytest.mark.parametrize("device", [PLAIN, AMX, HOPPER])
def test_a_narrow_network_keeps_its_digits(device):
    assert choose(Precision.AUTO, device, width=128).name == "fp32-fast"
    assert not choose(Precision.AUTO, device, width=128).is_exact


@pytest.mark.parametrize(("asked", "device"), [("bf16", PLAIN), ("bf16", VOLTA), ("fp16", AMX)])
def test_what_would_only_be_slow_is_refused(asked, device):
    with pytest.raises(BadInput, match=f"{asked}: {device.name} has no instructions"):
        choose(Precision.parse(asked), device)


@pytest.mark.parametrize(
    ("capability", "bf16", "fp16"),
    [((9, 0), True, True), ((7, 5), False, True), ((6, 1), False, False)],
)
def test_a_gpu_is_asked_for_its_capability(monkeypatch, capability, bf16, fp16):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "a card")
    assert abilities(torch.device("cuda")) == Abilities("a card", bf16, fp16)


@pytest.mark.parametrize(
    ("amx", "avx512", "expected"), [(True, True, True), (False, True, True), (False, False, False)]
)
def test_a_processor_is_asked_for_its_instructions(monkeypatch, amx, avx512, expected):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    assert precision.abilities(torch.device("cpu")).bf16 is expected
