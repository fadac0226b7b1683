import pytest

from lib.errors import BadInput
from lib.serving.auth.passwords import LONGEST, SHORTEST, hash_of_nobody, hashed, is_right


@pytest.mark.parametrize("password", ["correct horse", "x" * SHORTEST, "x" * LONGEST, "päßwörter!"])
def test_only_the_password_is_right(password):
    stored = hashed(password)
    assert is_right(password, stored)
    assert not is_right(password[:-1], stored)
    assert not is_right(password + "x", stored)
    assert password not in stored


def test_salted():
    assert hashed("correct horse") != hashed("correct horse")


def test_one_password_on_every_keyboard():
    assert is_right("geha\u0308rtetes", hashed("geh\u00e4rtetes"))


@pytest.mark.parametrize("password", ["", "short", "x" * (LONGEST + 1)])
def test_refused(password):
    with pytest.raises(BadInput, match="10 to 1024"):
        hashed(password)


@pytest.mark.parametrize("password", ["", "\udcff\ud800", "\0", "x" * 100_000])
def test_whatever_is_sent_is_wrong_and_no_error(password):
    assert not is_right(password, hash_of_nobody())


@pytest.mark.parametrize("stored", ["", "correct horse", "$argon2id$v=19$m=65536"])
def test_a_damaged_hash(stored):
    with pytest.raises(BadInput, match="damaged"):
        is_right("correct horse", stored)
