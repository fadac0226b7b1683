"""Patience with an image store: short, so that an annotator is told soon that it is down."""

from __future__ import annotations

from dicomweb_client import DICOMwebClient
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter

from lib.serving.upstream import http_session

CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 30.0  # between two pieces of an answer
ATTEMPTS = 2


class _InTime(HTTPAdapter):
    def send(self, request: PreparedRequest, *args, **kwargs) -> Response:
        kwargs["timeout"] = kwargs.get("timeout") or (CONNECT_SECONDS, SILENCE_SECONDS)
        return super().send(request, *args, **kwargs)


def limit_patience(client: DICOMwebClient) -> None:
    """Give a DICOMweb client time limits; it has none, and tries five times.

    Its requests then raise `requests.ConnectionError` or `requests.Timeout`.
    """
    client.set_http_retry_params(max_attempts=ATTEMPTS, wait_exponential_multiplier=250)
    for scheme in ("http://", "https://"):
        http_session(client).mount(scheme, _InTime())
