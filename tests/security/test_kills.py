"""Ten times `kill -9` in the midst of work: it starts again, and nothing acknowledged is lost."""

import random

import pytest

from tests.security.conftest import alarms, image_file
from tests.security.killing import Acknowledged, Workers, check
from tests.server.conftest import running_server

KILLS = 10


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_kills(tmp_path):
    studies, home = tmp_path / "studies", tmp_path / "home"
    studies.mkdir()
    image_file(studies / "a.nii.gz")
    known = Acknowledged()
    workers = Workers(known, tmp_path)
    moments = random.Random(0)
    for n in range(KILLS + 1):
        log = tmp_path / f"server-{n}.log"
        with running_server(str(studies), log, {}, SAM2_CT_HOME=str(home)) as server:
            check(server, studies, home, known)
            if n < KILLS:
                workers.work(server, moments.uniform(0.3, 2.5))
        assert alarms(log) == []
    assert known.count > 10 * KILLS
