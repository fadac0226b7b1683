"""Whatever is sent to whatever route is served: no 500, no traceback, and the studies stay.

schemathesis makes requests of the OpenAPI schema that the server tells, right and wrong ones.
"""

import time

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from lib.serving.studies import Studies
from tests.security.conftest import alarms, label_file

SECONDS = 120
EXAMPLES = 100
_until: list[float] = []


@pytest.fixture(scope="module")
def api(victim):
    """The schema; what is found there must not be taken away meanwhile."""
    return schemathesis.openapi.from_url(f"{victim.server.url}/openapi.json")


schema = schemathesis.pytest.from_fixture("api")


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_request_gives_500(case, victim):
    _until.append(time.monotonic() + SECONDS)
    if time.monotonic() > _until[0]:
        return  # all the time there is was used
    answer = case.call()
    assert answer.status_code < 500, f"{case.as_curl_command()}: {answer.text[:300]}"
    assert "Traceback" not in answer.text
    assert str(victim.folder) not in answer.text or answer.status_code < 400


def test_afterwards_all_is_well(victim, tmp_path):
    assert len(_until) > 500  # it was used
    assert alarms(victim.server.log) == []
    assert victim.ask("GET", "/info/").ok
    assert victim.ask("GET", "/datastore/?output=all").ok
    label = label_file(tmp_path / "x.nii.gz").read_bytes()
    assert victim.ask("PUT", "/datastore/label?image=a", files={"label": ("x", label)}).ok
    assert Studies(str(victim.studies)).get_labels_by_image_id("a").keys() >= {"final"}
