"""Which parameters an optimizer steps, and the flat buffer that it keeps them in."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import tinygrad7 as tg
from tests.helpers import leaf
from tests.optimizing import give
from tinygrad7.optim import (
    SGD,
    Adam,
    Optimizer,
    chain,
    scale,
)

# ---- which parameters --------------------------------------------------------------------------------------------


def test_a_parameter_without_gradient_is_skipped() -> None:
    a, b = leaf([1.0], "a"), leaf([1.0], "b")
    optimizer = Adam([a, b], 0.1, l2=0.1, decoupled_decay=0.1)
    alone = leaf([1.0], "b")
    reference = Adam([alone], 0.1, l2=0.1, decoupled_decay=0.1)
    for gradients in ((1.0, None), (1.0, 2.0), (None, 1.0), (None, None), (1.0, 1.0)):
        a.grad = b.grad = alone.grad = None
        before = b.numpy().copy()
        if gradients[0] is not None:
            give(a, gradients[0])
        if gradients[1] is not None:
            give(b, gradients[1])
            give(alone, gradients[1])
        optimizer.step()
        if gradients[1] is not None:
            reference.step()  # b's history is that of its own updates only
        np.testing.assert_array_equal(b, alone)
        if gradients[1] is None:
            np.testing.assert_array_equal(b, before)
    assert optimizer.state_dict()["counts"].tolist() == [3, 3]


def test_biases_and_norms_can_be_left_out_of_decay() -> None:
    for options in (dict(l2=0.5), dict(l1=0.5), dict(decoupled_decay=0.5)):
        for everything in (True, False):
            weight, bias = leaf(np.ones((2, 2))), leaf(np.ones(2))
            give(weight, 0.0), give(bias, 0.0)
            SGD([weight, bias], 0.1, decay_biases=everything, **options).step()
            np.testing.assert_allclose(weight, 0.95 * np.ones((2, 2)))
            np.testing.assert_allclose(bias, np.ones(2) * (0.95 if everything else 1.0))


def test_groups_have_options_of_their_own() -> None:
    a, b = leaf([1.0], "a"), leaf([1.0], "b")
    optimizer = SGD([{"params": [a]}, {"params": [("second", b)], "lr": 0.5, "l2": 1.0, "momentum": 0.9}], 0.1)
    give(a, 1.0), give(b, 1.0)
    optimizer.step()
    np.testing.assert_allclose([a.item(), b.item()], [0.9, 0.0])
    assert [group.names for group in optimizer.groups] == [["a"], ["second"]]
    assert [group.lr for group in optimizer.groups] == [0.1, 0.5]
    optimizer.lr = 0.2
    assert [group.lr for group in optimizer.groups] == [0.2, 0.2]


def test_setting_a_rate_does_not_reach_into_another_optimizer() -> None:
    rules = chain(scale(-0.1))
    a, b = Optimizer([leaf([1.0])], rules), Optimizer([leaf([1.0])], rules)
    a.lr = 0.7
    assert (a.lr, b.lr, repr(rules)) == (0.7, 0.1, "chain(scale(-0.1))")


def test_parameters_may_come_as_pairs_dict_or_generator() -> None:
    for params in ({"w": leaf([1.0])}, [("w", leaf([1.0]))], (pair for pair in [("w", leaf([1.0]))])):
        assert SGD(params, 0.1).groups[0].names == ["w"]
    assert SGD((leaf([1.0], name) for name in ("u", "v")), 0.1).groups[0].names == ["u", "v"]


def test_names_are_made_unique() -> None:
    a, b, c = leaf([1.0], "w"), leaf([1.0], "w"), leaf([1.0])
    assert len(set(SGD([a, b, c], 0.1).groups[0].names)) == 3


# ---- the flat buffer ---------------------------------------------------------------------------------------------


def test_parameters_are_views_of_one_array_and_keep_their_values() -> None:
    values = [np.arange(6.0).reshape(2, 3), np.array(7.0), np.zeros((0, 3)), np.ones(4)]
    params = [leaf(v) for v in values]
    optimizer = SGD(params, 0.1)
    for p, v in zip(params, values, strict=True):
        np.testing.assert_array_equal(p, v)
        assert p.shape == v.shape and p._node.data is p._value
    (block,) = optimizer.groups[0].blocks
    block.values[...] = 5.0
    for p in params:
        np.testing.assert_array_equal(p, np.full(p.shape, 5.0))


def test_mixed_dtypes_get_a_block_each() -> None:
    a, b = leaf(np.ones(3)), leaf(np.ones(3), dtype=np.float32)
    optimizer = Adam([a, b], 0.1)
    assert len(optimizer.groups[0].blocks) == 2
    give(a, 1.0), give(b, 1.0)
    optimizer.step()
    assert (a.dtype, b.dtype) == (np.float64, np.float32)
    np.testing.assert_allclose(a, b, rtol=1e-6)


def test_assign_writes_into_what_the_optimizer_steps_from() -> None:
    p = leaf([1.0, 2.0])
    optimizer = SGD([p], 0.1)
    p.assign([5.0, 6.0])
    give(p, 10.0)
    optimizer.step()
    np.testing.assert_allclose(p, [4.0, 5.0])


def test_two_optimizers_may_take_turns_on_one_parameter() -> None:
    p = leaf([0.0, 0.0])
    give(p, 1.0)
    first, second = SGD([p], 1.0, momentum=0.5), SGD([p], 10.0)
    for optimizer in (first, second, first, second):
        optimizer.step()
    np.testing.assert_allclose(p, [-1.0 - 10.0 - 1.5 - 10.0] * 2)


def test_a_deep_copy_is_independent() -> None:
    p = leaf([1.0])
    optimizer = SGD([p], 0.1, momentum=0.9)
    q = copy.deepcopy(p)
    for parameter in (p, q):
        give(parameter, 1.0)
    optimizer.step()
    np.testing.assert_allclose([p.item(), q.item()], [0.9, 1.0])
    SGD([q], 0.5).step()
    np.testing.assert_allclose([p.item(), q.item()], [0.9, 0.5])


def test_a_parameter_and_its_optimizer_copied_together_stay_together() -> None:
    p = leaf([1.0])
    give(p, 1.0)
    original = Adam([p], 0.1)
    original.step()
    held = {"p": p, "optimizer": original}
    copied = copy.deepcopy(held)
    assert copied["optimizer"].params[0] is copied["p"]
    for which in (held, copied):
        give(which["p"], 1.0)
        which["optimizer"].step()
    np.testing.assert_array_equal(copied["p"], p)
    assert not np.shares_memory(copied["p"].numpy(), p.numpy())


def test_a_parameter_that_changed_dtype_takes_its_history_along() -> None:
    p, q = leaf([1.0, 2.0]), leaf([1.0, 2.0])
    moved, plain = Adam([p], 0.1), Adam([q], 0.1)
    for _ in range(2):
        give(p, [1.0, -3.0]), give(q, [1.0, -3.0])
        moved.step(), plain.step()
        p._value = p._node.data = p._value.astype(np.float32)
    assert p.dtype == np.float32 and moved.state_dict()["counts"].tolist() == [2]
    np.testing.assert_allclose(p, q, rtol=1e-6)


def test_a_module_may_change_its_dtype_under_an_optimizer() -> None:
    layer = tg.nn.Linear(3, 2, rng=np.random.default_rng(0))
    optimizer = SGD(layer.named_parameters(), 1.0, momentum=0.5)
    expected = {name: p.numpy().astype(np.float64) for name, p in layer.named_parameters()}
    for moved in (1.0, 1.5):
        for name, p in layer.named_parameters():
            give(p, 1.0)
            expected[name] -= moved
        optimizer.step()
        layer.to(dtype="float64")
    assert all(p.dtype == np.float64 for p in optimizer.params)
    for name, p in layer.named_parameters():
        np.testing.assert_allclose(p, expected[name], rtol=1e-6)


def test_a_graph_recorded_before_the_step_refuses_to_run_backward_after_it() -> None:
    w = leaf([2.0, 3.0], "w")
    optimizer = SGD([w], 0.1)
    loss = (w * w).sum()
    loss.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match="'w', which an optimizer step has changed"):
        loss.backward()


def test_gradients_are_read_not_changed() -> None:
    p, q = leaf([1.0, 2.0]), leaf([1.0])
    give(p, 3.0), give(q, 3.0)
    Adam([p, q], 0.1, clip_norm=0.1, l2=0.5).step()
    np.testing.assert_array_equal(p.grad, [3.0, 3.0])


def test_a_gradient_in_another_memory_order() -> None:
    p = leaf(np.zeros((2, 3)))
    gradient = np.arange(6.0).reshape(3, 2).T
    p.grad = tg.tensor(np.zeros((3, 2)))._value.T
    p.grad[...] = tg.tensor(gradient)._value
    SGD([p], 1.0).step()
    np.testing.assert_array_equal(p, -gradient)


def test_zero_grad() -> None:
    p = leaf([1.0])
    give(p, 1.0)
    SGD([p], 1.0).zero_grad()
    assert p.grad is None
