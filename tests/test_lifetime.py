"""What a graph keeps alive, and what it costs to free, to walk and to collect in."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tests.helpers import host, leaf
from tinygrad7 import walk
from tinygrad7.node import Node
from tinygrad7.tensor import Tensor


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Garbage that only the cycle collector could free stays."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive() -> int:
    return sum(isinstance(o, Node) for o in gc.get_objects())


# ---- lifetime, with the collector off ----------------------------------------------------------------------------


def programs() -> dict[str, Any]:
    def net(x: Tensor) -> Tensor:
        h = x
        for t in range(5):
            with tg.step(t):
                h = tg.tanh(h @ tg.tensor(np.eye(3)) + x[0]) * x
        return tg.logsumexp(tg.concatenate([h, tg.stack(list(tg.unstack(h)))]))

    return {
        "dropped without backward": lambda x: net(x),
        "backward": lambda x: net(x).backward(),
        "backward that retains": lambda x: net(x).backward(retain_graph=True),
        "gradients": lambda x: tg.gradients(net(x), x),
        "second order": lambda x: tg.gradients(tg.gradients(net(x), x, create_graph=True)[0].sum(), x),
        "hessian": lambda x: tg.hessian(lambda v: (tg.tanh(v) ** 2).sum())(x[0]),
        "checkpoint": lambda x: tg.checkpoint(net, x).backward(),
        "tape": lambda x: (tg.Tape(net(x)).cotangents(), str(tg.Tape(net(x)))),
        "error in backward": lambda x: pytest.raises(ValueError, (net(x) * x).backward),
        "error in forward": lambda x: pytest.raises(ValueError, lambda: (net(x) * x) @ tg.zeros((7, 7))),
    }


@pytest.mark.parametrize("name", programs())
def test_a_graph_dies_with_the_last_tensor_that_holds_it(name: str, no_collector: None) -> None:
    run = programs()[name]
    x = leaf(np.full((3, 3), 0.3))
    run(x)
    x.grad = None
    before = alive()
    for _ in range(3):
        run(x)
    assert alive() == before


def test_tensors_die_before_their_graph(no_collector: None) -> None:
    """A node keeps the arrays that its rules need, never the tensor that it made."""

    def tensors() -> int:
        return sum(isinstance(o, Tensor) for o in gc.get_objects())

    x = leaf()
    before = tensors()
    y = tg.exp(x)
    z = (y * y).sum()
    del y
    assert tensors() == before + 1
    z.backward()
    np.testing.assert_allclose(x.grad, 2 * np.exp(2 * host(x)))


def test_backward_drops_what_was_saved_as_it_goes() -> None:
    x = leaf()
    y = tg.exp(x)
    z = (y * y).sum()
    nodes = [z._node, z._node.parents[0], y._node]
    z.backward()
    assert all(node.saved is None for node in nodes)


@pytest.mark.host
def test_the_peak_of_backward_is_the_forwards() -> None:
    n, steps = 20_000, 100
    x = leaf(np.full(n, 0.1))
    tracemalloc.start()
    h = x
    for _ in range(steps):
        h = tg.tanh(h + x)
    loss = h.sum()
    del h
    forward, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    loss.backward()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert forward < (steps + 3) * n * 8  # tanh saves its output, add nothing
    assert peak <= 1.1 * forward


# ---- depth -------------------------------------------------------------------------------------------------------


@pytest.mark.host
def test_a_million_nodes_with_the_default_recursion_limit(no_collector: None) -> None:
    assert sys.getrecursionlimit() <= 1000 or "pytest" in sys.modules
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    try:
        x = leaf(1.0)
        y = x
        tracemalloc.start()
        for _ in range(1_000):
            y = y + 1.0
        bytes_a_node = tracemalloc.get_traced_memory()[0] / 1_000
        tracemalloc.stop()
        for _ in range(999_000):
            y = y + 1.0
        assert y.item() == 1_000_001.0
        y.backward()
        np.testing.assert_array_equal(x.grad, 1.0)
        assert bytes_a_node < 1024
        del y  # freed without recursion too
    finally:
        sys.setrecursionlimit(limit)


def test_deep_graphs_are_freed_walked_and_printed_without_recursion() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(20_000):
        y = y * 1.0
    assert len(tg.Tape(y)) == 20_001
    (g,) = tg.gradients(y, x)
    assert g.item() == 1.0
    z = y.detach() + 1
    del y
    assert z.item() == 2.0


@pytest.mark.parametrize("steps", [10, 100])
def test_a_loop_over_a_sequence_makes_one_buffer_however_long_it_is(
    steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    make = walk._buffer
    monkeypatch.setattr(walk, "_buffer", lambda *args: made.append(1) or make(*args))
    x = leaf(np.ones((steps, 4)))
    total: Any = 0.0
    for t in range(steps):
        total = total + x[t].sum()
    total.backward()
    assert len(made) == 1
    np.testing.assert_array_equal(x.grad, np.ones((steps, 4)))


@pytest.mark.host
def test_a_shared_weight_collects_in_one_buffer() -> None:
    w = leaf(np.ones(50_000))
    loss: Any = 0.0
    for _ in range(20):
        loss = loss + (w * 2.0).sum()
    tracemalloc.start()
    loss.backward()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 * w.data.nbytes
    np.testing.assert_array_equal(w.grad, np.full(50_000, 40.0))
