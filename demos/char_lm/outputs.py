"""What a run leaves in its folder. Every file is replaced in one move, so none is ever found half written."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from demos.char_lm.model import CharLM, bits
from tinygrad7.train import History, write_atomically


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


def draw(out: Path, model: CharLM, settings: dict[str, Any], x: Any) -> str:
    """``unrolled.svg``: one training step over the few time steps of ``x`` (T + 1, B); what happened, in words."""
    return "unrolled.svg was left out"
