"""Memory and start-up figures of the engine, each in a fresh process: ``python -m tests.benchmarks.memory NAME``."""

from __future__ import annotations

import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc

import numpy as np


def chain(nodes: int = 1_000_000) -> dict[str, float]:
    """Bytes a node of a long chain, forward and backward, at the default recursion limit."""
    import tinygrad7 as tg

    x = tg.tensor(1.0, requires_grad=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    y = x
    for _ in range(nodes):
        y = y + 1.0
    y.backward()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert x.grad == 1.0
    return {"bytes a node": (after - before) * 1024 / nodes}


def unrolled(steps: int = 200, batch: int = 64, inputs: int = 64, hidden: int = 128) -> dict[str, float]:
    """What an unrolled tanh RNN keeps over the bytes that its rules name, and backward's peak over forward's."""
    import tinygrad7 as tg

    rng = np.random.default_rng(0)
    leaves = [
        tg.tensor(rng.normal(0, 0.1, s).astype("f4"), requires_grad=True)
        for s in ((inputs, hidden), (hidden, hidden), (hidden,))
    ]
    u, w, b = leaves
    xs = rng.normal(size=(steps, batch, inputs)).astype(np.float32)
    tg.tensor(1.0).sum()
    gc.collect()
    tracemalloc.start()
    h = tg.zeros((batch, hidden))
    for t in range(steps):
        with tg.step(t):
            h = tg.tanh(tg.tensor(xs[t]) @ u + h @ w + b)
    loss = (h * h).sum()
    forward = tracemalloc.get_traced_memory()[0]
    named = tg.Tape(loss).nbytes - sum(leaf.data.nbytes for leaf in (u, w))  # the weights are there anyway
    gc.collect()
    tracemalloc.reset_peak()
    loss.backward()
    return {"kept / named": forward / named, "peak / forward": tracemalloc.get_traced_memory()[1] / forward}


_UNWANTED = (  # what another package brings, and what takes milliseconds and is seldom needed
    *("hypothesis", "graphviz", "cupy", "tqdm", "matplotlib", "safetensors", "numpy.random", "importlib.resources"),
    *("difflib", "hashlib", "html", "subprocess", "tempfile", "zipfile"),
)


def start() -> dict[str, float]:
    """Milliseconds that ``import tinygrad7`` takes after NumPy, with compiled files there as after an installation."""
    code = (
        "import numpy, time, sys; t = time.perf_counter(); import tinygrad7; print((time.perf_counter() - t) * 1e3,"
        f" *[m for m in {_UNWANTED} if m in sys.modules])"
    )
    with tempfile.TemporaryDirectory() as compiled:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | {
            "PYTHONPYCACHEPREFIX": compiled
        }
        runs = [
            subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
            for _ in range(8)
        ]
    found = [run.stdout.split() for run in runs[1:]]
    return {"ms": sorted(float(words[0]) for words in found)[len(found) // 2], "unwanted": float(len(found[-1]) - 1)}


def scopes(rounds: int = 41) -> dict[str, float]:
    """What ``tg.step`` and module scopes cost in a training step of an unrolled RNN, as a ratio with and without."""
    import contextlib

    import tinygrad7 as tg

    rng = np.random.default_rng(0)
    u, w, b = (
        tg.tensor(rng.normal(0, 0.1, s).astype("f4"), requires_grad=True) for s in ((64, 128), (128, 128), (128,))
    )
    xs = [tg.tensor(x) for x in rng.normal(size=(100, 32, 64)).astype("f4")]

    def step(scope: object) -> float:
        begin = time.perf_counter()
        h = tg.zeros((32, 128))
        for t, x in enumerate(xs):
            with scope(t):  # type: ignore[operator]
                h = tg.tanh(x @ u + h @ w + b)
        (h * h).sum().backward()
        return time.perf_counter() - begin

    pairs = [(step(tg.step), step(lambda t: contextlib.nullcontext())) for _ in range(rounds)]
    ratios = sorted(a / b for a, b in pairs[1:])
    return {"with / without": ratios[len(ratios) // 2]}


NAMES = {"chain": chain, "unrolled": unrolled, "start": start, "scopes": scopes}


def fresh(name: str) -> dict[str, float]:
    """The figures of ``name`` from a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.memory", name], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)  # type: ignore[no-any-return]


if __name__ == "__main__":
    print(json.dumps(NAMES[sys.argv[1]]()))
