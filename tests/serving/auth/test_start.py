import pytest

from lib.configs.tasks import TaskConfig
from lib.errors import BadInput
from lib.serving.auth.start import open_desk
from lib.serving.auth.users import Role, User, UsersFile


@pytest.fixture
def users(tmp_path) -> str:
    UsersFile(tmp_path / "users.json").add(User("anna", Role.USER, "$hash"))
    return str(tmp_path / "users.json")


def opened(host, **conf):
    return open_desk(TaskConfig.parse(conf), host)


@pytest.mark.parametrize("host", [None, "127.0.0.1", "::1", "localhost"])
def test_off_by_default_on_this_machine(host):
    assert opened(host) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.7", "hospital.example"])
def test_beyond_it_takes_users_or_a_word(host, users, caplog):
    with pytest.raises(BadInput, match=r"--conf users FILE.*--conf open true"):
        opened(host)
    assert opened(host, open="true") is None
    assert "every machine that reaches it can read the studies" in caplog.text
    assert opened(host, users=users).users.find("anna")


def test_on_wherever_users_are_named(users):
    assert opened("127.0.0.1", users=users, login_hours="2").tokens.lifetime == 7200


def test_refused(users, tmp_path):
    with pytest.raises(BadInput, match="opposite"):
        opened("0.0.0.0", users=users, open="true")
    with pytest.raises(BadInput, match="nobody could log in"):
        opened(None, users=str(tmp_path / "none.json"))
