"""Samples over a Ray cluster: one actor per GPU, or per CPU where there is no GPU.

Ray is imported here only, and only when asked for. The dataset's folder (and `--checkpoint FILE`)
must be reachable under the same path on every node.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from lib.errors import Unavailable
from lib.evaluation.configurations import Configuration
from lib.evaluation.evaluator import UNMEASURABLE, Equipment, Evaluator, Result, reason_of
from lib.evaluation.split import Sample

_APP = Path(__file__).resolve().parents[2]

Task = tuple[Sample, Sequence[Configuration]]


class Worker:
    """What an actor is: an evaluator that answers with all results of a sample, or a reason."""

    def __init__(self, equipment: Equipment, run_model: str) -> None:
        self.evaluator = Evaluator(equipment, run_model)

    def evaluate(self, task: Task) -> tuple[Sample, list[Result], str | None]:
        """Results of one sample, and why there are no more of them if it cannot be measured."""
        sample, configurations = task
        results: list[Result] = []
        try:
            results.extend(self.evaluator.evaluate(sample, configurations))
        except UNMEASURABLE as error:
            return sample, results, reason_of(error)
        return sample, results, None


def spread(
    address: str, tasks: Sequence[Task], equipment: Equipment, run_model: str
) -> Iterator[tuple[Sample, list[Result], str | None]]:
    """Evaluate tasks on a cluster; answers come as they are ready.

    Args:
        address: of a Ray cluster, or `local` to start one on this machine.
        tasks: samples and what to measure of each.
        equipment: what each worker makes its evaluator of.
        run_model: the name by which configurations call its model.

    Raises:
        Unavailable: Ray is not installed, or the cluster cannot be reached.
    """
    try:
        import ray
        from ray.util import ActorPool
    except ImportError as error:
        raise Unavailable(f"--ray needs Ray: pip install ray ({error})") from error
    local = address == "local"
    if not local:
        _knock(address)
    # on this machine workers import the app where it lies; elsewhere it travels, without weights
    # that every node can download for itself
    environment = (
        {"env_vars": {"PYTHONPATH": str(_APP)}}
        if local
        else {"working_dir": str(_APP), "excludes": ["*.pt", "logs", "bin"]}
    )
    try:
        ray.init(
            address=address,  # `local` is Ray's word too: never a cluster that happens to run
            runtime_env=environment,
            include_dashboard=False if local else None,
            log_to_driver=False,
            logging_level="ERROR",
        )
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise Unavailable(
            f"cannot join the Ray cluster {address!r} ({reason}); if it wants a token, set "
            "RAY_AUTH_MODE=token here too"
        ) from error
    try:
        have = ray.cluster_resources()
        gpus = int(have.get("GPU", 0)) if equipment.device != "cpu" else 0
        places = gpus or int(have.get("CPU", 1))
        needs = {"num_gpus": 1} if gpus else {"num_cpus": 1}
        actor = ray.remote(**needs)(Worker)
        workers = [actor.remote(equipment, run_model) for _ in range(min(places, len(tasks)))]
        pool = ActorPool(workers)
        yield from pool.map_unordered(lambda worker, task: worker.evaluate.remote(task), tasks)
    except ray.exceptions.RayError as error:
        reason = " ".join(str(error).split())[:300]
        raise Unavailable(
            f"the Ray cluster failed ({reason}); what is measured is kept, run it again"
        ) from error
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """See quickly that something listens at HOST:PORT; Ray itself tries for minutes.

    Raises:
        Unavailable: nothing does.
    """
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not colon or not port.isdecimal():
        return  # `auto` and the like, for Ray to find
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise Unavailable(f"cannot reach the Ray cluster {address!r}: {error}") from error
