import json
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib.errors import BadInput
from lib.serving.auth.users import Role, User, UsersFile


@pytest.fixture
def users(tmp_path) -> UsersFile:
    return UsersFile(tmp_path / "new" / "users.json")


def anna(role=Role.ANNOTATOR, password="$hash") -> User:
    return User("anna", role, password)


def test_what_is_added_is_found_by_another_process(users):
    assert users.all() == {}
    users.add(anna())
    assert UsersFile(users.path).find("anna") == anna()
    assert users.find("bert") is None


def test_only_the_owner_can_read(users):
    users.add(anna())
    assert stat.S_IMODE(users.path.stat().st_mode) == 0o600
    assert {p.name for p in users.path.parent.iterdir()} <= {"users.json", "users.json.lock"}
    users.path.chmod(0o640)
    with pytest.raises(BadInput, match="chmod 600"):
        users.all()


def test_a_server_that_runs_notices_changes(users):
    other = UsersFile(users.path)
    users.add(anna())
    assert other.find("anna") == anna()
    users.set_password("anna", "$other")
    assert other.find("anna").password == "$other"
    users.remove("anna")
    assert other.find("anna") is None


@pytest.mark.parametrize("name", ["", "Anna", "a/b", "../a", "a b", "ä", "-a", "a" * 65, "a\n"])
def test_names_that_are_none(users, name):
    with pytest.raises(BadInput, match="no user name"):
        users.add(User(name, Role.USER, "$hash"))
    assert not users.path.exists()


def test_taken_and_unknown_names(users):
    users.add(anna())
    with pytest.raises(BadInput, match="already"):
        users.add(anna(Role.ADMIN))
    for change in (users.remove, lambda name: users.set_password(name, "$x")):
        with pytest.raises(BadInput, match="no user 'bert'"):
            change("bert")
    assert users.all() == {"anna": anna()}


def test_removing_nobody_makes_no_folder(tmp_path):
    users = UsersFile(tmp_path / "mistyped" / "users.json")
    with pytest.raises(BadInput, match="no user 'bert'"):
        users.remove("bert")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", "[" * 99_999, '{"format": "other", "users": {}}']
    + [
        json.dumps({"format": "sam2_ct users 1", "users": listed})
        for listed in ([], {"a": {}}, {"a": {"role": "king", "password": "x"}}, {"a": 1})
    ],
)
def test_a_damaged_file_lets_nobody_in(users, text):
    users.path.parent.mkdir()
    users.path.write_text(text)
    users.path.chmod(0o600)
    with pytest.raises(BadInput, match=r"no file of users|is not JSON"):
        users.find("a")


def test_additions_at_once_are_all_kept(users):
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(lambda n: UsersFile(users.path).add(User(f"u{n}", Role.USER, "$")), range(16))
        )
    assert set(users.all()) == {f"u{n}" for n in range(16)}


def test_roles_include_the_lesser_ones():
    assert Role.USER.includes == (Role.USER,)
    assert Role.ANNOTATOR.includes == (Role.USER, Role.ANNOTATOR)
    assert Role.ADMIN.includes == tuple(Role)
    assert anna(Role.ADMIN).is_admin
    assert not anna(Role.REVIEWER).is_admin
