import asyncio

import pytest
from starlette.exceptions import HTTPException

from lib.serving.guards import LoopbackOnly, UploadLimit, host_asked_for, is_loopback


async def reads_everything(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})


def ask(app, *, client="127.0.0.1", headers=(), body=(b"",)) -> int:
    """The status of the answer."""
    messages = [{"type": "http.request", "body": b, "more_body": True} for b in body]
    messages[-1]["more_body"] = False
    sent = []

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "client": (client, 1234), "headers": list(headers)}
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"]


def test_upload_limit():
    app = UploadLimit(reads_everything, max_bytes=10)
    assert ask(app, body=[b"12345", b"12345"]) == 200
    assert ask(app, headers=[(b"content-length", b"11")]) == 413
    with pytest.raises(HTTPException) as refused:  # Starlette makes an answer of it
        ask(app, body=[b"12345", b"123456"])
    assert refused.value.status_code == 413


@pytest.mark.parametrize(
    ("kind", "status"), [(b"Multipart/form-data; boundary=x", 200), (b"application/json", 413)]
)
def test_only_files_are_large(kind, status):
    app = UploadLimit(reads_everything, max_bytes=1 << 30)
    headers = [(b"content-type", kind), (b"content-type", b"multipart/x")]
    assert ask(app, headers=[*headers, (b"content-length", b"2000000")]) == status


@pytest.mark.parametrize(
    ("client", "status"),
    [("127.0.0.1", 200), ("127.8.8.8", 200), ("::1", 200), ("10.0.0.7", 403), ("", 403)],
)
def test_loopback_only(client, status):
    assert ask(LoopbackOnly(reads_everything), client=client) == status


@pytest.mark.parametrize(
    ("arguments", "host"),
    [
        (["start_server", "--app", "x"], None),
        (["start_server", "--host", "0.0.0.0"], "0.0.0.0"),
        (["start_server", "-i", "127.0.0.1", "--port", "1"], "127.0.0.1"),
        (["start_server", "--host=::1"], "::1"),
    ],
)
def test_host_asked_for(arguments, host):
    assert host_asked_for(arguments) == host


def test_all_interfaces_are_not_loopback():
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("hospital.example")
