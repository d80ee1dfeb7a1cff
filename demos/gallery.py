"""The lecture's pictures, drawn from running code: writes docs/gallery.md and its SVG files.

Every picture is the drawing of a tensor that the function below its title computes; the page shows that function, and
what the slide of that title says, beside the drawing. The slides are CSC413/2516, lecture 7 (Jimmy Ba).
"""

from __future__ import annotations

import argparse
import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad7 as tg


@dataclass(frozen=True)
class Picture:
    """One entry: the slide, what it says in formulas, what to look for in ours, and how it is drawn."""

    name: str
    slide: str
    says: str
    look: str
    make: Callable[[], Any]
    options: dict[str, Any]


PICTURES: list[Picture] = []


def picture(slide: str, says: str, look: str, **options: Any) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    def keep(make: Callable[[], Any]) -> Callable[[], Any]:
        PICTURES.append(Picture(make.__name__, slide, says, look, make, options))
        return make

    return keep


@picture(
    "Backprop Through Time",
    "Here's the unrolled computation graph. Notice the weight sharing.",
    "Steps are columns. u, v and w stand once, on rails that run under every step; h runs along its row.",
)
def unrolled() -> Any:
    u, v, w = (tg.tensor(value, requires_grad=True, name=name) for value, name in ((0.5, "u"), (1.5, "v"), (0.8, "w")))
    h: Any = tg.tensor(0.0, name="h(0)")
    loss: Any = 0.0
    for t, x in enumerate([1.0, -0.5, 2.0], start=1):
        with tg.step(t):
            z = u * tg.tensor(x, name=f"x({t})") + w * h
            h = tg.tanh(z)
            r = v * h
            y = tg.tanh(r)
            loss = loss + (y - 1.0) ** 2
    return loss


@picture(
    "Backprop Through Time",
    "L̄ = 1,   ȳ(t) = L̄ ∂L/∂y(t),   r̄(t) = ȳ(t) φ′(r(t)),   h̄(t) = r̄(t) v + z̄(t+1) w,   z̄(t) = h̄(t) φ′(z(t)),   "
    "ū = Σ z̄(t) x(t),   w̄ = Σ z̄(t+1) h(t)",
    "Values in blue, bars in red, the backward pass dashed against the forward's arrows. The colour of an edge is the "
    "size of what flows back through it.",
    values=True,
    gradients=True,
    backward=True,
)
def bars() -> Any:
    u, w = tg.tensor(0.5, requires_grad=True, name="u"), tg.tensor(0.8, requires_grad=True, name="w")
    h: Any = tg.tensor(0.0, name="h(0)")
    for t, x in enumerate([1.0, -0.5, 2.0], start=1):
        with tg.step(t):
            h = tg.tanh(u * tg.tensor(x, name=f"x({t})") + w * h)
    return (h - 1.0) ** 2


@picture(
    "Why Gradients Explode or Vanish",
    "With linear activations ∂h(T)/∂h(1) = w^(T−1): it explodes for w > 1 and vanishes for w < 1.",
    "w = 0.4: the arrows fade towards the first step.",
    gradients=True,
    fold=False,
)
def vanishing() -> Any:
    w, h = tg.tensor(0.4, requires_grad=True, name="w"), tg.tensor(1.0, requires_grad=True, name="h(0)")
    for t in range(1, 9):
        with tg.step(t):
            h = w * h
    return h


@picture(
    "Why Gradients Explode or Vanish",
    "With linear activations ∂h(T)/∂h(1) = w^(T−1): it explodes for w > 1 and vanishes for w < 1.",
    "w = 2.5: they turn red and thick.",
    gradients=True,
    fold=False,
)
def exploding() -> Any:
    w, h = tg.tensor(2.5, requires_grad=True, name="w"), tg.tensor(1.0, requires_grad=True, name="h(0)")
    for t in range(1, 9):
        with tg.step(t):
            h = w * h
    return h


@picture(
    "Long-Term Short Term Memory",
    "c(t) = f ∘ c(t−1) + i ∘ g,   h(t) = o ∘ tanh c(t)",
    "The memory c is the straight line on top, the hidden state h the one at the bottom; the four gates stand between.",
    expand=True,
    fold=False,
)
def memory() -> Any:
    lstm = tg.nn.LSTM(3, 4, rng=0)
    _, (h, _) = lstm(tg.tensor(np.ones((2, 1, 3), dtype="float32"), name="x"))
    return tg.sum(h * h)


@picture(
    "Long-Term Short Term Memory",
    "The LSTM architecture wants the short-term memory to last for a long time period.",
    "1,000 steps: the first two, the last two, and one box that says how much it folds. Here time runs down.",
    expand=True,
    time="TB",
)
def long_memory() -> Any:
    lstm = tg.nn.LSTM(3, 4, rng=0)
    _, (h, _) = lstm(tg.tensor(np.ones((1000, 1, 3), dtype="float32"), name="x"))
    return tg.sum(h * h)


@picture(
    "Deep Residual Networks",
    "z = W(1) x + b(1),   h = φ(z),   y = x + W(2) h.   We can string together a bunch of residual blocks.",
    "The way of x is one straight line; every block adds a side branch.",
)
def residual() -> Any:
    net = tg.nn.Sequential(*[tg.nn.ResidualBlock(4, rng=k) for k in range(3)])
    return tg.sum(net(tg.tensor(np.ones((5, 4), dtype="float32"), name="x")))


@picture(
    "Neural Machine Translation",
    "The network first reads and memorizes the sentence. When it sees the end token, it starts outputting the "
    "translation.",
    "Two loops, one after the other, with weights of their own.",
    fold=False,
)
def translation() -> Any:
    weights = [tg.tensor(np.eye(3) / k, requires_grad=True, name=f"W_{n}") for k, n in ((1, "encoder"), (2, "decoder"))]
    h: Any = tg.tensor(np.zeros((1, 3)))
    with tg.scope("encoder"):
        for t, word in enumerate(["the", "cat", "end"]):
            with tg.step(t):
                h = tg.tanh(tg.tensor(np.ones((1, 3)) * t, name=word) + h @ weights[0])
    loss: Any = 0.0
    with tg.scope("decoder"):
        for t, word in enumerate(["le", "chat"]):
            with tg.step(t):
                h = tg.tanh(h @ weights[1])
                loss = loss + tg.cross_entropy(h, tg.tensor(np.array([t]), name=word))
    return loss


@picture(
    "Recurrent neural nets",
    "The weights and biases are shared between all time steps.",
    "Truncated backprop: where the state is cut, the gradient stops.",
)
def truncated() -> Any:
    w = tg.tensor(np.eye(3) / 2, requires_grad=True, name="w")
    h: Any = tg.tensor(np.ones((1, 3)))
    loss: Any = 0.0
    for t in range(4):
        with tg.step(t):
            h = tg.tanh((tg.truncate(h) if t == 2 else h) @ w)
            loss = loss + tg.sum(h)
    return loss


@picture(
    "Recurrent neural nets",
    "Recurrent layers can be stacked, and run in both directions.",
    "Two directions share the columns; the lower one runs to the right, the upper one to the left.",
    expand=True,
    fold=False,
)
def both_directions() -> Any:
    rnn = tg.nn.RNN(3, 4, bidirectional=True, rng=0)
    y, _ = rnn(tg.tensor(np.ones((3, 1, 3), dtype="float32"), name="x"))
    return tg.mean(y * y)


@picture(
    "Language Modeling",
    "The model predicts a distribution, and we can train it with cross-entropy loss.",
    "Modules as boxes, with their shapes and parameters.",
    level="module",
)
def modules() -> Any:
    net = tg.nn.Sequential(
        tg.nn.Embedding(20, 8, rng=0), tg.nn.Linear(8, 16, rng=1), tg.nn.Tanh(), tg.nn.Linear(16, 20, rng=2)
    )
    return tg.cross_entropy(net(np.array([1, 2, 3])), np.array([2, 3, 4]))


@picture(
    "Why Gradients Explode or Vanish",
    "h(4) = f(f(f(h(1), x(2)), x(3)), x(4)): the derivative of an iterated function is a product.",
    "The graph of a gradient: the recorded backward pass stands above the forward pass and runs to the left.",
)
def gradient_of_the_loss() -> Any:
    w, h = tg.tensor(0.7, requires_grad=True, name="w"), tg.tensor(0.5)
    for t in range(3):
        with tg.step(t):
            h = tg.tanh(w * h)
    (w_bar,) = tg.gradients(h, [w], create_graph=True)
    return w_bar


def page() -> str:
    """The text of the gallery."""
    parts = [
        "# Gallery\n\nThe pictures of the lecture (CSC413/2516, lecture 7), from running code. "
        "`python -m demos gallery` makes this page anew.\n"
    ]
    for p in PICTURES:
        code = textwrap.dedent(inspect.getsource(p.make))
        code = code[re.search(r"^def ", code, re.M).start() :]  # type: ignore[union-attr]
        call = ", ".join(["loss", *[f"{key}={value!r}" for key, value in p.options.items()]])
        parts.append(
            f"## {p.name.replace('_', ' ').capitalize()}\n\n"
            f"| the slide “{p.slide}” | ours |\n|---|---|\n| {p.says} | {p.look} |\n\n"
            f"![{p.name}](gallery/{p.name}.svg)\n\n"
            f"<details><summary>the code</summary>\n\n```python\n{code}\nloss = {p.name}()\ntg.draw({call})\n```\n\n"
            "</details>\n"
        )
    return "\n".join(parts)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m demos gallery", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--to", type=Path, default=Path("docs"), help="folder of gallery.md (default: docs)")
    parser.add_argument("--format", choices=("svg", "png", "dot"), default="svg", help="what to draw (default: svg)")
    options = parser.parse_args(arguments)
    folder = options.to / "gallery"
    folder.mkdir(parents=True, exist_ok=True)
    for p in PICTURES:
        path = folder / f"{p.name}.{options.format}"
        tg.draw(p.make(), path=path, **p.options)
        if options.format == "svg":  # without the comments that Graphviz writes
            path.write_text(
                re.sub(r"<!--.*?-->\n?", "", path.read_text(encoding="utf-8"), flags=re.S), encoding="utf-8"
            )
        print(f"{path}  {path.stat().st_size / 1024:.0f} KiB  {p.look}")
    (options.to / "gallery.md").write_text(page(), encoding="utf-8")
    return 0
