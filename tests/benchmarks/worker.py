"""One engine in a process of its own: reads a line ``work seconds`` and answers with losses and seconds per step."""

from __future__ import annotations

import gc
import importlib
import json
import sys
import time

from tests.benchmarks.works import inputs


def main(engine: str, threads: int) -> None:
    module = importlib.import_module(f"tests.benchmarks.engine_{engine}")
    if hasattr(module, "threads"):
        module.threads(threads)
    name, step, count = "", None, 1
    for line in sys.stdin:
        wanted, seconds = line.split()
        if wanted != name:
            name, step = wanted, None
            gc.collect()
            step = module.WORKS[wanted](inputs(wanted))
            losses = [step() for _ in range(3)]
            begin = time.perf_counter()
            step()
            count = max(1, round(float(seconds) / (time.perf_counter() - begin)))
            print(json.dumps({"losses": losses}), flush=True)
            continue
        step()  # warm after the other engines' turns
        begin = time.perf_counter()
        for _ in range(count):
            step()
        print(json.dumps({"seconds": (time.perf_counter() - begin) / count}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
