"""Engines side by side: one process each, turn by turn, so that a slow moment of the machine strikes all alike."""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks.works import Work


def installed(engine: str) -> bool:
    return importlib.util.find_spec(engine) is not None


class Worker:
    """An engine's process."""

    def __init__(self, engine: str, threads: int, device: str = "cpu") -> None:
        count = str(threads)
        limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), count)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.worker", engine, count, device],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **limits},
        )

    def ask(self, work: str, seconds: float) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{work} {seconds}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker ended with code {self.process.wait()} on {work}")
        return json.loads(line)  # type: ignore[no-any-return]

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


@dataclass
class Result:
    """Seconds per step of every round, by engine."""

    work: Work
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def ratio(self, engine: str, against: str) -> float:
        """The median over rounds of engine's time over the other's."""
        pairs = zip(self.seconds[engine], self.seconds[against], strict=True)
        return statistics.median(a / b for a, b in pairs)

    def median(self, engine: str) -> float:
        return statistics.median(self.seconds[engine])


def measure(work: Work, workers: dict[str, Worker], rounds: int, turn: float) -> Result:
    """``rounds`` interleaved turns of about ``turn`` seconds each, after a check that all engines agree on the loss."""
    losses = {engine: worker.ask(work.name, turn)["losses"] for engine, worker in workers.items()}
    first = losses["tinygrad7"]
    for engine, found in losses.items():
        for ours, theirs in zip(first, found, strict=True):
            if abs(ours - theirs) > work.tolerance * max(1.0, abs(theirs)):
                raise RuntimeError(f"{work.name}: tinygrad7 computes the losses {first}, {engine} {found}")
    result = Result(work, {engine: [] for engine in workers})
    for _ in range(rounds):
        for engine, worker in workers.items():
            result.seconds[engine].append(worker.ask(work.name, turn)["seconds"])
    return result
