"""The addition task: a plain tanh RNN, Hessian-free optimization, and SGD with clipping for comparison.

    python -m demos addition --length 50

Each of T steps shows a random number and a marker; two markers are set, one in the first tenth of the sequence and one
in the rest of its first half. At the end the net says the sum of the two marked numbers. What decides the answer was
seen up to T steps ago, so gradients that vanish or explode on the way make the task hard (Hochreiter and Schmidhuber,
1997); Martens and Sutskever (2011) solved it with Hessian-free optimization. As there, an answer is wrong when it is
off by more than 0.04, and the task is solved when fewer than 1 % of fresh sequences are answered wrongly.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

# Before NumPy is imported. The products are small: two BLAS threads that wait for each other gain at most a factor of
# 1.8 on a quiet machine and lose one of ten on a busy one.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import numpy as np  # noqa: E402

import tinygrad7 as tg  # noqa: E402

TOLERANCE, SOLVED = 0.04, 0.01


def sequences(T: int, B: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """``x (T, B, 2)``: numbers in [0, 1) and markers; ``y (B, 1)``: the sum of the two marked numbers."""
    x = np.zeros((T, B, 2), np.float32)
    x[:, :, 0] = rng.uniform(size=(T, B))
    first, case = max(T // 10, 1), np.arange(B)
    early, late = rng.integers(0, first, B), rng.integers(first, max(T // 2, first + 1), B)
    x[early, case, 1] = x[late, case, 1] = 1
    return x, (x[early, case, 0] + x[late, case, 0])[:, None]


class Adder(tg.nn.Module):
    """A tanh RNN that reads the sequence and a linear unit that answers at the end."""

    def __init__(self, hidden: int, rng: np.random.Generator) -> None:
        self.rnn = tg.nn.RNN(2, hidden, learn_initial_state=True, rng=rng)
        self.head = tg.nn.Linear(hidden, 1, rng=rng)
        # An orthogonal recurrence neither shrinks nor grows what it carries, at first; small inputs keep tanh linear.
        parameters = dict(self.named_parameters())
        parameters["rnn.weight_hh_l0"].assign(tg.nn.init.orthogonal((hidden, hidden), rng=rng))
        parameters["rnn.weight_ih_l0"].assign(rng.normal(size=(hidden, 2)) * 0.1)
        parameters["head.weight"].assign(rng.normal(size=(1, hidden)) * 0.1)
        parameters["head.bias"].assign([1.0])

    def forward(self, x: np.ndarray) -> tuple[Any, Any]:
        """The answers (B, 1) and the hidden states (T, B, H)."""
        states, _ = self.rnn(tg.tensor(x))
        return self.head(states[-1]), states


def evaluate(model: Adder, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Mean squared error, and the share of answers off by more than 0.04."""
    with tg.no_grad():
        error = model(x)[0].numpy() - y
    return float((error**2).mean()), float((abs(error) > TOLERANCE).mean())


def loss_on(y: np.ndarray) -> Callable[[Any], Any]:
    return lambda outputs: tg.mse_loss(outputs, tg.tensor(y))


def hessian_free(model: Adder, T: int, rng: np.random.Generator, *, batch: int, curvature: int) -> Callable[[], str]:
    """A function that takes one Hessian-free step on fresh sequences and says what it did."""
    optimizer = tg.optim.HessianFree(model.named_parameters(), damping=1.0, structural=0.1, iterations=100)

    def step() -> str:
        x, y = sequences(T, batch, rng)
        part, answers = np.ascontiguousarray(x[:, :curvature]), y[:curvature]
        did = optimizer.step(lambda: model(x), loss_on(y), curvature=(lambda: model(part), loss_on(answers)))
        return f"damping {did.damping:.1e}, {did.iterations} CG iterations, rho {did.rho:.2f}"

    return step


def gradient_descent(model: Adder, T: int, rng: np.random.Generator, *, batch: int, lr: float) -> Callable[[], str]:
    """A function that takes one step of SGD with momentum and clipping on fresh sequences."""
    optimizer = tg.optim.SGD(model.named_parameters(), lr, momentum=0.9, clip_norm=1.0)

    def step() -> str:
        x, y = sequences(T, batch, rng)
        optimizer.zero_grad()
        loss_on(y)(model(x)[0]).backward()
        return f"gradient norm {optimizer.step():.2g}"

    return step


def run(name: str, model: Adder, step: Callable[[], str], T: int, seconds: float, every: float = 5.0) -> bool:
    """Step until the task is solved or the time is over, printing how it goes."""
    x, y = sequences(T, 2000, np.random.default_rng(10_000))
    began = time.perf_counter()
    said, steps = 0.0, 0
    print(f"{name}: answering 1.0 always has mean squared error {((y - 1) ** 2).mean():.4f}")
    while True:
        did = step()
        steps += 1
        now = time.perf_counter() - began
        if now - said < every and now < seconds:
            continue
        said = now
        error, wrong = evaluate(model, x, y)
        print(f"{name}: {now:6.1f} s, {steps:5d} steps, test error {error:.6f}, wrong {wrong:6.1%}, {did}", flush=True)
        if wrong < SOLVED or now >= seconds:
            print(f"{name}: {'solved' if wrong < SOLVED else 'not solved'} T = {T} in {now:.0f} s")
            return wrong < SOLVED


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m demos addition", description=__doc__.partition("\n")[0])
    parser.add_argument("--length", type=int, default=50, metavar="T", help="steps of a sequence (default 50)")
    parser.add_argument("--minutes", type=float, default=2.0, help="for each optimizer (default 2)")
    parser.add_argument("--hidden", type=int, default=50)
    parser.add_argument("--batch", type=int, default=1000, help="sequences for a Hessian-free gradient")
    parser.add_argument("--curvature", type=int, default=300, help="sequences for its curvature products")
    parser.add_argument("--lr", type=float, default=0.01, help="learning rate of SGD")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["hf", "sgd"], help="one of the two optimizers")
    given = parser.parse_args(argv)
    for which in [given.only] if given.only else ["hf", "sgd"]:
        rng = np.random.default_rng(given.seed)
        model = Adder(given.hidden, rng)
        if which == "hf":
            step = hessian_free(model, given.length, rng, batch=given.batch, curvature=given.curvature)
        else:
            step = gradient_descent(model, given.length, rng, batch=100, lr=given.lr)
        name = "Hessian-free" if which == "hf" else f"SGD, lr {given.lr:g}"
        run(name, model, step, given.length, given.minutes * 60)
    return 0


if __name__ == "__main__":
    main()
