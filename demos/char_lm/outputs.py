"""What a run leaves in its folder. Every file is replaced in one move, so none is ever found half written."""

from __future__ import annotations

import csv
import io
import itertools
from pathlib import Path
from typing import Any

import tinygrad7 as tg
from demos.char_lm.model import CharLM, bits
from tinygrad7.draw import RendererError, draw
from tinygrad7.train import History, write_atomically

DRAWN = 4  # time steps
FILES = ["checkpoint.npz", "metrics.csv", "samples.txt", "model.npz", "loss.png", "unrolled.svg"]


def set_aside(out: Path) -> Path | None:
    """Move what an earlier run left in ``out`` into a new folder there, and return that; None if there is nothing."""
    left = [out / name for name in FILES if (out / name).exists()]
    if not left:
        return None
    place = next(p for n in itertools.count(1) if not (p := out / f"earlier-{n}").exists())
    place.mkdir()
    for file in left:
        file.rename(place / file.name)
    return place


class Journal:
    """The samples written so far; a part of the checkpoint, so that a resumed run's file is the same."""

    def __init__(self) -> None:
        self.entries: list[str] = []

    def state_dict(self) -> dict[str, Any]:
        return {"entries": self.entries}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.entries = list(state["entries"])


def rows(history: History, characters: int) -> list[dict[str, Any]]:
    """A row for each evaluation; training figures are means since the one before. A step reads ``characters``."""
    found, before = [], 0
    for step, validation in zip(history.evaluated, history.validation, strict=True):
        count = step - before
        found.append(
            {
                "step": step,
                "characters": step * characters,
                "training_bits_per_character": f"{bits(sum(history.loss[before:step]) / count):.5f}",
                "validation_bits_per_character": f"{bits(validation):.5f}",
                "gradient_norm_before_clipping": f"{sum(history.grad_norm[before:step]) / count:.5f}",
                "learning_rate": f"{history.lr[step - 1]:.6g}",
            }
        )
        before = step
    return found


def write_tables(out: Path, history: History, journal: Journal, characters: int) -> None:
    """``metrics.csv`` and ``samples.txt``, as far as the run has come."""
    table, text = rows(history, characters), io.StringIO()
    writer = csv.DictWriter(text, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    write_atomically(out / "metrics.csv", text.getvalue().encode())
    write_atomically(out / "samples.txt", "\n".join(journal.entries).encode("utf-8", "backslashreplace"))


def plot(out: Path, history: History, title: str) -> str:
    """``loss.png``; what happened, in words."""
    try:
        import matplotlib
    except ImportError:
        return "loss.png was left out: it needs matplotlib (pip install matplotlib)"
    matplotlib.use("Agg")
    from matplotlib import pyplot

    window = max(1, history.step // 200)
    steps = range(window, history.step + 1, window)
    training = [bits(sum(history.loss[s - window : s]) / window) for s in steps]
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    axes.plot(list(steps), training, label="training", linewidth=1)
    axes.plot(list(history.evaluated), [bits(v) for v in history.validation], "o-", label="validation", markersize=3)
    if history.best_step is not None:
        axes.axvline(history.best_step, color="0.7", linestyle=":", label="the weights that were kept")
    axes.set(xlabel="step", ylabel="bits per character", title=title)
    axes.legend()
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=120)
    pyplot.close(figure)
    write_atomically(out / "loss.png", image.getvalue())
    return ""


def draw_step(out: Path, model: CharLM, settings: dict[str, Any], vocabulary: int, text: Any) -> str:
    """``unrolled.svg``: the graph of one training step over a few characters of ``text``, with values and bars."""
    drawn = CharLM.of(settings, vocabulary, unroll=True, rng=settings["seed"])
    drawn.load_state_dict(model.state_dict())
    logits, _ = drawn(text[:DRAWN, None])
    loss = tg.cross_entropy(logits, text[1 : DRAWN + 1, None])
    try:
        draw(loss, values=True, gradients=True, path=out / "unrolled.svg")
    except (ImportError, RendererError) as error:
        return f"unrolled.svg was left out: {error}"
    return ""
