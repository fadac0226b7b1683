"""Options as strings become settings, and back; what is not understood is refused."""

import pytest

from lib.configs.options import Settings
from lib.configs.tasks import TaskConfig
from lib.errors import BadInput
from lib.geometry import Axis
from lib.propagation.settings import Propagation


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"policy": "tau=0.2,sliced=3", "window": "40,350", "axis": "coronal"},
        {"propagation": "forward-backward", "merge": "distance", "extent": "painted"},
        {"carry": "true", "overlap": "yes", "window": "clahe+bone", "policy": "stride2+sps"},
    ],
)
def test_described_settings_parse_to_themselves(options):
    settings = Settings.parse(options)
    assert Settings.parse(settings.describe()) == settings


def test_absent_and_empty_options_keep_the_default():
    default = Settings.parse({"policy": "baseline", "axis": "sagittal"})
    assert Settings.parse({"policy": "", "axis": None}, default) == default
    assert Settings.parse({"policy": "is"}, default).axis is Axis.SAGITTAL


@pytest.mark.parametrize(
    "options",
    [
        {"carry": "perhaps"},
        {"extent": "9-3"},
        {"prior": "three"},
        {"merge": "median"},
        {"carry": "true", "propagation": "forward-backward"},
        {"policy": "is,sliced=2"},
    ],
)
def test_refused(options):
    with pytest.raises(BadInput):
        Settings.parse(options)


def test_server_configuration():
    config = TaskConfig.parse(
        {
            "model": "builtin",
            "policy": "sps",
            "propagation": "three-axis",
            "extent": "open",
            "cache_mb": "64",
            "labels": "rib, hip",
        }
    )
    assert config.settings.propagation is Propagation.THREE_AXIS
    assert config.settings.extent.describe() == "open"
    assert config.cache_mb == 64
    assert config.labels == {"rib": 1, "hip": 2}
    assert config.viewer_options()["policy"][0] == "sps"


@pytest.mark.parametrize(
    "conf", [{"colour": "red"}, {"cache_mb": "0"}, {"labels": "a,a"}, {"policy": "magic"}]
)
def test_server_configuration_refused(conf):
    with pytest.raises(BadInput):
        TaskConfig.parse(conf)
