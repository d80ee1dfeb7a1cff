"""Streams of batches: every example once, shuffled or in order, and a state to go on from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad7 as tg
from tinygrad7.data import augment, batches


def numbers(stream: Any) -> list[list[int]]:
    return [x.numpy().ravel().tolist() for x in stream]


@given(n=st.integers(1, 40), batch=st.integers(1, 12), drop_last=st.booleans(), seed=st.integers(0, 99))
def test_a_training_epoch_gives_every_example_once(n: int, batch: int, drop_last: bool, seed: int) -> None:
    if drop_last and batch > n:
        return
    stream = batches(np.arange(n), -np.arange(n), batch=batch, rng=seed, drop_last=drop_last)
    found = [(x.numpy(), y.numpy()) for x, y in stream]
    assert len(found) == len(stream)
    assert all((x == -y).all() for x, y in found)
    seen = sorted(np.concatenate([x for x, _ in found]).tolist())
    assert seen == list(range(n)) if not drop_last else len(seen) == n // batch * batch == len(set(seen))
    assert all(len(x) == batch for x, _ in found[:-1])


def test_shuffled_anew_each_epoch_and_alike_from_the_same_seed() -> None:
    first, second = batches(np.arange(50), batch=7, rng=3), batches(np.arange(50), batch=7, rng=3)
    one, two = numbers(first), numbers(first)
    assert one != two
    assert [one, two] == [numbers(second), numbers(second)]
    tg.seed(5)
    from_seed = numbers(batches(np.arange(50), batch=7))
    tg.seed(5)
    assert numbers(batches(np.arange(50), batch=7)) == from_seed


def test_evaluation_streams_keep_the_order_and_start_again() -> None:
    stream = batches(np.arange(10), batch=4, training=False)
    for x in stream:
        assert x.numpy().tolist() == [0, 1, 2, 3]
        break
    assert numbers(stream) == numbers(stream) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@given(stop=st.integers(0, 9), seed=st.integers(0, 9))
def test_a_stream_goes_on_where_its_state_was_taken(stop: int, seed: int) -> None:
    images = np.random.default_rng(0).random((11, 4, 4)).astype(np.float32)

    def make() -> Any:
        return batches(images, batch=3, augment=[augment.translate(1), augment.noise(0.1)], rng=seed)

    def endless(stream: Any) -> Any:
        while True:
            yield from stream

    whole = make()
    walk = endless(whole)
    for _ in range(stop):
        next(walk)
    state = whole.state_dict()
    rest = [next(walk).numpy() for _ in range(5)]
    other = make()
    other.load_state_dict(state)
    again = endless(other)
    for expected in rest:
        np.testing.assert_array_equal(next(again).numpy(), expected)


def test_batches_refuse_what_makes_no_batch() -> None:
    x = np.zeros((4, 2))
    with pytest.raises(ValueError, match="no arrays"):
        batches(batch=2)
    with pytest.raises(ValueError, match="4 and 3 examples"):
        batches(x, x[:3], batch=2)
    with pytest.raises(ValueError, match="every batch would be empty"):
        batches(x[:0], batch=2)
    with pytest.raises(ValueError, match="at least 1, not 0"):
        batches(x, batch=0)
    for size in (2.5, None, "2", True, float("inf")):
        with pytest.raises(ValueError, match=f"batches: batch must be a whole number of at least 1, not {size!r}$"):
            batches(x, batch=size)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not 2.0; write 2"):
        batches(x, batch=2.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="fill no batch of 5"):
        batches(x, batch=5, drop_last=True)
    with pytest.raises(TypeError, match="argument 1 is list"):
        batches(x, [1, 2, 3, 4], batch=2)
    with pytest.raises(TypeError, match="needs a gradient"):
        batches(tg.tensor(x, requires_grad=True), batch=2)
    with pytest.raises(ValueError, match="belongs to 3 examples"):
        other = batches(x[:3], batch=1)
        next(iter(other))
        batches(x, batch=2).load_state_dict(other.state_dict())
