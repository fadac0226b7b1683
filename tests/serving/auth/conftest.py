import pytest

from tests.engine.passing import Time


@pytest.fixture
def clock() -> Time:
    return Time()
