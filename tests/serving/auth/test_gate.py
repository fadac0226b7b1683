"""The gate and the routes behind it, without MONAI Label's server."""

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from lib.serving.auth.desk import COOKIE, Desk
from lib.serving.auth.gate import PUBLIC, Gate
from lib.serving.auth.passwords import hashed
from lib.serving.auth.routes import auth_routes
from lib.serving.auth.tokens import Tokens
from lib.serving.auth.users import Role, User, UsersFile

PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def users(tmp_path_factory) -> UsersFile:
    users = UsersFile(tmp_path_factory.mktemp("users") / "users.json")
    users.add(User("anna", Role.ANNOTATOR, hashed(PASSWORD)))
    return users


@pytest.fixture
def client(users) -> TestClient:
    desk = Desk(users, Tokens(60))
    app = FastAPI()
    app.include_router(auth_routes(desk))

    @app.get("/who")
    async def who(request: Request) -> str:
        return request.state.user.name

    @app.websocket("/live")
    async def live(socket: WebSocket) -> None:
        await socket.accept()

    app.add_middleware(Gate, desk=desk)
    return TestClient(app, follow_redirects=False)


def token(client, **change) -> str:
    fields = {"username": "anna", "password": PASSWORD, **change}
    return client.post("/auth/token", data=fields).json()["access_token"]


def test_bearer_and_cookie(client):
    assert client.get("/who").status_code == 401
    mine = token(client)
    assert client.get("/who", headers={"Authorization": f"bearer {mine}"}).json() == "anna"
    assert client.get("/who", headers={"Cookie": f"a=b; {COOKIE}={mine}"}).json() == "anna"
    wrong = {"Authorization": "Bearer x", "Cookie": f"{COOKIE}={mine}"}
    assert client.get("/who", headers=wrong).status_code == 401


def test_names_in_any_case(client):
    assert token(client, username=" Anna ")


def test_strangers_have_no_live_connection(client):
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/live"):
        pass


def test_what_is_open_says_nothing_about_users(client):
    for path in PUBLIC:
        assert "anna" not in client.get(path).text


def test_answers_to_users_are_kept_by_nobody(client):
    answer = client.get("/who", headers={"Authorization": f"Bearer {token(client)}"})
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"username=%ff%fe&password=%ed%a0%80",
        b"username=%00&password=%00",
        b"username=a&username=b&password=",
        b"username=anna&password=" + b"x" * 10_000,
        b"\xff\xfe\x00",
        b"username[]=a&password[]=b",
    ],
)
@pytest.mark.parametrize("path", ["/auth/token", "/auth/login"])
@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data", "x"])
def test_odd_forms_let_nobody_in(client, body, path, kind):
    answer = client.post(path, content=body, headers={"Content-Type": kind})
    assert answer.status_code in (400, 401, 422)
    assert "set-cookie" not in answer.headers


def test_under_a_path_of_a_proxy(users):
    desk = Desk(users, Tokens(60))
    app = FastAPI()
    app.include_router(auth_routes(desk))
    app.add_middleware(Gate, desk=desk)
    client = TestClient(app, root_path="/ct", follow_redirects=False)
    sent = client.get("/ct/page?x=1", headers={"Accept": "text/html"})
    assert sent.headers["Location"] == "/ct/auth/login?next=%2Fpage%3Fx%3D1"
    page = client.get("/ct/auth/login?next=/page")
    assert 'action="/ct/auth/login"' in page.text
    fields = {"username": "anna", "password": PASSWORD, "next": "/page"}
    assert client.post("/ct/auth/login", data=fields).headers["Location"] == "/ct/page"
