"""Schedules, state, and what is said of settings that do not fit."""

from __future__ import annotations

import copy
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tests.helpers import host, leaf
from tests.optimizing import MAKE, TORCH, give, network, one_step, train
from tinygrad7.optim import (
    SGD,
    Adam,
    Chain,
    Link,
    Optimizer,
    add_l1,
    add_l2,
    chain,
    clip_by_norm,
    clip_by_value,
    constant,
    cosine,
    decoupled_decay,
    momentum,
    nesterov,
    scale,
    scale_by_adam,
    scale_by_rms,
    step_decay,
    warmup,
)

# ---- schedules ---------------------------------------------------------------------------------------------------


def test_schedules() -> None:
    assert [constant(0.5)(t) for t in (0, 9)] == [0.5, 0.5]
    assert [step_decay(1.0, 10, 0.5)(t) for t in (0, 9, 10, 25)] == [1, 1, 0.5, 0.25]
    np.testing.assert_allclose([cosine(2.0, 10, 1.0)(t) for t in (0, 5, 10, 99)], [2, 1.5, 1, 1])
    np.testing.assert_allclose([warmup(1.0, 4)(t) for t in (0, 1, 3, 4, 9)], [0.25, 0.5, 1, 1, 1])
    np.testing.assert_allclose([warmup(step_decay(1.0, 2, 0.1), 2)(t) for t in range(5)], [0.5, 1, 1, 1, 0.1])
    assert (-constant(2.0))(0) == -2.0 and (3 * constant(2.0))(0) == 6.0
    assert repr(-warmup(cosine(0.1, 5), 2)) == "-1 * warmup(cosine(0.1, 5, 0), 2)"


def test_an_optimizer_follows_its_schedule() -> None:
    for schedule in (step_decay(1.0, 1, 0.5), lambda t: 0.5**t):
        p = leaf([0.0])
        optimizer = SGD([p], schedule)
        for _ in range(3):
            give(p, 1.0)
            optimizer.step()
        np.testing.assert_allclose(p, [-1.75])
        assert optimizer.lr(3) == 0.125


# ---- state -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", MAKE)
def test_a_resumed_run_is_the_same_bit_for_bit(key: str, tmp_path: Path) -> None:
    with np.load(TORCH) as data:
        w, loss = network(data)
        optimizer = MAKE[key](w.items())
        train(loss, optimizer, 7)
        w["b1"].grad = None
        optimizer.step()  # uneven counts
        np.savez(tmp_path / "state.npz", **{f"w/{k}": v.numpy() for k, v in w.items()}, **optimizer.state_dict())
        train(loss, optimizer, 7)

        v, loss = network(data)
        resumed = MAKE[key](v.items())
        with np.load(tmp_path / "state.npz", allow_pickle=False) as kept:
            for name, value in v.items():
                value.assign(kept[f"w/{name}"])
            resumed.load_state_dict({k: kept[k] for k in kept.files if not k.startswith("w/")})
        train(loss, resumed, 7)
    for name in w:
        np.testing.assert_array_equal(v[name], w[name])
    for name, value in optimizer.state_dict().items():
        np.testing.assert_array_equal(resumed.state_dict()[name], value)


@pytest.mark.parametrize(
    "copied", [lambda pair: pickle.loads(pickle.dumps(pair)), copy.deepcopy], ids=["pickle", "copy"]
)
def test_a_copied_optimizer_goes_on_with_its_copied_parameters(copied: Any) -> None:
    p = leaf([1.0, 2.0], "p")
    optimizer = Adam([p], warmup(2.0 * cosine(0.05, 10), 2))
    give(p, 1.0)
    optimizer.step()
    q, other = copied((p, optimizer))
    for parameter, stepped in ((p, optimizer), (q, other)):
        give(parameter, -0.5)
        stepped.step()
    np.testing.assert_array_equal(p, q)
    give(q, 1.0)
    other.step()
    assert not np.array_equal(host(p), host(q))


def test_state_is_a_copy() -> None:
    p = leaf([1.0], "p")
    optimizer = SGD([p], 0.1, momentum=0.9)
    give(p, 1.0)
    optimizer.step()
    state = optimizer.state_dict()
    optimizer.step()
    assert state["p.momentum"] == 1.0 and state["steps"] == 1


def test_state_holds_a_rate_that_was_set_and_no_schedule() -> None:
    optimizer, other = SGD([leaf([1.0])], 0.1), SGD([leaf([1.0])], 0.1)
    optimizer.lr = 0.025
    other.load_state_dict(optimizer.state_dict())
    assert other.lr == 0.025
    assert "lr.0" not in SGD([leaf([1.0])], constant(0.1)).state_dict()


def test_two_links_of_a_kind_keep_apart() -> None:
    optimizer = Optimizer([leaf([1.0], "p")], chain(momentum(0.5), momentum(0.9), scale(-1.0)))
    assert {"p.momentum_0", "p.momentum_1"} < set(optimizer.state_dict())


def test_state_that_does_not_fit_is_refused() -> None:
    p = leaf([1.0, 2.0], "p")
    state = Adam([p]).state_dict()
    with pytest.raises(KeyError, match=r"missing \['p.momentum'\], unknown \['p.adam_m', 'p.adam_v'\]"):
        SGD([p], 0.1, momentum=0.9).load_state_dict(state)
    with pytest.raises(ValueError, match=r"'p.adam_m' has shape \(2,\), expected \(3,\)"):
        Adam([leaf([1.0, 2.0, 3.0], "p")]).load_state_dict(state)


# ---- errors ------------------------------------------------------------------------------------------------------


def test_errors_of_parameters() -> None:
    p = leaf([1.0], "p")
    with pytest.raises(ValueError, match="'p' is given twice"):
        SGD([p, p], 0.1)
    with pytest.raises(ValueError, match="'p' is given twice"):
        SGD([{"params": [p]}, {"params": [p]}], 0.1)
    with pytest.raises(ValueError, match="no parameters"):
        SGD([], 0.1)
    with pytest.raises(TypeError, match=r"got a Tensor; of a module pass module.parameters\(\)"):
        SGD(p, 0.1)
    with pytest.raises(TypeError, match=r"module.parameters\(\)"):
        SGD(tg.nn.Linear(2, 2), 0.1)
    with pytest.raises(TypeError, match="parameter 0 is a ndarray, not a tensor"):
        SGD([np.ones(2)], 0.1)
    with pytest.raises(TypeError, match=r"of shape \(1,\) is a constant: make it with requires_grad=True"):
        SGD([tg.tensor([1.0])], 0.1)
    with pytest.raises(TypeError, match="is a recorded result; optimizers change leaves only"):
        SGD([p * 2], 0.1)
    with pytest.raises(TypeError, match="groups must all be dicts"):
        SGD([{"params": [p]}, leaf([1.0])], 0.1)
    with pytest.raises(TypeError, match="unknown option 'learning_rate'"):
        SGD([{"params": [p], "learning_rate": 1.0}], 0.1)


def test_errors_of_chains() -> None:
    with pytest.raises(TypeError, match=r"chain: 0\.1 is no link"):
        chain(0.1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a chain of links is needed"):
        Optimizer([leaf([1.0])], None)
    for later in (scale_by_adam(), momentum(0.9), clip_by_norm(1.0)):
        with pytest.raises(ValueError, match=f"before {type(later).__name__}.*move decoupled_decay"):
            chain(decoupled_decay(0.1), later, scale(-0.1))
    with pytest.raises(AttributeError, match=r"no scale\(-lr\) link"):
        Optimizer([leaf([1.0])], chain(momentum(0.9))).lr
    with pytest.raises(NotImplementedError):
        one_step(lambda p: Optimizer(p, Chain([Link()])), [1.0], 1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: clip_by_norm(0.0), r"clip_by_norm: eta must lie in \(0, inf\), got 0"),
        (lambda: clip_by_norm(1.0, nonfinite="pass"), "nonfinite must be 'raise' or 'skip', got 'pass'"),
        (lambda: clip_by_value(-1.0), r"clip_by_value: eta must lie in \(0, inf\), got -1"),
        (lambda: add_l2(-0.1), r"add_l2: lam must lie in \[0, inf\), got -0.1"),
        (lambda: add_l1(-0.1), "add_l1: lam"),
        (lambda: decoupled_decay(math.nan), "decoupled_decay: lam .* got nan"),
        (lambda: momentum(1.0), r"momentum: mu must lie in \[0, 1\), got 1"),
        (lambda: nesterov(-0.5), "nesterov: mu"),
        (lambda: scale_by_rms(1.5), r"scale_by_rms: beta must lie in \[0, 1\)"),
        (lambda: scale_by_adam(beta2=1.0), "scale_by_adam: beta2"),
        (lambda: scale_by_adam(eps=-1.0), "scale_by_adam: eps"),
        (lambda: scale(math.inf), "scale: the factor must be a finite number or a schedule, got inf"),
        (lambda: SGD([leaf([1.0])], -0.1), r"SGD: lr must lie in \[0, inf\), got -0.1"),
        (lambda: SGD([leaf([1.0])], 0.1, nesterov=True), "nesterov=True needs momentum="),
        (lambda: step_decay(1.0, 0), "step_decay: every must be at least 1"),
        (lambda: cosine(1.0, 0), "cosine: steps must be at least 1"),
        (lambda: warmup(1.0, 0), "warmup: steps must be at least 1"),
    ],
)
def test_errors_of_numbers(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
    with pytest.raises(TypeError, match="mu must be a number or a schedule, got 'big'"):
        momentum("big")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, "0.1", True])
def test_a_rate_that_is_set_is_checked_as_one_that_is_given(value: Any) -> None:
    optimizer = SGD([leaf([1.0])], 0.5)
    with pytest.raises((TypeError, ValueError), match="lr: the rate must|the factor must be a finite number"):
        optimizer.lr = value
    assert optimizer.lr == 0.5


def test_host_values_of_state() -> None:
    """The state is NumPy arrays and numbers, whatever the device."""
    p = leaf([1.0], "p")
    give(p, 1.0)
    optimizer = Adam([p], 0.1)
    optimizer.step()
    assert all(isinstance(v, np.ndarray | int | float) for v in optimizer.state_dict().values())
    assert host(p) is not None
