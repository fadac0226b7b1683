import errno
import hashlib
import os
import shutil
import socket
import threading
import time
from collections import namedtuple

import pytest

from lib.errors import Unavailable
from lib.models.download import Patience, fetch

QUICK = Patience(connect=1, answer=2, read=1)
NO_RESUME = Patience(connect=1, answer=2, read=1, resumes=0)


def leftovers(folder):
    """What lies in the folder, lock files apart."""
    return sorted(p.name for p in folder.iterdir() if not p.name.endswith(".lock.part"))


def test_complete(server, tmp_path):
    path = fetch(server.checkpoint(), tmp_path / "new", patience=QUICK)
    assert path == tmp_path / "new" / "weights.pt"
    assert path.read_bytes() == server.content
    assert leftovers(path.parent) == ["weights.pt"]


def test_file_in_place_needs_no_network(server, tmp_path):
    (tmp_path / "weights.pt").write_bytes(b"mine")
    assert fetch(server.checkpoint(), tmp_path).read_bytes() == b"mine"
    assert server.asked == []


def test_broken_connection_is_taken_up_at_once(server, tmp_path):
    server.cut_after = [100_000, 50_000]
    path = fetch(server.checkpoint(), tmp_path, patience=QUICK)
    assert path.read_bytes() == server.content
    assert server.asked == [None, "bytes=100000-", "bytes=150000-"]
    assert server.sent == len(server.content)  # not a byte twice


def test_next_call_resumes(server, tmp_path):
    server.cut_after = [100_000]
    with pytest.raises(Unavailable, match="broke off after 100000 bytes"):
        fetch(server.checkpoint(), tmp_path, patience=NO_RESUME)
    assert leftovers(tmp_path) == ["weights.pt.etag.part", "weights.pt.part"]
    path = fetch(server.checkpoint(), tmp_path, patience=NO_RESUME)
    assert path.read_bytes() == server.content
    assert server.asked == [None, "bytes=100000-"]
    assert server.sent == len(server.content)
    assert leftovers(tmp_path) == ["weights.pt"]


def test_file_changed_on_the_server_starts_over(server, tmp_path):
    (tmp_path / "weights.pt.part").write_bytes(b"x" * 1000)
    (tmp_path / "weights.pt.etag.part").write_text('"0"')
    path = fetch(server.checkpoint(), tmp_path, patience=QUICK)
    assert path.read_bytes() == server.content
    assert len(server.asked) == 1


@pytest.mark.parametrize("ranges", [True, False])
def test_damaged_piece_starts_over(server, tmp_path, ranges):
    server.ranges = ranges
    (tmp_path / "weights.pt.part").write_bytes(b"x" * 1000)
    assert fetch(server.checkpoint(), tmp_path, patience=QUICK).read_bytes() == server.content


def test_server_without_ranges_sends_all_again(server, tmp_path):
    server.ranges = False
    server.cut_after = [100_000]
    path = fetch(server.checkpoint(), tmp_path, patience=QUICK)
    assert path.read_bytes() == server.content
    assert server.asked == [None, "bytes=100000-"]


@pytest.mark.parametrize("size", ["known", None])
def test_complete_piece_is_only_renamed(server, tmp_path, size):
    # The process died between the last byte and the renaming. Size not known: 416.
    (tmp_path / "weights.pt.part").write_bytes(server.content)
    size = len(server.content) if size else None
    path = fetch(server.checkpoint(size=size), tmp_path, patience=QUICK)
    assert path.read_bytes() == server.content
    assert server.sent == 0


def test_piece_longer_than_the_file(server, tmp_path):
    (tmp_path / "weights.pt.part").write_bytes(server.content + b"more")
    path = fetch(server.checkpoint(size=None), tmp_path, patience=QUICK)
    assert path.read_bytes() == server.content


def test_wrong_hash(server, tmp_path):
    expected = "0" * 64
    with pytest.raises(Unavailable) as error:
        fetch(server.checkpoint(sha256=expected), tmp_path, patience=QUICK)
    assert expected in str(error.value)
    assert hashlib.sha256(server.content).hexdigest() in str(error.value)
    assert leftovers(tmp_path) == []
    assert len(server.asked) == 1  # the whole file came from there: asking again is no use


def test_another_size_is_refused_before_it_is_loaded(server, tmp_path):
    with pytest.raises(Unavailable, match="offers 300000 bytes where the checkpoint has 7"):
        fetch(server.checkpoint(size=7), tmp_path, patience=QUICK)
    assert leftovers(tmp_path) == []


def test_error_status(server, tmp_path):
    server.status = 403
    with pytest.raises(Unavailable, match="answers 403 Forbidden"):
        fetch(server.checkpoint(), tmp_path, patience=QUICK)


def test_too_little_space(server, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 1000, 1000))
    with pytest.raises(Unavailable, match="0 MB free and 0 MB are still to come"):
        fetch(server.checkpoint(), tmp_path, patience=QUICK)
    assert leftovers(tmp_path) == []


def test_disk_fills_up_on_the_way(server, tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)  # where delayed allocation reports it
        with pytest.raises(Unavailable, match="the disk is full; what came so far is kept"):
            fetch(server.checkpoint(), tmp_path, patience=QUICK)
    assert "weights.pt" not in leftovers(tmp_path)
    # Space was made: nothing is fetched again.
    assert fetch(server.checkpoint(), tmp_path, patience=QUICK).read_bytes() == server.content
    assert server.sent == len(server.content)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_disk_full_at_the_first_byte(server, tmp_path):
    (tmp_path / "weights.pt.part").symlink_to("/dev/full")  # every write fails with ENOSPC
    with pytest.raises(Unavailable, match="the disk is full"):
        fetch(server.checkpoint(), tmp_path, patience=QUICK)
    assert not (tmp_path / "weights.pt").exists()


def test_nobody_there_fails_fast_and_says_what_to_do(tmp_path, server):
    with socket.socket() as unused:  # bound, not listening: refuses
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/weights.pt"
        checkpoint = server.checkpoint(url=url)
        with pytest.raises(Unavailable) as error:
            fetch(checkpoint, tmp_path, patience=QUICK)
    message = str(error.value)
    for part in (
        url,
        str(tmp_path / "weights.pt"),
        checkpoint.sha256,
        "--checkpoint FILE",
        "--conf checkpoint FILE",
        "refused",
    ):
        assert part in message


def test_silent_server_fails_within_the_limits(server, tmp_path):
    server.hang = True
    start = time.monotonic()
    with pytest.raises(Unavailable, match="cannot be reached"):
        fetch(server.checkpoint(), tmp_path, patience=Patience(connect=0.5, answer=9, read=0.5))
    assert time.monotonic() - start < 8


def test_slow_name_resolution_is_covered(server, tmp_path, monkeypatch):
    released = threading.Event()

    def stuck(*args, **kwargs):
        released.wait(20)
        raise socket.gaierror("stuck")

    monkeypatch.setattr(socket, "getaddrinfo", stuck)
    start = time.monotonic()
    try:
        with pytest.raises(Unavailable, match="does not answer within"):
            fetch(server.checkpoint(), tmp_path, patience=Patience(answer=0.3))
        assert time.monotonic() - start < 10
    finally:
        released.set()


def test_two_at_once_download_once(server, tmp_path):
    results = []
    threads = [
        threading.Thread(
            target=lambda: results.append(fetch(server.checkpoint(), tmp_path, patience=QUICK))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert results[0].read_bytes() == server.content
    assert server.sent == len(server.content)


def test_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot store checkpoint"):
        fetch(server.checkpoint(), tmp_path / "file" / "model", patience=QUICK)


def test_no_progress_bar_without_a_terminal(server, tmp_path, capfd):
    fetch(server.checkpoint(), tmp_path, patience=QUICK)
    assert capfd.readouterr().err == ""
