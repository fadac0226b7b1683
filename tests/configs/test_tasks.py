from pathlib import Path

import pytest

from lib.configs.tasks import TaskConfig
from lib.errors import BadInput


def test_defaults():
    config = TaskConfig.parse({})
    assert config.model == "auto"
    assert config.labels == {"bone": 1}
    assert config.viewer_options()["policy"][0] == "is+sps+stretches"


def test_what_was_chosen_comes_first():
    conf = {
        "model": "tiny",
        "policy": "tau=0.4",
        "window": "300,1500",
        "axis": "coronal",
        "labels": "hip, rib",
        "server_mode": "true",
    }
    config = TaskConfig.parse(conf)
    options = config.viewer_options()
    assert options["model"][0] == "tiny"
    assert options["policy"][0] == "tau=0.4"
    assert options["window"][0] == "300,1500"
    assert options["axis"][0] == "coronal"
    assert all(len(set(values)) == len(values) for values in options.values())
    assert config.labels == {"hip": 1, "rib": 2}


def test_own_checkpoint_is_the_only_one():
    config = TaskConfig.parse({"model": "tiny", "checkpoint": "mine.pt"})
    assert config.checkpoint == Path("mine.pt")
    assert config.viewer_options()["model"] == ["mine.pt"]


@pytest.mark.parametrize(
    "conf",
    [
        {"modle": "tiny"},
        {"policy": "x"},
        {"model": "huge"},
        {"labels": "a,a"},
        {"labels": ","},
        {"max_upload_mb": "0"},
        {"max_upload_mb": "many"},
        {"axis": "up"},
        {"login_hours": "0"},
        {"login_hours": "nan"},
        {"open": "maybe"},
    ],
)
def test_refused(conf):
    with pytest.raises(BadInput):
        TaskConfig.parse(conf)
