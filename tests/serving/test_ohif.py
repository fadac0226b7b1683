import asyncio
from http.cookies import SimpleCookie

import pytest

from lib.serving.clients import COOKIE
from lib.serving.ohif import OhifCookies


def cookies(path: str, kind: str = "text/html; charset=utf-8", brought: str = "") -> list[str]:
    """The cookies that come with an answer of a content type to a browser that brings some."""
    sent = []

    async def page(scope, receive, send):
        headers = [(b"content-type", kind.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    async def send(message):
        sent.append(message)

    headers = [(b"host", b"127.0.0.1:8123"), (b"cookie", brought.encode())]
    scope = {"type": "http", "scheme": "http", "path": path, "headers": headers}
    asyncio.run(OhifCookies(page)(scope, None, send))
    return [value.decode() for name, value in sent[0]["headers"] if name == b"set-cookie"]


@pytest.mark.parametrize("path", ["/ohif/", "/ohif/monai-label"])
def test_pages_bring_the_servers_address(path):
    expected = "MONAILABEL_SERVER_URL=http%3A%2F%2F127.0.0.1%3A8123%2F; Path=/ohif"
    assert cookies(path)[0] == expected


def test_every_browser_gets_a_name_once():
    names = {SimpleCookie(cookies("/ohif/")[1])[COOKIE].value for _ in range(3)}
    assert len(names) == 3
    assert len(cookies("/ohif/", brought=f"a=b; {COOKIE}={names.pop()}")) == 1


def test_nothing_else_does():
    assert cookies("/ohif/app.js", "text/javascript") == []
    assert cookies("/info/") == []
