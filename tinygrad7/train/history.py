"""What a training run has done so far, in a few flat arrays: 10,000 steps take a quarter of a megabyte."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np


class History:
    """``loss``, ``grad_norm``, ``lr``: a number a step. ``evaluated``, ``validation``: step and value an evaluation.

    ``step`` and ``epoch`` count what is finished; ``stopped`` says that early stopping ended the run, ``best_step``
    which evaluation's weights the model has."""

    def __init__(self) -> None:
        self.loss, self.grad_norm, self.lr = array("d"), array("d"), array("d")
        self.evaluated, self.validation = array("q"), array("d")
        self.epoch = 0
        self.stopped = False
        self.best_step: int | None = None

    @property
    def step(self) -> int:
        """Training steps done."""
        return len(self.loss)

    def recent(self, steps: int = 100) -> float:
        """The mean loss of the last ``steps`` steps; nan before the first."""
        last = self.loss[-steps:]
        return sum(last) / len(last) if last else float("nan")

    def __repr__(self) -> str:
        told = f"History: {self.step} steps, {self.epoch} epochs, loss {self.recent():.4f}"
        return told + (f", validation {self.validation[-1]:.4f}" if self.validation else "")

    def state_dict(self) -> dict[str, Any]:
        columns = {name: np.array(getattr(self, name)) for name in _COLUMNS}
        return {**columns, "epoch": self.epoch, "stopped": self.stopped, "best_step": self.best_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, kind in _COLUMNS.items():
            setattr(self, name, array(kind, state[name].tolist()))
        self.epoch, self.stopped, self.best_step = state["epoch"], state["stopped"], state["best_step"]


_COLUMNS = {"loss": "d", "grad_norm": "d", "lr": "d", "evaluated": "q", "validation": "d"}
