import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from lib.serving.auth.passwords import is_right
from lib.serving.auth.users import Role, UsersFile

APP = Path(__file__).parents[2] / "apps" / "sam2_ct"
PASSWORD = "correct horse"
SAM2_CT = [sys.executable, str(APP), "users"]


@pytest.fixture
def command(tmp_path):
    """Runs `sam2-ct users …` with a home of its own."""

    def call(*arguments: str, stdin: str = PASSWORD + "\n") -> subprocess.CompletedProcess:
        environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}
        return subprocess.run(
            [*SAM2_CT, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env=environment,
            timeout=60,
            check=False,
        )

    return call


@pytest.fixture
def users(tmp_path) -> UsersFile:
    return UsersFile(tmp_path / "sam2_ct" / "users.json")


def test_add_list_passwd_remove(command, users):
    added = command("add", "anna")
    assert added.returncode == 0, added.stderr
    assert f"--conf users {users.path}" in added.stdout
    assert command("add", "root", "--role", "admin").returncode == 0
    assert command("list").stdout == "anna\tannotator\nroot\tadmin\n"
    assert is_right(PASSWORD, users.find("anna").password)

    assert command("passwd", "anna", stdin="another one\n").returncode == 0
    assert is_right("another one", users.find("anna").password)
    assert users.find("anna").role is Role.ANNOTATOR
    assert not is_right(PASSWORD, users.find("anna").password)

    assert command("remove", "anna").returncode == 0
    assert command("list").stdout == "root\tadmin\n"


def test_salted_and_never_shown(command, users):
    shown = [command("add", name) for name in ("anna", "bert")]
    assert users.find("anna").password != users.find("bert").password
    assert users.find("anna").password.startswith("$argon2id$")
    assert PASSWORD not in users.path.read_text() + "".join(s.stdout + s.stderr for s in shown)


@pytest.mark.parametrize(
    ("arguments", "stdin", "words"),
    [
        (["add", "Anna"], PASSWORD, "no user name"),
        (["add", "anna"], "short", "10 to 1024 characters"),
        (["add", "anna"], "", "10 to 1024 characters"),
        (["add", "anna", "--role", "king"], PASSWORD, "unknown role 'king'"),
        (["remove", "anna"], "", "no user 'anna'"),
        (["passwd", "anna"], PASSWORD, "no user 'anna'"),
    ],
)
def test_mistakes_are_one_line(command, users, arguments, stdin, words):
    done = command(*arguments, stdin=stdin)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not users.path.exists() or not users.all()


def test_another_file(command, tmp_path, users):
    assert command("add", "anna", "--file", str(tmp_path / "lab.json")).returncode == 0
    assert UsersFile(tmp_path / "lab.json").find("anna")
    assert not users.path.exists()


@pytest.mark.parametrize(("second", "code"), [(PASSWORD, 0), ("wrong horse", 2)])
def test_asked_twice_without_echo_at_a_terminal(users, tmp_path, second, code):
    child, terminal = pty.fork()
    if child == 0:
        environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}
        os.execve(sys.executable, [*SAM2_CT, "add", "anna"], environment)
    shown = b""
    for prompt, answer in ((b"password for anna: ", PASSWORD), (b"once more: ", second)):
        while prompt not in shown:
            shown += os.read(terminal, 1024)
        os.write(terminal, answer.encode() + b"\n")
    try:
        while piece := os.read(terminal, 1024):
            shown += piece
    except OSError:  # how the end of a terminal shows on Linux
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code, shown
    assert PASSWORD.encode() not in shown
    assert bool(users.all()) == (code == 0)
