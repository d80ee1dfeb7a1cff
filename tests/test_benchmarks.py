"""The benchmarks run, and the figures that do not depend on the machine's speed hold."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.benchmarks import memory
from tests.benchmarks.engine_tinygrad7 import WORKS as OURS
from tests.benchmarks.harness import Result, Worker, measure
from tests.benchmarks.works import BY_NAME, WORKS, inputs

pytestmark = pytest.mark.host


@pytest.mark.parametrize("name", [w.name for w in WORKS if w.name not in ("adds", "char-256", "loop-1000")])
def test_each_work_trains_or_repeats(name: str) -> None:
    step = OURS[name](inputs(name))
    losses = [step() for _ in range(3)]
    learns = name in ("char-64", "rnn", "rnn-unrolled", "residual", "mlp", "conv")
    assert losses[2] < losses[0] if learns else losses[0] == losses[1] == losses[2]


def test_engines_are_measured_turn_by_turn_and_must_agree() -> None:
    workers = {engine: Worker(engine, 1) for engine in ("tinygrad7", "numpy")}
    try:
        result = measure(BY_NAME["no-grad"], workers, rounds=2, turn=0.01)
        assert [len(seconds) for seconds in result.seconds.values()] == [2, 2]
        assert 0 < result.ratio("tinygrad7", "numpy") < 100
    finally:
        for worker in workers.values():
            worker.close()
    two = Result(BY_NAME["ops"], {"tinygrad7": [1.0, 2.0, 9.0], "torch": [2.0, 2.0, 3.0]})
    assert two.ratio("tinygrad7", "torch") == 1.0 and two.median("torch") == 2.0


def test_an_engine_that_computes_something_else_is_refused() -> None:
    class Told:
        def __init__(self, loss: float) -> None:
            self.loss = loss

        def ask(self, work: str, seconds: float) -> dict[str, list[float]]:
            return {"losses": [self.loss]}

    with pytest.raises(RuntimeError, match=r"ops: tinygrad7 computes the losses \[1.0\], torch \[1.1\]"):
        measure(BY_NAME["ops"], {"tinygrad7": Told(1.0), "torch": Told(1.1)}, 1, 0.01)  # type: ignore[dict-item]


def test_memory_bounds() -> None:
    assert memory.fresh("chain")["bytes a node"] < 1024
    found = memory.fresh("unrolled")
    assert found["kept / named"] <= 1.05 and found["peak / forward"] <= 1.1


def test_import_brings_nothing_unwanted() -> None:
    assert memory.fresh("start")["unwanted"] == 0


def test_the_command_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", "no-grad", "--rounds", "1", "--turn", "0.01", "--threads", "1"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "no-grad" in done.stdout and "≤ 3.5 × numpy" in done.stdout
    assert "on cpu" in done.stdout
    wrong = subprocess.run([sys.executable, "-m", "tests.benchmarks", "nonsense"], capture_output=True, text=True)
    assert wrong.returncode == 2 and "unknown: nonsense" in wrong.stderr
