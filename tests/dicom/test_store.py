"""Orthanc as `make serve-dicom` runs it."""

import socket

import pytest
import requests


def other_address() -> str:
    """An address of this machine that is not the loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError as error:
            pytest.skip(f"this machine has no address but the loopback: {error}")
        return probe.getsockname()[0]


def test_loopback_clients_are_answered(store):
    assert len(requests.get(f"{store.dicomweb}/studies", timeout=30).json()) == 3


@pytest.mark.parametrize("path", ["/dicom-web/studies", "/instances", "/app/explorer.html"])
def test_other_clients_are_refused(store, path):
    port = store.url.rpartition(":")[2]
    try:
        answer = requests.get(f"http://{other_address()}:{port}{path}", timeout=10)
    except requests.ConnectionError:
        return  # a version that listens on the loopback alone
    assert answer.status_code in (401, 403)
