"""Windows over a long sequence for truncated backpropagation through time.

The sequence is laid out as ``batch`` streams that run side by side. A window is the next stretch of all of them; the
state at its end is carried into the next one, and the graph is cut there (``tg.truncate``), so that memory and time a
step do not grow with the length of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinygrad7.backend import is_array, to_device, to_numpy
from tinygrad7.checkpoint import truncate
from tinygrad7.context import STATE
from tinygrad7.ops.shape import concatenate
from tinygrad7.random import generator
from tinygrad7.settings import check_whole
from tinygrad7.tensor import Tensor, tensor
from tinygrad7.tree import tree_map


class Windows:
    """What ``bptt_batches`` returns. ``state`` is the model's at the start of the next window, None at a beginning.

    Iterating gives ``(x, y)``, the rest of an epoch: indices ``x (k, B)`` and the targets ``y`` of the last steps of
    the window, those that no window before it had. ``epoch`` and ``position`` (steps done in it) say where it is."""

    training = True

    def __init__(self, sequence: np.ndarray, batch: int, k1: int, k2: int, rng: Any, shift: bool) -> None:
        self.sequence, self.batch, self.k1, self.k2, self.rng, self.shift = sequence, batch, k1, k2, rng, shift
        self.epoch = self.position = self.offset = 0
        self.state: Any = None
        self._carry = k1  # how far into the window at hand the next one starts
        self._new = k1  # how many of its steps have targets
        self._opened = False

    @property
    def steps(self) -> int:
        """Time steps in an epoch."""
        return (len(self.sequence) - 1 - self.offset) // self.batch

    def __len__(self) -> int:
        """Windows in an epoch."""
        return -(-self.steps // self.k1)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if not self._opened:
            self._opened = True
            if self.shift:
                self.offset = int(generator(self.rng).integers(min(self.k1, len(self.sequence) - self.batch)))
        while self.position < self.steps:
            end = min(self.position + self.k1, self.steps)
            start = max(0, self.position + self.k1 - self.k2)
            self._carry = max(0, end + self.k1 - self.k2) - start
            self._new, self.position = end - self.position, end
            yield self._window(start, end)
        self.epoch, self.position, self.state, self._opened = self.epoch + 1, 0, None, False

    def _window(self, start: int, end: int) -> tuple[Tensor, Tensor]:
        """Inputs of steps start ... end and the targets of the last ``_new``, a column for each stream."""
        streams = self.offset + np.arange(self.batch) * self.steps
        x = self.sequence[streams + np.arange(start, end)[:, None]]
        y = self.sequence[streams + np.arange(end - self._new, end)[:, None] + 1]
        device = STATE.get().device
        return Tensor(to_device(x, device)), Tensor(to_device(y, device))

    def unroll(self, model: Callable[[Any, Any], tuple[Any, Any]], x: Any) -> Any:
        """The outputs of ``model(x, state) -> (outputs, state)`` for the steps of the window that have targets.

        The state at the start of the next window is kept in ``self.state``, cut from the graph of this one."""
        if self._carry >= len(x):
            outputs, state = model(x, self.state)
            self.state = truncate(state)
            return outputs if self._new == len(x) else outputs[-self._new :]
        if self._carry == 0:
            outputs, _ = model(x, self.state)
            return outputs[-self._new :]
        first, state = model(x[: self._carry], self.state)
        second, _ = model(x[self._carry :], state)
        self.state = truncate(state)
        return concatenate([first, second])[-self._new :]

    def restart(self) -> None:
        """Go back to the beginning of the epoch, without a state."""
        self.position, self.state = 0, None

    def state_dict(self) -> dict[str, Any]:
        """Where the stream is: epoch, position, offset, the carried state, the generator."""
        return {
            "epoch": self.epoch,
            "position": self.position,
            "offset": self.offset,
            "opened": self._opened,
            "length": len(self.sequence),
            "batch": self.batch,
            "state": tree_map(lambda t: t.numpy().copy() if isinstance(t, Tensor) else t, self.state),
            "generator": generator(self.rng).bit_generator.state if self.shift else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to where ``state`` was taken. Raises ``ValueError`` if it belongs to a sequence of another length,
        or to another number of streams, for which position and state mean something else."""
        if state["length"] != len(self.sequence):
            raise ValueError(
                f"bptt_batches: the state belongs to a sequence of {state['length']} elements, this one has "
                f"{len(self.sequence)}: resume with the data of the first run"
            )
        if state["batch"] != self.batch:
            raise ValueError(
                f"bptt_batches: the state belongs to {state['batch']} streams, batch={self.batch} was asked for: "
                "resume with the batch of the first run"
            )
        self.epoch, self.position = int(state["epoch"]), int(state["position"])
        self.offset, self._opened = int(state["offset"]), bool(state["opened"])
        self.state = tree_map(lambda a: tensor(a) if is_array(a) else a, state["state"])
        if self.shift:
            generator(self.rng).bit_generator.state = state["generator"]


def bptt_batches(
    sequence: Any,
    *,
    batch: int,
    k1: int,
    k2: int | None = None,
    shift: bool = False,
    rng: np.random.Generator | int | None = None,
) -> Windows:
    """Windows of ``k1`` steps over ``batch`` parallel streams of a 1-d sequence of indices (teacher forcing).

    ::

        windows = bptt_batches(text, batch=32, k1=64)
        for x, y in windows:                            # x, y (k1, B): y is x one step later
            logits = windows.unroll(model, x)           # carries model's state over, cuts the graph
            loss = tg.cross_entropy(logits, y)

    With ``k2`` > ``k1`` the truncation slides: every ``k1`` steps the error of these steps goes back over ``k2`` steps
    (Williams and Peng, 1990). Then x has up to ``k2`` steps, y the last ``k1``, and the forward pass over the other
    ``k2 − k1`` is done again, with the present weights. With ``shift`` each epoch starts up to ``k1`` − 1 elements
    later, drawn from ``rng``, so that windows end elsewhere.

    Raises ``ValueError`` for a sequence that does not give every stream a step, or sizes that are no window."""
    if isinstance(sequence, Tensor):
        sequence = sequence.numpy()
    if not is_array(sequence) or sequence.ndim != 1:
        shape = getattr(sequence, "shape", type(sequence).__name__)
        raise ValueError(f"bptt_batches: the sequence must be a 1-d array of indices, not {shape}")
    k2 = k1 if k2 is None else k2
    check_whole("bptt_batches", batch=batch, k1=k1, k2=k2)
    if k2 < k1:
        raise ValueError(f"bptt_batches: k2 ({k2}) must be at least k1 ({k1}), or some steps would have no gradient")
    if len(sequence) < batch + 1:
        raise ValueError(
            f"bptt_batches: {len(sequence)} elements are too few for {batch} streams of one step and its target: "
            f"at least {batch + 1} are needed, or a smaller batch"
        )
    return Windows(to_numpy(sequence), int(batch), int(k1), int(k2), rng if rng is None else generator(rng), shift)
