import pytest

from lib.serving.auth.tokens import Tokens
from lib.serving.auth.users import Role, User


@pytest.fixture
def tokens(clock) -> Tokens:
    return Tokens(60, clock)


ANNA = User("anna", Role.ANNOTATOR, "$hash")


def test_a_token_is_its_owners(tokens):
    token = tokens.issue(ANNA)
    assert tokens.owner(token, {"anna": ANNA}.get) == ANNA
    assert tokens.issue(ANNA) != token


def test_the_role_is_the_one_of_now(tokens):
    token = tokens.issue(ANNA)
    lesser = User("anna", Role.USER, "$hash")
    assert tokens.owner(token, {"anna": lesser}.get) == lesser


def test_it_ends(tokens, clock):
    token = tokens.issue(ANNA)
    clock.passes(59.9)
    assert tokens.owner(token, {"anna": ANNA}.get)
    clock.passes(0.1)
    assert tokens.owner(token, {"anna": ANNA}.get) is None


@pytest.mark.parametrize("change", [str.lower, str.swapcase, lambda t: t + "A", lambda t: t[:-1]])
def test_tampered_tokens_are_nobodys(tokens, change):
    token = tokens.issue(ANNA)
    assert change(token) != token
    assert tokens.owner(change(token), {"anna": ANNA}.get) is None


@pytest.mark.parametrize("token", ["", "anna", "\udcff", "e30.e30."])
def test_invented_tokens_are_nobodys(tokens, token):
    tokens.issue(ANNA)
    assert tokens.owner(token, {"anna": ANNA}.get) is None


def test_log_out_removal_and_another_password_end_it(tokens):
    token = tokens.issue(ANNA)
    assert tokens.owner(token, {}.get) is None
    assert tokens.owner(token, {"anna": User("anna", Role.ANNOTATOR, "$other")}.get) is None
    other = tokens.issue(ANNA)
    tokens.revoke(token)
    assert tokens.owner(token, {"anna": ANNA}.get) is None
    assert tokens.owner(other, {"anna": ANNA}.get) == ANNA


def test_they_do_not_pile_up(tokens, clock):
    first, bert = tokens.issue(ANNA), User("bert", Role.USER, "$")
    berts = tokens.issue(bert)
    for _ in range(100):
        last = tokens.issue(ANNA)
    find = {"anna": ANNA, "bert": bert}.get
    assert tokens.owner(first, find) is None
    assert tokens.owner(last, find) == ANNA
    assert tokens.owner(berts, find) == bert
    clock.passes(61)
    tokens.issue(ANNA)
    assert len(tokens._grants) == 1
