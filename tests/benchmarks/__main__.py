"""``python -m tests.benchmarks``: tinygrad7 beside PyTorch, autograd, MyGrad and bare NumPy, in interleaved turns.

python -m tests.benchmarks                      # everything, 2 threads
python -m tests.benchmarks ops char-256 --rounds 21 --threads 1
python -m tests.benchmarks --device cuda        # on a GPU, beside PyTorch there; the bounds are for the CPU
"""

from __future__ import annotations

import argparse
import platform

import numpy as np

from tests.benchmarks import memory
from tests.benchmarks.harness import Worker, installed, measure
from tests.benchmarks.works import BY_NAME, WORKS

MEMORY = {
    "chain": "1,000,000-node chain, forward and backward (bound: 1024 bytes a node)",
    "unrolled": "saved memory of an unrolled tanh RNN, T = 200 (bounds: 1.05 and 1.1)",
    "start": "import tinygrad7 after NumPy (bound: 60 ms, nothing unwanted)",
    "scopes": "recording scopes for drawings in an unrolled RNN (bound: 1.01)",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("works", nargs="*", help=f"of {', '.join([*BY_NAME, *MEMORY])}; all if none is named")
    parser.add_argument("--rounds", type=int, default=11, help="interleaved rounds (default 11)")
    parser.add_argument("--turn", type=float, default=0.2, help="seconds of one engine's turn (default 0.2)")
    parser.add_argument("--threads", type=int, default=2, help="threads of BLAS and PyTorch (default 2)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where it runs (default cpu)")
    given = parser.parse_args()
    unknown = [name for name in given.works if name not in BY_NAME and name not in MEMORY]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}")
    on_host = given.device == "cpu"
    names = given.works or [*BY_NAME, *MEMORY]
    others = ("torch", "autograd", "mygrad") if on_host else ("torch",)
    engines = [e for e in others if installed(e)]
    missing = [e for e in others if e not in engines]
    print(
        f"Python {platform.python_version()}, NumPy {np.__version__}, {given.threads} thread(s), on {given.device}, "
        f"{given.rounds} rounds"
    )
    if missing:
        print(f"not installed, so not measured: {', '.join(missing)}")
    workers = {e: Worker(e, given.threads, given.device) for e in ("tinygrad7", *engines, *["numpy"] * on_host)}
    print(f"{'work':<14}{'µs a step':>12}  median of the rounds' ratios (tinygrad7 / engine){', bound' * on_host}")
    try:
        for work in (w for w in WORKS if w.name in names):
            chosen = {e: workers[e] for e in work.engines if e in workers}
            result = measure(work, chosen, given.rounds, given.turn)
            ratios = "  ".join(f"{e} {result.ratio('tinygrad7', e):.3f}" for e in chosen if e != "tinygrad7")
            bound = f"   ≤ {work.bound} × {work.against}" if on_host else ""
            if bound and work.against in chosen:
                bound += "  met" if result.ratio("tinygrad7", work.against) <= work.bound else "  NOT MET"
            print(f"{work.name:<14}{result.median('tinygrad7') * 1e6:>12,.0f}  {ratios}{bound}", flush=True)
    finally:
        for worker in workers.values():
            worker.close()
    for name in (n for n in MEMORY if n in names and on_host):
        figures = "  ".join(f"{key} {value:.3f}" for key, value in memory.fresh(name).items())
        print(f"{name:<14}{figures}   {MEMORY[name]}", flush=True)


if __name__ == "__main__":
    main()
