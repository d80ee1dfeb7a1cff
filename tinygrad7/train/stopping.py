"""Early stopping: keep the weights that did best on validation data, and end when nothing better comes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad7.settings import check_number, check_whole


class EarlyStopping:
    """Watches a validation value, one ``update`` an evaluation.

    ``patience``: evaluations without improvement until ``update`` says stop. ``min_delta``: an improvement is by more
    than that. ``smoothing`` β: the curve is noisy (lecture, "Early Stopping"), so what is watched is
    sₖ = β sₖ₋₁ + (1 − β) vₖ, divided by 1 − βᵏ so that it starts unbiased; 0 watches the values themselves.
    ``mode``: 'min' or 'max'. The weights of the best evaluation are copied; ``restore`` puts them back, which
    ``tg.train.fit`` does however training ends. Raises ``ValueError`` for settings out of range."""

    def __init__(self, patience: int = 5, *, min_delta: float = 0.0, smoothing: float = 0.0, mode: str = "min") -> None:
        check_whole("EarlyStopping", patience=patience)
        check_number("EarlyStopping", min_delta=min_delta)
        check_number("EarlyStopping", below=1, smoothing=smoothing)
        if mode not in ("min", "max"):
            raise ValueError(f"EarlyStopping: mode must be 'min' or 'max', not {mode!r}")
        self.patience, self.min_delta, self.smoothing, self.mode = patience, min_delta, smoothing, mode
        self.best: float | None = None
        self.best_step: int | None = None
        self.waited = self.evaluations = 0
        self._sum = 0.0
        self._weights: dict[str, np.ndarray] | None = None

    def update(self, value: float, model: Any = None, *, step: int | None = None) -> bool:
        """Take the next validation value; True when training should stop. Raises ``ValueError`` for NaN,
        and for an infinite value where there is smoothing."""
        if math.isnan(value):
            raise ValueError("EarlyStopping: the validation value is nan; no weights can be the best by it")
        if self.smoothing and math.isinf(value):
            raise ValueError(f"EarlyStopping: the validation value is {value}, which no smoothing would ever forget")
        self.evaluations += 1
        self._sum = self.smoothing * self._sum + (1 - self.smoothing) * value
        smooth = self._sum / (1 - self.smoothing**self.evaluations)
        gain = math.inf if self.best is None else self.best - smooth if self.mode == "min" else smooth - self.best
        if gain > self.min_delta:
            self.best, self.best_step, self.waited = smooth, step if step is not None else self.evaluations, 0
            self._weights = None if model is None else model.state_dict()
        else:
            self.waited += 1
        return self.waited >= self.patience

    def restore(self, model: Any) -> None:
        """Give ``model`` the weights of the best evaluation. Raises ``RuntimeError`` if there are none."""
        if self._weights is None:
            raise RuntimeError("EarlyStopping: no weights to restore; call update(value, model) first")
        model.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        return {
            "best": self.best,
            "best_step": self.best_step,
            "waited": self.waited,
            "evaluations": self.evaluations,
            "sum": self._sum,
            "weights": self._weights,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.best_step = state["best"], state["best_step"]
        self.waited, self.evaluations, self._sum = state["waited"], state["evaluations"], state["sum"]
        self._weights = state["weights"]
