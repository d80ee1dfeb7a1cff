"""The training loop: steps, evaluations, schedules, early stopping, checkpoints, a progress bar."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad7.backend import device_of, xp
from tinygrad7.context import no_grad
from tinygrad7.optim.hessian_free import HessianFree
from tinygrad7.random import generator
from tinygrad7.settings import check_whole
from tinygrad7.train.history import History
from tinygrad7.train.progress import Bar, Interruption
from tinygrad7.train.saving import Checkpoint
from tinygrad7.train.stopping import EarlyStopping

Loss = Callable[..., Any]


def evaluate(model: Any, loss: Loss, batches: Iterable[Any]) -> float:
    """The mean of ``loss(model, *batch)`` over ``batches``, each weighted by its size: no dropout, nothing recorded.

    Every module gets its own mode back. Raises ``ValueError`` for a training stream or no batches at all."""
    if getattr(batches, "training", False):
        raise ValueError(
            "evaluate: this is a training stream (shuffled, maybe warped): evaluate on one made with training=False"
        )
    modes = [(module, module.training) for module in model.modules()]
    total, count = 0.0, 0
    model.eval()
    try:
        with no_grad():
            for batch in batches:
                arguments = batch if isinstance(batch, tuple) else (batch,)
                size = len(arguments[0])
                total, count = total + loss(model, *arguments).item() * size, count + size
    finally:
        for module, mode in modes:
            module.training = mode
    if not count:
        raise ValueError("evaluate: there are no batches")
    return total / count


def fit(
    model: Any,
    optimizer: Any,
    batches: Any,
    loss: Loss,
    *,
    steps: int | None = None,
    epochs: int | None = None,
    validation: Iterable[Any] | Callable[[Any], float] | None = None,
    every: int | Callable[[int], bool] | None = None,
    schedule: Callable[[int], float] | None = None,
    stopping: EarlyStopping | None = None,
    checkpoint: Checkpoint | None = None,
    resume: bool = False,
    save_seconds: float = 20.0,
    progress: bool | Callable[[History], str] = True,
    on_evaluation: Callable[[History], None] | None = None,
) -> History:
    """Train ``model`` by ``optimizer`` on ``loss(model, *batch)`` for ``steps`` or ``epochs`` and return the history.

    ``batches``: a stream of ``tg.data`` or anything that can be iterated again and again. ``validation``: an
    evaluation stream, on which ``loss`` is averaged, or a function of the model; it runs after every ``every`` steps
    (or those for which the function ``every`` is true; by default after each epoch) and after the last.
    ``schedule`` becomes the optimizer's learning rate. ``stopping`` sees every validation value; at the end, however
    it came, the model has its best weights. ``progress``: a tqdm bar, with the text that a function gives.
    ``on_evaluation`` runs after every evaluation.

    With ``checkpoint`` the whole run is saved before the first step, after every evaluation, every ``save_seconds``,
    and at Ctrl-C, which then waits for the end of the step before it is raised. ``resume=True`` goes on from there bit
    for bit, if every generator in use is a part of the checkpoint or that of ``tg.seed``.

    Raises ``ValueError`` for neither steps nor epochs, no batches, training data as validation, stopping without
    validation; ``TypeError`` for a checkpoint with batches that know no position; ``FloatingPointError`` for a loss
    that is not finite, naming the step."""
    _check(optimizer, batches, steps, epochs, every, validation, stopping, checkpoint, resume)
    history = History()
    if schedule is not None:
        optimizer.lr = schedule
    if checkpoint is not None:
        checkpoint.add(model=model, optimizer=optimizer, batches=batches, history=history, random=generator(None))
        if stopping is not None:
            checkpoint.add(stopping=stopping)
        if resume:
            checkpoint.load()
        else:
            checkpoint.save()
    model.train()
    run = _Run(model, optimizer, batches, loss, steps, epochs, validation, every, stopping, checkpoint, history)
    run.save_seconds, run.on_evaluation = save_seconds, on_evaluation
    try:
        run.go(progress)
    finally:
        if stopping is not None and stopping.best is not None:
            stopping.restore(model)
            history.best_step = stopping.best_step
    return history


@dataclass
class _Run:
    """The loop of one ``fit``."""

    model: Any
    optimizer: Any
    batches: Any
    loss: Loss
    steps: int | None
    epochs: int | None
    validation: Any
    every: int | Callable[[int], bool] | None
    stopping: EarlyStopping | None
    checkpoint: Checkpoint | None
    history: History
    save_seconds: float = 20.0
    on_evaluation: Callable[[History], None] | None = None

    def go(self, progress: bool | Callable[[History], str]) -> None:
        """Whole epochs, the first of which may be the rest of one that was broken off, until the run is done."""
        total = self.steps
        if total is None and hasattr(self.batches, "__len__"):
            total = (self.epochs or 0) * len(self.batches)
        empty = 0  # the first may be a rest that holds no batch any more; two such have no end
        with Bar(total, self.history, progress) as bar, Interruption(self.checkpoint is not None) as interruption:
            while not self.done():
                before = self.history.step
                self.epoch(bar, interruption)
                empty = 0 if self.history.step > before else empty + 1
                if empty == 2:
                    raise ValueError(
                        "fit: a whole epoch gave no batch: is the data empty, or an iterator that is used up?"
                    )
            self.evaluate()

    def epoch(self, bar: Bar, interruption: Interruption) -> None:
        """The batches up to the end of an epoch, or of the run."""
        saved, begun = time.monotonic(), self.history.step > 0
        for batch in self.batches:
            begun = True
            self.step(batch)
            bar.advance()
            if self.due():
                self.evaluate()
            if interruption.asked or time.monotonic() - saved > self.save_seconds:
                self.save()
                saved = time.monotonic()
            if interruption.asked:
                raise KeyboardInterrupt
            if self.done():
                return
        self.history.epoch += begun
        if self.every is None:
            self.evaluate()

    def due(self) -> bool:
        """Whether an evaluation follows this step."""
        step = self.history.step
        return self.every(step) if callable(self.every) else self.every is not None and step % self.every == 0

    def done(self) -> bool:
        """Whether the run has ended: by its length or by early stopping."""
        history = self.history
        long = self.steps is not None and history.step >= self.steps
        return history.stopped or long or (self.epochs is not None and history.epoch >= self.epochs)

    def step(self, batch: Any) -> None:
        """Forward, backward, update."""
        arguments = batch if isinstance(batch, tuple | list) else (batch,)
        self.optimizer.zero_grad()
        loss = self.loss(self.model, *arguments)
        value = loss.item()
        if not math.isfinite(value):
            raise FloatingPointError(
                f"fit: the loss is {value} in step {self.history.step + 1}: try a smaller learning rate or clip_norm=, "
                "and look for the op that made it under tg.detect_anomaly()"
            )
        loss.backward()
        rate = self.optimizer.lr
        rate = rate(self.optimizer.steps) if callable(rate) else rate
        norm = self.optimizer.step()
        self.history.grad_norm.append(self.norm() if norm is None else norm)
        self.history.lr.append(rate)
        self.history.loss.append(value)

    def norm(self) -> float:
        """The gradient's norm, where no clipping has computed it."""
        squares: dict[str, Any] = {}  # summed where they are, so that the host waits once for each device
        for gradient in [p.grad for p in self.model.parameters() if p.grad is not None]:
            square = xp(gradient).vdot(gradient, gradient).astype(np.float64)
            place = device_of(gradient)
            squares[place] = squares[place] + square if place in squares else square
        return math.sqrt(sum(map(float, squares.values())))

    def evaluate(self) -> None:
        """The validation value, once a step at most; then save."""
        history, validation = self.history, self.validation
        if validation is None or (history.evaluated and history.evaluated[-1] == history.step):
            return
        value = validation(self.model) if callable(validation) else evaluate(self.model, self.loss, validation)
        history.evaluated.append(history.step)
        history.validation.append(value)
        if self.stopping is not None:
            history.stopped = self.stopping.update(value, self.model, step=history.step)
        if self.on_evaluation is not None:
            self.on_evaluation(history)
        self.save()

    def save(self) -> None:
        if self.checkpoint is not None:
            self.checkpoint.save()


def _check(
    optimizer: Any,
    batches: Any,
    steps: Any,
    epochs: Any,
    every: Any,
    validation: Any,
    stopping: Any,
    checkpoint: Any,
    resume: bool,
) -> None:
    if (steps is None) == (epochs is None):
        raise ValueError("fit: give either steps= or epochs=, how long to train")
    given = {"steps": steps, "epochs": epochs, "every": None if callable(every) else every}
    check_whole("fit", **{name: value for name, value in given.items() if value is not None})
    if not getattr(batches, "training", True):
        raise ValueError("fit: these batches are for evaluation (training=False), and training must not see them")
    if getattr(validation, "training", False):
        raise ValueError("fit: validation= is a training stream (shuffled, maybe warped): make one with training=False")
    if stopping is not None and validation is None:
        raise ValueError("fit: stopping= watches the validation value, so it needs validation=")
    if stopping is not None and stopping.evaluations and not resume:
        raise ValueError(
            "fit: this stopping= has watched another run, whose best weights it would restore: make a new EarlyStopping"
        )
    if isinstance(optimizer, HessianFree):
        raise TypeError(
            "fit: HessianFree takes functions, not gradients: call its step(forward, loss) in your own loop"
        )
    if checkpoint is None and resume:
        raise ValueError("fit: resume=True needs checkpoint=, the file to go on from")
    if checkpoint is not None and not hasattr(batches, "load_state_dict"):
        raise TypeError(
            f"fit: checkpoint= needs batches that know their position, tg.data.batches or bptt_batches, not a "
            f"{type(batches).__name__}"
        )
