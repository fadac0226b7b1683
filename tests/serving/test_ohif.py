import asyncio

import pytest

from lib.serving.ohif import OhifAddress


def cookie(path: str, kind: str = "text/html; charset=utf-8") -> str | None:
    """The cookie that comes with an answer of a content type."""
    sent = []

    async def page(scope, receive, send):
        headers = [(b"content-type", kind.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    async def send(message):
        sent.append(message)

    headers = [(b"host", b"127.0.0.1:8123")]
    scope = {"type": "http", "scheme": "http", "path": path, "headers": headers}
    asyncio.run(OhifAddress(page)(scope, None, send))
    return dict(sent[0]["headers"]).get(b"set-cookie", b"").decode() or None


@pytest.mark.parametrize("path", ["/ohif/", "/ohif/monai-label"])
def test_pages_bring_the_servers_address(path):
    expected = "MONAILABEL_SERVER_URL=http%3A%2F%2F127.0.0.1%3A8123%2F; Path=/ohif"
    assert cookie(path) == expected


def test_nothing_else_does():
    assert cookie("/ohif/app.js", "text/javascript") is None
    assert cookie("/info/") is None
