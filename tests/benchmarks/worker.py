"""One engine in a process of its own: reads a line ``work seconds`` and answers with losses and seconds per step."""

from __future__ import annotations

import gc
import importlib
import json
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from tests.benchmarks.works import inputs


def main(engine: str, threads: int, device: str) -> None:
    module = importlib.import_module(f"tests.benchmarks.engine_{engine}")
    if hasattr(module, "threads"):
        module.threads(threads)
    with module.on(device) if hasattr(module, "on") else nullcontext():
        answer(module.WORKS)


def answer(works: dict[str, Callable[[Any], Callable[[], float]]]) -> None:
    """Steps of the works that are asked for, until nothing more is."""
    name, step, count = "", None, 1
    for line in sys.stdin:
        wanted, seconds = line.split()
        if wanted != name:
            name, step = wanted, None
            gc.collect()
            step = works[wanted](inputs(wanted))
            losses = [step() for _ in range(3)]
            begin = time.perf_counter()
            step()
            count = max(1, round(float(seconds) / (time.perf_counter() - begin)))
            print(json.dumps({"losses": losses}), flush=True)
            continue
        assert step is not None
        step()  # warm after the other engines' turns
        begin = time.perf_counter()
        for _ in range(count):
            step()
        print(json.dumps({"seconds": (time.perf_counter() - begin) / count}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
