"""A store that is down, or accepts and says nothing."""

import socket
import time

import pytest
import requests
from dicomweb_client import DICOMwebClient

from lib.serving import patience


def asked(port: int) -> float:
    """Seconds until a search fails for want of an answer."""
    client = DICOMwebClient(f"http://127.0.0.1:{port}/dicom-web")
    patience.limit_patience(client)
    start = time.perf_counter()
    with pytest.raises((requests.Timeout, requests.ConnectionError)):
        client.search_for_series()
    return time.perf_counter() - start


def test_a_store_that_says_nothing(monkeypatch):
    monkeypatch.setattr(patience, "SILENCE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert asked(silent.getsockname()[1]) < 10  # without a limit it would wait forever


def test_a_store_that_is_gone():
    with socket.socket() as gone:
        gone.bind(("127.0.0.1", 0))
        assert asked(gone.getsockname()[1]) < 10
