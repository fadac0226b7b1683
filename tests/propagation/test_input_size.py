"""Another input size: what `auto` takes, and the same weights at that size."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.stock import see_objects
from lib.errors import BadInput
from lib.models.build import build_network
from lib.prompts.types import Points, PromptSet
from lib.propagation.inferer import PseudoVideoInferer
from lib.propagation.input_size import InputSize
from lib.propagation.settings import PropagationSettings
from lib.propagation.sizes import resized
from tests.propagation.conftest import small_config


@pytest.mark.parametrize(
    ("asked", "own", "voxels", "painted", "side"),
    [
        ("auto", 1024, 120, 3, 512),
        ("auto", 1024, 128, 3, 512),
        ("auto", 1024, 129, 3, 1024),
        ("auto", 1024, 20, 3, 512),
        ("auto", 1024, 600, 3, 1024),
        ("auto", 192, 20, 0, 192),
        ("auto", 192, 20, 1, 192),
        ("auto", 192, 20, 2, 256),
        ("auto", 256, 120, 3, 256),
        ("own", 1024, 20, 3, 1024),
        ("own", 192, 20, 3, 192),
        ("256", 1024, 600, 3, 256),
        ("1024", 192, 20, 3, 1024),
    ],
)
def test_the_side(asked, own, voxels, painted, side):
    assert InputSize.parse(asked).side(own, voxels, painted) == side


def test_auto_is_finer_where_every_object_has_two_painted_slices(predictor, volume, three_prompts):
    """A click beside them changes nothing; one object with a single slice does."""
    infer = PseudoVideoInferer(predictor, "a")
    auto = PropagationSettings(input=InputSize.AUTO)

    def side(*prompts):
        return infer(volume, PromptSet(three_prompts.grid, prompts), auto).input_size

    masks = three_prompts.prompts
    one = masks[0]
    click = Points(
        one.axis, one.index + 1, one.object_id, np.argwhere(one.mask)[:1], np.empty((0, 2))
    )
    assert side(*masks) == 256
    assert side(*masks, click) == 256
    assert side(one) == 128
    assert side(*masks, replace(one, object_id=2)) == 128


def test_another_number_is_refused():
    with pytest.raises(BadInput, match="use one of auto, own, 1024, 512, 256"):
        InputSize.parse("300")


def test_it_is_the_network_built_at_that_size(predictor, volume, three_prompts):
    config = small_config()
    config.image_size = 256
    built = see_objects(build_network(config, seed=1))
    expected, got = (
        PseudoVideoInferer(network, "a")(volume, three_prompts, PropagationSettings())
        for network in (built, resized(predictor, 256))
    )
    for object_id, logits in expected.logits.items():
        assert np.array_equal(got.logits[object_id], logits)
    assert predictor.image_size == 128
    assert predictor.sam_prompt_encoder.input_image_size == (128, 128)


def test_weights_are_shared(predictor):
    other = resized(predictor, 256)
    own, theirs = (dict(n.named_parameters()) for n in (predictor, other))
    assert all(theirs[name] is weight for name, weight in own.items())


def test_a_request_says_which(predictor, volume, three_prompts):
    """Sizes do not mix: the same request at both, in turn, says the same again."""
    infer = PseudoVideoInferer(predictor, "a")
    own = PropagationSettings()
    large = replace(own, input=InputSize.S256)
    first, second = infer(volume, three_prompts, own), infer(volume, three_prompts, large)
    assert (first.input_size, second.input_size) == (128, 256)
    assert not np.array_equal(first.logits[1], second.logits[1])
    infer.bank.clear()
    again = infer(volume, three_prompts, own)
    assert np.array_equal(first.logits[1], again.logits[1])


def test_windows_must_fit(predictor):
    with pytest.raises(ValueError, match="multiple of 32"):
        resized(predictor, 200)
