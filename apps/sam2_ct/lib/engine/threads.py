"""How many threads torch computes with in a server, which shares its cores with others.

Torch takes every core of the machine. It does not see that a container was given two of sixty-four
(threads that share a core wait for each other at every operation), that several GPUs have a queue
each whose threads add up, nor that the server has to answer meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import psutil
import torch

_SAID = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")  # torch reads both itself
_SPARE_FROM = 4  # cores, of which one is left to whatever else the server does
_CGROUPS = Path("/sys/fs/cgroup")


def settle_threads(queues: int, environment: Mapping[str, str] = os.environ) -> int:
    """Let torch compute with the threads that each of some queues gets; how many that are.

    Whoever has said it in the environment is obeyed.
    """
    if not any(environment.get(name, "").strip() for name in _SAID):
        torch.set_num_threads(threads_for(usable_cores(), queues))
    return torch.get_num_threads()


def threads_for(cores: int, queues: int) -> int:
    """Threads of each queue."""
    spare = 1 if cores >= _SPARE_FROM else 0
    return max(1, (cores - spare) // queues)


def usable_cores() -> int:
    """Physical cores that this process may use: of the machine, its affinity, its container."""
    cores = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # Linux
        cores = min(cores, len(os.sched_getaffinity(0)))
    share = cpu_quota()
    return cores if share is None else max(1, min(cores, int(share)))


def cpu_quota(root: Path = _CGROUPS, own: Path = Path("/proc/self/cgroup")) -> float | None:
    """Cores' worth of time that the control groups of this process leave it; None: no limit.

    Args:
        root: where control groups are mounted.
        own: file that names those of this process.
    """
    found = []
    for folder in _groups(root, own):
        for quota, period in (_version_2(folder), _version_1(folder)):
            if quota.isdecimal() and period.isdecimal():  # else `max` or −1: no limit
                found.append(int(quota) / int(period))
    return min(found, default=None)


def _groups(root: Path, own: Path) -> list[Path]:
    """The group's folder and those it lies in; in a container often the root alone is there."""
    folders = [root, root / "cpu"]
    if own.exists():
        for line in own.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            top = root / "cpu" if controllers else root
            inner = Path(path.lstrip("/"))
            folders += [top / inner, *(top / part for part in inner.parents)]
    return list(dict.fromkeys(folders))


def _version_2(folder: Path) -> tuple[str, str]:
    file = folder / "cpu.max"
    if not file.is_file():
        return "", ""
    quota, _, period = file.read_text().strip().partition(" ")
    return quota, period


def _version_1(folder: Path) -> tuple[str, str]:
    quota, period = folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us"
    if not (quota.is_file() and period.is_file()):
        return "", ""
    return quota.read_text().strip(), period.read_text().strip()
