"""Losses: fused against composed, extreme values, masks, and what they say of bad input. Dropout too."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad7 as tg
from tests.helpers import host, placed
from tests.standin import counting
from tinygrad7.messages import ShapeError
from tinygrad7.ops.loss import _composed
from tinygrad7.testing import check_gradients

Z = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, 1.0], [1.0, 1.0, 1.0], [-2.0, 0.0, 4.0]])
T = np.array([0, 2, 1, 2])


def leaf(value: Any, dtype: Any = "float64") -> tg.Tensor:
    return tg.tensor(np.asarray(value, dtype), requires_grad=True)


def plain_rows(z: np.ndarray, t: np.ndarray) -> np.ndarray:
    """−log softmax at the target, by the textbook."""
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    return -np.log(np.take_along_axis(p, t[..., None], -1)[..., 0])


# ---- cross-entropy -----------------------------------------------------------------------------------------------


def test_cross_entropy_is_minus_the_log_of_the_softmax_at_the_target() -> None:
    rows = plain_rows(Z, T)
    np.testing.assert_allclose(tg.cross_entropy(Z, T), rows.mean())
    np.testing.assert_allclose(tg.cross_entropy(leaf(Z), T, reduction="sum"), rows.sum())
    np.testing.assert_allclose(tg.cross_entropy(leaf(Z), T, reduction="none"), rows)
    np.testing.assert_allclose(tg.cross_entropy(leaf(np.stack([Z, Z])), np.stack([T, T])), rows.mean())


def test_its_gradient_is_softmax_minus_onehot() -> None:
    z = leaf(Z)
    tg.cross_entropy(z, T).backward()
    np.testing.assert_allclose(z.grad, (host(tg.softmax(Z)) - np.eye(3)[T]) / 4, atol=1e-15)


def test_probabilities_that_are_onehot_give_the_same() -> None:
    z, u = leaf(Z), leaf(Z)
    tg.cross_entropy(z, T).backward()
    tg.cross_entropy(u, np.eye(3)[T]).backward()
    np.testing.assert_allclose(z.grad, u.grad, atol=1e-15)


def test_gradients_reach_probabilities_that_need_them() -> None:
    t = leaf(np.full((4, 3), 1 / 3))
    tg.cross_entropy(leaf(Z), t).backward()
    np.testing.assert_allclose(t.grad, -host(tg.log_softmax(Z)) / 4)


@given(st.lists(st.booleans(), min_size=4, max_size=4).filter(any), st.sampled_from(["mean", "sum"]), st.booleans())
def test_masked_rows_count_neither_in_value_nor_in_gradient(mask: list[bool], reduction: str, soft: bool) -> None:
    kept = np.array(mask)
    poisoned = np.where(kept[:, None], Z, np.nan)
    targets = np.eye(3)[T] if soft else np.where(kept, T, -1)
    z, u = leaf(poisoned), leaf(Z[kept])
    masked = tg.cross_entropy(z, targets, mask=kept, reduction=reduction)
    alone = tg.cross_entropy(u, np.eye(3)[T[kept]] if soft else T[kept], reduction=reduction)
    np.testing.assert_allclose(masked, alone)
    masked.backward()
    alone.backward()
    np.testing.assert_allclose(host(z.grad)[kept], u.grad)
    np.testing.assert_array_equal(host(z.grad)[~kept], 0)


@pytest.mark.parametrize("soft", [False, True])
def test_masked_rows_count_in_no_derivative(soft: bool) -> None:
    mask, targets = [1, 0, 1, 0], np.eye(3)[T] if soft else T
    poisoned = Z.copy()
    poisoned[1], poisoned[3] = np.inf, np.nan
    masked = lambda z: tg.cross_entropy(z, targets, mask=mask)
    alone = lambda z: tg.cross_entropy(z, targets[::2])
    product = tg.hvp(masked, poisoned, np.cos(Z))
    np.testing.assert_allclose(host(product)[::2], tg.hvp(alone, Z[::2], np.cos(Z[::2])))
    np.testing.assert_array_equal(host(product)[1::2], 0)
    (g,) = tg.gradients(masked(z := leaf(poisoned)), [z], create_graph=True)
    np.testing.assert_array_equal(host(g)[1::2], 0)
    if soft:
        t = leaf(np.full((4, 3), 1 / 3))
        for g in tg.gradients(tg.cross_entropy(z, t, mask=mask), [z, t]):
            np.testing.assert_array_equal(host(g)[1::2], 0)
            assert np.isfinite(host(g)).all()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_loss_has_the_dtype_of_the_logits_by_its_reference_too(dtype: str, reduction: str) -> None:
    targets, mask = placed(np.eye(3)[T]), placed(np.array([True, False, True, True]))
    for f in (_composed, lambda z, *rest: tg.cross_entropy(z, rest[0], mask=rest[1], reduction=rest[2])):
        assert f(leaf(Z, dtype), targets, mask, reduction).dtype == dtype


def test_weights_between_0_and_1_weigh_rows() -> None:
    w = np.array([1.0, 0.5, 0.0, 0.25])
    np.testing.assert_allclose(tg.cross_entropy(leaf(Z), T, mask=w), (plain_rows(Z, T) * w).sum() / w.sum())
    check_gradients(lambda z: tg.cross_entropy(z, T, mask=w), Z)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logits_of_plus_and_minus_1000_are_safe(dtype: str) -> None:
    z = leaf([[1000.0, -1000.0], [-1000.0, 1000.0]], dtype)
    loss = tg.cross_entropy(z, np.array([0, 0]))
    loss.backward()
    assert loss.item() == 1000 and loss.dtype == dtype
    np.testing.assert_array_equal(z.grad, np.array([[0, 0], [-0.5, 0.5]], dtype))


@pytest.mark.parametrize("classes", [1, 2, 7, 8, 9, 11, 16, 17, 35])
def test_the_largest_logit_is_found_wherever_it_stands(classes: int) -> None:
    z = leaf(1000.0 * np.eye(classes))
    loss = tg.cross_entropy(z, np.arange(classes)[::-1].copy(), reduction="none")
    np.testing.assert_array_equal(loss, np.where(np.arange(classes) == classes - 1 - np.arange(classes), 0, 1000))
    np.testing.assert_array_equal(tg.cross_entropy(z, np.eye(classes)), 0)


def test_a_class_that_is_ruled_out_by_minus_infinity_is_safe() -> None:
    z = leaf([[0.0, -np.inf, 0.0]])
    for targets in (np.array([0]), np.array([[0.5, 0.0, 0.5]])):
        z.grad = None
        loss = tg.cross_entropy(z, targets)
        loss.backward()
        assert math.isclose(loss.item(), math.log(2))
        assert np.isfinite(host(z.grad)).all()


def test_second_derivatives_go_through_its_reference() -> None:
    h = host(tg.hessian(lambda z: tg.cross_entropy(z, np.array(1)))(np.array([0.3, -0.2, 0.5])))
    p = host(tg.softmax(np.array([0.3, -0.2, 0.5])))
    np.testing.assert_allclose(h, np.diag(p) - np.outer(p, p), atol=1e-12)


CROSS_ENTROPY_ERRORS = {
    "reduction must be 'mean', 'sum' or 'none', not 'avg'": (
        ValueError,
        lambda: tg.cross_entropy(Z, T, reduction="avg"),
    ),
    "targets run from 0 to 3, but there are 3 classes: 0 to 2": (
        IndexError,
        lambda: tg.cross_entropy(Z, T + [0, 1, 0, 0]),
    ),
    "targets run from -1 to 2": (IndexError, lambda: tg.cross_entropy(Z, T - [1, 0, 0, 0])),
    r"class indices must have shape \(4,\) for logits \(4, 3\), not \(3,\)": (
        ShapeError,
        lambda: tg.cross_entropy(Z, T[:3]),
    ),
    "one-hot targets must be floats": (ShapeError, lambda: tg.cross_entropy(Z, np.eye(3, dtype=int)[T])),
    "class indices must be integers: targets.astype": (ShapeError, lambda: tg.cross_entropy(Z, T.astype(float))),
    r"probabilities must have the shape of the logits, \(4, 3\), not \(4, 2\)": (
        ShapeError,
        lambda: tg.cross_entropy(Z, np.ones((4, 2))),
    ),
    "targets are booleans": (TypeError, lambda: tg.cross_entropy(Z, T > 0)),
    "logits must be floats, not int64": (TypeError, lambda: tg.cross_entropy(Z.astype("int64"), T)),
    r"logits have shape \(\)": (ShapeError, lambda: tg.cross_entropy(np.array(1.0), np.array(0))),
    r"logits of shape \(0, 3\) hold no row; is the batch empty": (
        ValueError,
        lambda: tg.cross_entropy(np.ones((0, 3)), T[:0]),
    ),
    r"mask must have shape \(4,\) for logits \(4, 3\), not \(4, 1\)": (
        ShapeError,
        lambda: tg.cross_entropy(Z, T, mask=np.ones((4, 1))),
    ),
    "the mask keeps nothing": (ValueError, lambda: tg.cross_entropy(Z, T, mask=np.zeros(4))),
}


@pytest.mark.parametrize("message", CROSS_ENTROPY_ERRORS)
def test_cross_entropy_says_what_is_wrong(message: str) -> None:
    kind, call = CROSS_ENTROPY_ERRORS[message]
    with pytest.raises(kind, match=message):
        call()


def test_targets_on_another_device_are_named(cuda: Any) -> None:
    with pytest.raises(
        TypeError, match=r"targets live on cpu, the predictions on cuda:0: move one with .to\('cuda:0'\)"
    ):
        tg.cross_entropy(tg.tensor(Z, device="cuda"), tg.tensor(T, device="cpu"))


def test_targets_given_as_arrays_follow_the_predictions(cuda: Any) -> None:
    z = tg.tensor(Z, device="cuda", requires_grad=True)
    tg.cross_entropy(z, T, mask=np.array([1, 1, 0, 1])).backward()
    tg.hinge_loss(z, T).backward()
    tg.mse_loss(z, Z + 1).backward()
    assert tg.dropout(z, 0.5, rng=0).device == z.device == "cuda:0" and type(z.grad) is type(z.data)


# ---- the others --------------------------------------------------------------------------------------------------


def test_the_others_by_their_formulas() -> None:
    p, t = np.array([1.0, -2.0, 0.5]), np.array([0.0, 1.0, 0.5])
    assert tg.mse_loss(p, t).item() == pytest.approx(10 / 3)
    assert tg.l1_loss(p, t).item() == pytest.approx(4 / 3)
    assert tg.mse_loss(p, t, reduction="sum").item() == 10
    np.testing.assert_array_equal(tg.l1_loss(leaf(p), t, reduction="none"), [1, 3, 0])
    s = 1 / (1 + np.exp(-p))
    wanted = -(t * np.log(s) + (1 - t) * np.log(1 - s)).mean()
    assert tg.binary_cross_entropy_with_logits(p, t).item() == pytest.approx(wanted)
    scores = np.array([[2.0, 1.5, -1.0], [0.0, 0.0, 0.0]])
    assert tg.hinge_loss(scores, np.array([0, 1])).item() == pytest.approx((0.5 + 2) / 2)
    assert tg.hinge_loss(scores, np.array([0, 1]), margin=2).item() == pytest.approx((1.5 + 4) / 2)


def test_their_gradients() -> None:
    p, t = np.array([[1.0, -2.0], [0.7, 0.1]]), np.array([[0.2, 1.0], [0.5, 0.0]])
    for loss in (tg.mse_loss, tg.l1_loss, tg.binary_cross_entropy_with_logits):
        check_gradients(lambda x, loss=loss: loss(x, t), p)
    check_gradients(lambda x: tg.hinge_loss(x, np.array([1, 0]), 0.5), p)


def test_binary_cross_entropy_is_safe_at_1000() -> None:
    z = leaf([1000.0, -1000.0, 1000.0, -1000.0], "float32")
    loss = tg.binary_cross_entropy_with_logits(z, np.array([1, 0, 0, 1], "float32"), reduction="sum")
    loss.backward()
    assert loss.item() == 2000
    np.testing.assert_array_equal(z.grad, np.array([0, 0, 1, -1], "float32"))


def test_targets_in_float64_leave_float32_as_it_is() -> None:
    z = leaf([1.0, 2.0], "float32")
    assert tg.mse_loss(z, np.array([0.0, 1.0])).dtype == tg.l1_loss(z, [0, 1]).dtype == np.float32


OTHER_ERRORS = {
    r"mse_loss: predictions have shape \(4, 1\), targets \(4,\)": (
        ShapeError,
        lambda: tg.mse_loss(np.ones((4, 1)), np.ones(4)),
    ),
    r"l1_loss: predictions of shape \(0, 2\) hold nothing; is the batch empty": (
        ValueError,
        lambda: tg.l1_loss(np.ones((0, 2)), np.ones((0, 2))),
    ),
    "mse_loss: predictions must be floats": (TypeError, lambda: tg.mse_loss(np.array([1, 2]), np.array([1, 2]))),
    "l1_loss: reduction must be": (ValueError, lambda: tg.l1_loss(Z, Z, reduction="max")),
    "mse_loss: reduction must be": (ValueError, lambda: tg.mse_loss(Z, Z, reduction="max")),
    "targets are probabilities, but these run from -1 to 1": (
        ValueError,
        lambda: tg.binary_cross_entropy_with_logits(np.ones(2), np.array([-1.0, 1.0])),
    ),
    "logits: reduction must be": (ValueError, lambda: tg.binary_cross_entropy_with_logits(Z, Z, reduction="max")),
    r"hinge_loss: scores \(4, 3\) need integer targets of shape \(4,\), not \(4, 3\) float64": (
        ShapeError,
        lambda: tg.hinge_loss(Z, Z),
    ),
    "hinge_loss: targets run from 0 to 3, but there are 3 classes": (
        IndexError,
        lambda: tg.hinge_loss(Z, T + [0, 1, 0, 0]),
    ),
    r"hinge_loss: scores of shape \(0, 3\) hold no row": (ValueError, lambda: tg.hinge_loss(np.ones((0, 3)), T[:0])),
    "hinge_loss: reduction must be": (ValueError, lambda: tg.hinge_loss(Z, T, reduction="max")),
    "hinge_loss: scores must be floats": (TypeError, lambda: tg.hinge_loss(Z.astype("int64"), T)),
}


@pytest.mark.parametrize("message", OTHER_ERRORS)
def test_the_others_say_what_is_wrong(message: str) -> None:
    kind, call = OTHER_ERRORS[message]
    with pytest.raises(kind, match=message):
        call()


# ---- dropout -----------------------------------------------------------------------------------------------------


@given(st.floats(0.05, 0.9), st.integers(0, 100))
def test_dropout_keeps_a_share_of_1_minus_rho_and_the_mean(rho: float, seed: int) -> None:
    x = leaf(np.ones(4000))
    y = tg.dropout(x, rho, rng=seed)
    kept = host(y) != 0
    np.testing.assert_allclose(kept.mean(), 1 - rho, atol=6 * math.sqrt(rho * (1 - rho) / 4000))
    np.testing.assert_allclose(host(y)[kept], 1 / (1 - rho))
    y.sum().backward()
    np.testing.assert_allclose(x.grad, y)  # x̄ = ȳ m / (1 − ρ), by the very mask of the forward pass


def test_dropout_as_the_lecture_has_it() -> None:
    x = np.full(4000, 2.0)
    training, testing = tg.dropout(x, 0.3, rng=0, mode="classic"), tg.dropout(x, 0.3, training=False, mode="classic")
    assert set(np.unique(host(training))) == {0.0, 2.0}
    np.testing.assert_allclose(testing, 0.7 * x)
    assert host(training).mean() == pytest.approx(host(testing).mean(), rel=0.05)


def test_dropout_does_nothing_in_evaluation_or_at_rate_0() -> None:
    x = leaf([1.0, 2.0])
    assert tg.dropout(x, 0.5, training=False) is x and tg.dropout(x, 0.0) is x
    np.testing.assert_array_equal(tg.dropout([1.0, 2.0], 0.0), [1, 2])


def test_dropout_repeats_with_its_seed() -> None:
    x = leaf(np.ones(50))
    tg.seed(3)
    first, second = host(tg.dropout(x)), host(tg.dropout(x))
    tg.seed(3)
    np.testing.assert_array_equal(first, tg.dropout(x))
    assert (first != second).any()
    rng = np.random.default_rng(1)
    assert (host(tg.dropout(x, rng=rng)) != host(tg.dropout(x, rng=rng))).any()
    np.testing.assert_array_equal(tg.dropout(x, rng=1), tg.dropout(x, rng=1))


def test_dropout_keeps_the_dtype() -> None:
    assert tg.dropout(leaf([1.0], "float32"), 0.5).dtype == np.float32


@pytest.mark.parametrize(
    ("kind", "message", "call"),
    [
        (ValueError, "rho is the probability of dropping a unit, 0 <= rho < 1, not 1", lambda: tg.dropout(Z, 1)),
        (ValueError, "rho is the probability", lambda: tg.dropout(Z, -0.1)),
        (ValueError, "mode must be 'inverted' or 'classic', not 'plain'", lambda: tg.dropout(Z, mode="plain")),
        (TypeError, "x must be floats, not int64", lambda: tg.dropout(T)),
    ],
)
def test_dropout_says_what_is_wrong(kind: type[Exception], message: str, call: Any) -> None:
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("bad", [[1.0, -1.0], [1.0, np.nan], [np.inf, 0.0], [2, -3]], ids=str)
def test_a_mask_of_negative_numbers_or_nan_is_refused(bad: Any, reduction: str) -> None:
    for mask in (np.array(bad), tg.tensor(bad), bad):
        with pytest.raises(ValueError, match=r"cross_entropy: mask says how much each row counts, 0 \(left out\) or"):
            tg.cross_entropy(tg.zeros((2, 3)), [0, 1], mask=mask, reduction=reduction)


def test_a_mask_from_the_host_is_checked_there(cuda: Any) -> None:
    logits, targets = tg.zeros((2, 3), device="cuda"), np.array([0, 1])
    counts = {}
    for mask in (np.array([1.0, 0.0]), np.array([True, False])):
        with counting() as seen:
            tg.cross_entropy(logits, targets, mask=mask, reduction="none")
        counts[mask.dtype.kind] = seen["to host"]
    assert counts["f"] == counts["b"]
