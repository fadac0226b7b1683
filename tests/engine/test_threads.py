"""A server's share of the cores: of the machine, of a container, between queues."""

import threading
from pathlib import Path

import pytest
import torch

from lib.engine import threads
from lib.engine.threads import cpu_quota, settle_threads, threads_for, usable_cores


@pytest.fixture(autouse=True)
def _as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("cores", "queues", "expected"),
    [(1, 1, 1), (2, 1, 2), (4, 1, 3), (16, 1, 15), (16, 2, 7), (8, 8, 1), (2, 4, 1)],
)
def test_one_core_is_left_and_the_rest_shared_out(cores, queues, expected):
    assert threads_for(cores, queues) == expected


def test_a_worker_of_a_queue_computes_with_what_was_settled(monkeypatch):
    monkeypatch.setattr(threads, "usable_cores", lambda: 7)
    assert settle_threads(2, {}) == 3
    seen = []

    def work():
        torch.ones(8) @ torch.ones(8)
        seen.append(torch.get_num_threads())

    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
    assert seen == [3]


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_who_says_it_in_the_environment_is_obeyed(monkeypatch, name):
    monkeypatch.setattr(threads, "usable_cores", lambda: 16)
    torch.set_num_threads(2)
    assert settle_threads(1, {name: "2"}) == 2
    assert settle_threads(1, {name: ""}) == 15


def group(root: Path, own: Path, line: str, files: dict[str, str]) -> float | None:
    own.write_text(line)
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return cpu_quota(root, own)


@pytest.mark.parametrize(
    ("line", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "200000 100000"}, 2.0),
        ("0::/\n", {"cpu.max": "max 100000"}, None),
        ("0::/a/b\n", {"a/cpu.max": "150000 100000", "a/b/cpu.max": "max 100000"}, 1.5),
        ("0::/a/b\n", {"a/cpu.max": "800000 100000", "a/b/cpu.max": "300000 100000"}, 3.0),
        (
            "4:cpu,cpuacct:/docker/x\n3:memory:/docker/x\n",
            {"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"},
            4.0,
        ),
        (
            "4:cpu:/docker/x\n",
            {
                "cpu/docker/x/cpu.cfs_quota_us": "50000",
                "cpu/docker/x/cpu.cfs_period_us": "100000",
            },
            0.5,
        ),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("0::/gone\n", {}, None),
    ],
)
def test_a_containers_quota_is_read(tmp_path, line, files, expected):
    assert group(tmp_path / "cgroup", tmp_path / "own", line, files) == expected


@pytest.mark.parametrize(
    ("physical", "allowed", "quota", "expected"),
    [(8, 16, None, 8), (8, 3, None, 3), (8, 16, 2.5, 2), (8, 16, 0.5, 1), (None, 16, None, 16)],
)
def test_the_narrowest_limit_counts(monkeypatch, physical, allowed, quota, expected):
    monkeypatch.setattr(
        threads.psutil, "cpu_count", lambda logical=True: 16 if logical else physical
    )
    monkeypatch.setattr(
        threads.os, "sched_getaffinity", lambda _pid: set(range(allowed)), raising=False
    )
    monkeypatch.setattr(threads, "cpu_quota", lambda: quota)
    assert usable_cores() == expected
