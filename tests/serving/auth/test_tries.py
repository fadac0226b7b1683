import pytest

from lib.serving.auth.tries import ADDRESS, NAME, NAME_AND_ADDRESS, Tries


@pytest.fixture
def tries(clock) -> Tries:
    return Tries(clock)


def guess(tries, times, name="anna", address="10.0.0.1") -> list[int]:
    return [tries.begin(name, address) for _ in range(times)]


def test_a_few_are_free_then_one_waits(tries):
    assert guess(tries, 6) == [0] * 5 + [1]


def test_each_failure_doubles_the_wait(tries, clock):
    guess(tries, 5)
    waits = []
    for _ in range(14):
        wait = tries.begin("anna", "10.0.0.1")
        waits.append(wait)
        clock.passes(wait)
        assert tries.begin("anna", "10.0.0.1") == 0
    assert waits[:5] == [1, 2, 4, 8, 16]
    assert waits[-1] == NAME_AND_ADDRESS.longest


def test_waiting_tries_do_not_lengthen_the_wait(tries):
    assert guess(tries, 50)[5:] == [1] * 45


def test_success_forgets(tries):
    guess(tries, 5)
    tries.succeeded("anna", "10.0.0.1")
    assert guess(tries, 5) == [0] * 5


def test_the_one_guessed_at_still_gets_in_from_elsewhere(tries):
    guess(tries, 30)
    assert tries.begin("anna", "10.0.0.2") == 0


def test_many_names_from_one_address(tries):
    waits = [tries.begin(f"user{n}", "10.0.0.1") for n in range(ADDRESS.free + 1)]
    assert waits == [0] * ADDRESS.free + [1]


def test_an_own_account_does_not_wash_an_address(tries, clock):
    for n in range(ADDRESS.free - 1):
        assert tries.begin(f"user{n}", "10.0.0.1") == 0
        if n % 3 == 0:
            assert tries.begin("mallory", "10.0.0.1") == 0
            tries.succeeded("mallory", "10.0.0.1")
    assert tries.begin("x", "10.0.0.1") == 0
    assert tries.begin("y", "10.0.0.1") > 0


def test_one_name_from_many_addresses(tries):
    waits = [tries.begin("anna", f"10.0.{n}.1") for n in range(NAME.free + 1)]
    assert waits == [0] * NAME.free + [1]


def test_one_network_of_ipv6_is_one_address(tries):
    waits = [tries.begin("anna", f"2001:db8::{n:x}") for n in range(1, 7)]
    assert waits == [0] * 5 + [1]
    assert tries.begin("anna", "2001:db8:0:1::1") == 0


def test_forgotten_after_an_hour(tries, clock):
    guess(tries, 5)
    clock.passes(3601)
    assert guess(tries, 5) == [0] * 5


def test_memory_is_bounded(tries, monkeypatch):
    monkeypatch.setattr("lib.serving.auth.tries._REMEMBERED", 10)
    for n in range(100):
        tries.begin(f"user{n}", f"10.0.{n}.1")
    assert len(tries._records) == 30
