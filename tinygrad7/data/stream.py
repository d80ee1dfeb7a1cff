"""Batches of examples. A stream is for training or for evaluation, says so, and only the first kind is warped.

A training stream knows where it is: ``state_dict`` holds epoch, position, order and generator, so that a run that
was killed goes on with the very batch that would have come next.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tinygrad7.backend import is_array, to_device, to_numpy
from tinygrad7.context import STATE
from tinygrad7.data.augment import Transform
from tinygrad7.random import generator
from tinygrad7.settings import check_whole
from tinygrad7.tensor import Tensor


class Batches:
    """What ``batches`` returns. Iterating gives the rest of an epoch; ``epoch`` and ``position`` say where it is."""

    def __init__(
        self, arrays: list[np.ndarray], batch: int, training: bool, transforms: list[Transform], rng: Any, short: bool
    ) -> None:
        self.arrays, self.batch, self.training = arrays, batch, training
        self.transforms, self.rng, self.short = transforms, rng, short
        self.epoch = self.position = 0
        self._order: np.ndarray | None = None

    def __len__(self) -> int:
        """Batches in an epoch."""
        whole, rest = divmod(len(self.arrays[0]), self.batch)
        return whole + (1 if rest and self.short else 0)

    def __iter__(self) -> Iterator[Any]:
        if not self.training:
            for start in range(0, len(self.arrays[0]), self.batch):
                yield self._take(slice(start, start + self.batch))
            return
        if self._order is None:
            self._order = generator(self.rng).permutation(len(self.arrays[0]))
        usable = len(self) * self.batch
        while self.position < min(usable, len(self._order)):
            rows = self._order[self.position : self.position + self.batch]
            self.position += len(rows)
            yield self._take(rows)
        self.epoch, self.position, self._order = self.epoch + 1, 0, None

    def _take(self, rows: Any) -> Any:
        taken = [array[rows] for array in self.arrays]
        if self.transforms:
            if not STATE.get().recording:
                raise RuntimeError(
                    "batches: this stream warps its images, which is for training only, and nothing is recorded here, "
                    "as in an evaluation: evaluate on batches(..., training=False)"
                )
            for transform in self.transforms:
                taken[0] = transform._draw(taken[0], generator(self.rng))
        device = STATE.get().device
        tensors = tuple([Tensor(to_device(array, device)) for array in taken])
        return tensors if len(tensors) > 1 else tensors[0]

    def state_dict(self) -> dict[str, Any]:
        """Where the stream is: epoch, position, the order of this epoch, the generator."""
        return {
            "epoch": self.epoch,
            "position": self.position,
            "order": self._order,
            "generator": generator(self.rng).bit_generator.state,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to where ``state`` was taken. Raises ``ValueError`` if it belongs to another number of examples."""
        order = state["order"]
        if order is not None and len(order) != len(self.arrays[0]):
            raise ValueError(
                f"batches: the state belongs to {len(order)} examples, this stream has {len(self.arrays[0])}: "
                "resume with the data of the first run"
            )
        self.epoch, self.position, self._order = int(state["epoch"]), int(state["position"]), order
        generator(self.rng).bit_generator.state = state["generator"]


def batches(
    *arrays: Any,
    batch: int,
    training: bool = True,
    augment: Sequence[Transform] | Transform = (),
    rng: np.random.Generator | int | None = None,
    drop_last: bool = False,
) -> Batches:
    """A stream of batches of ``arrays`` (equal lengths): tuples of constant tensors, or tensors if there is one array.

    Training streams are shuffled anew each epoch by ``rng`` (a generator, a seed, or None: the one of ``tg.seed``) and
    may pass their first array through ``augment``, transforms of ``tg.data.augment``. ``for`` runs to the end of the
    epoch; after a ``break`` the next ``for`` goes on with the batch that would have come next. Evaluation streams,
    ``training=False``, give every example once, in order, untouched, from the start each time: they refuse ``augment``,
    ``rng`` and ``drop_last``. ``drop_last`` leaves out a last batch that is not full.

    Raises ``ValueError`` for no examples, unequal lengths, a batch below 1 or larger than all with ``drop_last``;
    ``TypeError`` for what is no array."""
    plain = [_array(a, i) for i, a in enumerate(arrays)]
    transforms = [augment] if isinstance(augment, Transform) else list(augment)
    _check(plain, batch, drop_last)
    for transform in transforms:
        if not isinstance(transform, Transform):
            raise TypeError(
                f"batches: augment takes transforms such as tg.data.augment.flip(), not {type(transform).__name__}"
            )
    if not training and (transforms or rng is not None or drop_last):
        what = "augment" if transforms else "rng" if rng is not None else "drop_last"
        raise ValueError(
            f"batches: {what}= is for training data; evaluation (training=False) sees every example once, as it is"
        )
    if transforms:
        for transform in transforms:
            transform._check(plain[0])
    return Batches(plain, int(batch), training, transforms, _own(rng), not drop_last)


def _own(rng: Any) -> Any:
    """A seed becomes one generator that lives as long as the stream; None stays the one of ``tg.seed``."""
    return rng if rng is None else generator(rng)


def _array(value: Any, index: int) -> np.ndarray:
    if isinstance(value, Tensor):
        if value.requires_grad:
            raise TypeError(f"batches: array {index} needs a gradient, data does not: give t.numpy()")
        value = value.numpy()
    if not is_array(value) or value.ndim == 0:
        raise TypeError(
            f"batches: argument {index} is {type(value).__name__}; arrays with examples along axis 0 are needed"
        )
    found: np.ndarray = to_numpy(value)
    return found


def _check(arrays: list[np.ndarray], batch: int, drop_last: bool) -> None:
    if not arrays:
        raise ValueError("batches: no arrays; give at least one, with the examples along axis 0")
    lengths = [len(a) for a in arrays]
    if len(set(lengths)) > 1:
        raise ValueError(f"batches: arrays of {' and '.join(map(str, lengths))} examples; all need the same number")
    if not lengths[0]:
        raise ValueError("batches: there are no examples, every batch would be empty")
    check_whole("batches", batch=batch)
    if drop_last and batch > lengths[0]:
        raise ValueError(f"batches: {lengths[0]} examples fill no batch of {batch}, and drop_last leaves out the rest")
