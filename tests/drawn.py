"""Programs to draw, and a drawing read back from what Graphviz rendered: where its boxes really lie."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad7 as tg
from tinygrad7.draw import compose
from tinygrad7.draw.dot import attributes, write
from tinygrad7.draw.render import digraph
from tinygrad7.node import Leaf, Node


def rendered(source: str) -> dict[str, Any]:
    """What Graphviz makes of DOT text: its JSON. Raises where the text does not parse."""
    program = (
        shutil.which("dot") or shutil.which("graphviz-pure") or str(Path(sys.executable).with_name("graphviz-pure"))
    )
    done = subprocess.run([program, "-Tjson"], input=source.encode(), capture_output=True, check=True)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@dataclass
class Seen:
    """A drawing and its rendered boxes: name → (x, y, width, height) in points."""

    drawing: Any
    source: str
    json: dict[str, Any]
    places: dict[str, tuple[float, float, float, float]]

    def of(self, box: Any) -> tuple[float, float, float, float]:
        return self.places[f"n{box.number}"]


def look(y: Any, **options: Any) -> Seen:
    drawing = compose(y, **options)
    source = digraph(write(drawing), attributes(drawing)).source
    found = rendered(source)
    places = {}
    for item in found.get("objects", []):
        if "pos" in item and "width" in item:
            x, y_ = map(float, item["pos"].split(","))
            places[item["name"]] = (x, y_, 72 * float(item["width"]), 72 * float(item["height"]))
    return Seen(drawing, source, found, places)


def op_nodes(y: Any) -> list[Any]:
    return list(tg.Tape(y).nodes)


def leaf(rng: np.random.Generator, *shape: int, name: str) -> Any:
    return tg.tensor(rng.normal(size=shape) * 0.5, requires_grad=True, name=name)


# ---- the eight graphs of the golden files --------------------------------------------------------------------------


def diamond() -> Any:
    x = tg.tensor(2.0, requires_grad=True, name="x")
    return tg.exp(x) * tg.sin(x)


def mlp() -> Any:
    net = tg.nn.Sequential(tg.nn.Linear(3, 4, rng=0), tg.nn.Tanh(), tg.nn.Linear(4, 2, rng=0))
    return tg.cross_entropy(net(tg.tensor(np.ones((5, 3), "float32"), name="x")), np.array([0, 1, 0, 1, 1]))


def tanh_rnn(steps: int = 3, cut: int | None = None, loss: bool = True) -> Any:
    """The lecture's net: z = u x + w h, h = φ(z), y = v h, with one loss a step."""
    rng = np.random.default_rng(0)
    u, w, b, v = leaf(rng, 3, 4, name="u"), leaf(rng, 4, 4, name="w"), leaf(rng, 4, name="b"), leaf(rng, 4, 2, name="v")
    h = tg.tensor(np.zeros((1, 4)))
    total: Any = 0.0
    for t in range(steps):
        x = tg.tensor(rng.normal(size=(1, 3)), name=f"x({t})")
        with tg.step(t):
            if t == cut:
                h = tg.truncate(h)
            h = tg.tanh(x @ u + h @ w + b)
            if loss:
                y = h @ v
                total = total + tg.sum(y * y)
    return total if loss else tg.sum(h * h)


def truncated() -> Any:
    return tanh_rnn(4, cut=2)


def _sequence(layer: Any, steps: int) -> Any:
    y = layer(tg.tensor(np.ones((steps, 1, 3), "float32"), name="x"))[0]
    return tg.mean(y * y)


def lstm(steps: int = 2) -> Any:
    return _sequence(tg.nn.LSTM(3, 4, rng=0), steps)


def two_layers() -> Any:
    return _sequence(tg.nn.RNN(3, 4, 2, rng=0), 3)


def bidirectional() -> Any:
    return _sequence(tg.nn.RNN(3, 4, bidirectional=True, rng=0), 3)


def residual_stack(blocks: int = 3) -> Any:
    net = tg.nn.Sequential(*[tg.nn.ResidualBlock(4, rng=k) for k in range(blocks)])
    return tg.sum(net(tg.tensor(np.ones((5, 4), "float32"), name="x")))


GOLDEN: dict[str, tuple[Any, dict[str, Any]]] = {
    "diamond": (diamond, {}),
    "mlp": (mlp, {}),
    "tanh_rnn": (tanh_rnn, {}),
    "lstm_expanded": (lstm, {"expand": True}),
    "two_layers": (two_layers, {"expand": True}),
    "bidirectional": (bidirectional, {"expand": True}),
    "residual_stack": (residual_stack, {}),
    "truncated": (truncated, {}),
}


# ---- random programs with time ---------------------------------------------------------------------------------------

UNARY = (tg.tanh, tg.sin, tg.exp, tg.negative, tg.sigmoid)
BINARY = (tg.add, tg.multiply, tg.subtract, tg.maximum)


def random_recurrent(seed: int) -> Any:
    """A loop, or several: random bodies, states, layers, directions, cuts, modules, ops outside the steps."""
    r = random.Random(seed)
    params = [leaf(np.random.default_rng(k), 3, name=f"p{k}") for k in range(r.randint(1, 3))]
    steps = r.choice([1, 2, 3, 4, 5, 8])
    sequence = [tg.tensor(np.full(3, 0.1 * t), name=f"x{t}", requires_grad=r.random() < 0.2) for t in range(steps)]
    if r.random() < 0.3:
        sequence = list(tg.unstack(tg.stack(sequence) * params[0]))
    for _ in range(r.randint(1, 2)):
        sequence = _loop(r, params, sequence)
    ends = [tg.sum(v) for v in sequence] if r.random() < 0.5 else [tg.sum(tg.stack(sequence))]
    total = ends[0]
    for end in ends[1:]:
        total = total + end
    total = total + params[0].sum()
    return tg.tanh(total) if r.random() < 0.5 else total


def _loop(r: random.Random, params: list[Any], sequence: list[Any]) -> list[Any]:
    body = [(r.random() < 0.4, r.randrange(5), r.random(), r.random()) for _ in range(r.randint(1, 6))]
    state = [tg.tensor(np.zeros(3)) for _ in range(r.randint(1, 3))]
    if r.random() < 0.3:
        state[0] = tg.tanh(params[0] * 0.5)
    parts = r.random() < 0.3
    block, cut, backwards = r.random() < 0.4, r.randrange(8), r.random() < 0.3
    outputs: list[Any] = [None] * len(sequence)
    order = range(len(sequence))
    for t in reversed(order) if backwards else order:
        with tg.step(t):
            if t == cut:
                state = [s.detach() for s in state]
            pool = [sequence[t], *state, *params]
            for k, (unary, op, first, second) in enumerate(body):
                a, b = pool[int(first * len(pool))], pool[int(second * len(pool))]
                with tg.scope("cell" if block and k < 3 else "rest"):
                    pool.append(UNARY[op](a) if unary else BINARY[op % 4](a, b))
            if parts:
                pool.append(tg.stack(tg.unstack(pool[-1] * params[0])[::-1]))
            state = [pool[-1 - k % len(pool)] for k in range(len(state))]
        outputs[t] = pool[-1] if r.random() < 0.9 else tg.tanh(pool[-1])
    return outputs


def tape_edges(y: Any) -> dict[tuple[Any, Any], int]:
    """The edges of a tape, counted; the small nodes that pick an output stand for the op that they pick from."""
    from tinygrad7.op import PICKED

    found: dict[tuple[Any, Any], int] = {}
    for node in op_nodes(y):
        if isinstance(node, Leaf) or node.plan is PICKED:
            continue
        for parent in node.parents:
            source = parent.parents[0] if isinstance(parent, Node) and parent.plan is PICKED else parent
            found[source, node] = found.get((source, node), 0) + 1
    return found
