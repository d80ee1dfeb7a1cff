"""Hessian-free optimization: conjugate gradients, Gauss-Newton products, the step, and a small addition task."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad7 as tg
from demos import addition
from tests.helpers import host
from tinygrad7.optim import HessianFree
from tinygrad7.optim.conjugate import conjugate_gradients
from tinygrad7.optim.curvature import Curvature

seeds = st.integers(0, 2**32 - 1)


def leaf(value: Any, name: str | None = None) -> Any:
    return tg.tensor(np.asarray(value, np.float64), requires_grad=True, name=name)


class Net:
    """A small net that keeps its hidden layer: outputs (B, 2), states (B, 3); B = 5."""

    def __init__(self, seed: int, kind: str = "mse") -> None:
        rng = np.random.default_rng(seed)
        self.params = {"U": leaf(rng.normal(size=(4, 3)), "U"), "b": leaf(rng.normal(size=3), "b")}
        self.params |= {"V": leaf(rng.normal(size=(3, 2)), "V"), "unused": leaf([1.0], "unused")}
        self.x = tg.tensor(rng.normal(size=(5, 4)))
        self.targets = rng.normal(size=(5, 2)) if kind == "mse" else rng.integers(0, 2, 5)
        self.kind = kind

    def run(self, U: Any, b: Any, V: Any, unused: Any) -> tuple[Any, Any]:
        h = tg.tanh(self.x @ U + b)
        return h @ V, h

    def forward(self) -> tuple[Any, Any]:
        return self.run(**self.params)

    def loss(self, outputs: Any) -> Any:
        if self.kind == "cross-entropy":
            return tg.cross_entropy(outputs, tg.tensor(self.targets))
        return tg.mse_loss(outputs, tg.tensor(self.targets))

    def optimizer(self, **options: Any) -> HessianFree:
        return HessianFree(self.params.items(), **options)

    def jacobian(self, which: int) -> np.ndarray:
        """The Jacobian of outputs (0) or states (1) in all parameters side by side, by tg.jacobian."""
        values = [p.detach() for p in self.params.values()]
        parts = [
            host(tg.jacobian(lambda p, i=i: self.run(*values[:i], p, *values[i + 1 :])[which])(values[i]))
            for i in range(len(values))
        ]
        rows = 10 if which == 0 else 15
        return np.concatenate([np.reshape(part, (rows, -1)) for part in parts], axis=1)

    def outputs_hessian(self) -> np.ndarray:
        outputs = self.forward()[0].detach()
        return np.reshape(host(tg.hessian(self.loss)(outputs)), (10, 10))


# ---- conjugate gradients -----------------------------------------------------------------------------------------


@given(seeds, st.integers(1, 8), st.booleans())
def test_cg_solves_a_positive_definite_system(seed: int, n: int, preconditioned: bool) -> None:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(n, n))
    matrix, b, start = root @ root.T + np.eye(n), rng.normal(size=n), rng.normal(size=n)
    diagonal = np.diag(matrix) if preconditioned else None
    found, values, _ = conjugate_gradients(lambda v: matrix @ v, b, start, diagonal, iterations=5 * n, tolerance=0)
    np.testing.assert_allclose(found[-1], np.linalg.solve(matrix, b), rtol=1e-6, atol=1e-8)
    for x, value in zip(found, values, strict=True):
        assert value == pytest.approx(x @ matrix @ x / 2 - b @ x, rel=1e-8, abs=1e-8)
    assert all(later <= earlier + 1e-9 for earlier, later in itertools.pairwise(values))


def test_cg_with_the_exact_inverse_takes_one_iteration() -> None:
    scale = np.array([1.0, 100.0, 1e4])
    found, _, _ = conjugate_gradients(lambda v: scale * v, np.ones(3), np.zeros(3), scale, iterations=1)
    np.testing.assert_allclose(found[-1], 1 / scale)
    plain, _, _ = conjugate_gradients(lambda v: scale * v, np.ones(3), np.zeros(3), iterations=1)
    assert np.abs(plain[-1] - 1 / scale).max() > 0.1


def test_cg_stops_when_it_gains_too_little() -> None:
    scale = np.linspace(1, 1000, 200)
    long = conjugate_gradients(lambda v: scale * v, np.ones(200), np.zeros(200), iterations=200, tolerance=1e-9)[2]
    short = conjugate_gradients(lambda v: scale * v, np.ones(200), np.zeros(200), iterations=200, tolerance=1e-2)[2]
    assert 10 <= short < long


def test_cg_without_anything_to_do_stays() -> None:
    found, values, _ = conjugate_gradients(lambda v: v, np.zeros(3), np.zeros(3))
    np.testing.assert_array_equal(found[-1], 0)
    assert values == [0.0]


# ---- products ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mse", "cross-entropy"])
@pytest.mark.parametrize("structural", [0.0, 0.7])
@given(seed=seeds)
@settings(max_examples=5)
def test_the_product_is_that_of_dense_matrices(kind: str, structural: float, seed: int) -> None:
    net = Net(seed, kind)
    curvature = Curvature(net.optimizer().block, net.forward, net.loss)
    J, H, K = net.jacobian(0), net.outputs_hessian(), net.jacobian(1)
    dense = J.T @ H @ J + structural * K.T @ K / 5
    v = np.random.default_rng(seed).normal(size=J.shape[1])
    product = host(curvature.product(tg.tensor(v)._value, structural))
    np.testing.assert_allclose(product, dense @ v, rtol=1e-9, atol=1e-12)
    again = host(curvature.product(tg.tensor(2 * v)._value, structural))  # the tape stays
    np.testing.assert_allclose(again, 2 * product, rtol=1e-12)


def test_the_product_agrees_with_ggnvp() -> None:
    net = Net(3)
    curvature = Curvature(net.optimizer().block, net.forward, net.loss)
    v = np.random.default_rng(0).normal(size=curvature.block.values.size)
    parts = [tg.tensor(host(part)) for part in curvature.block.parts(tg.tensor(v)._value)]
    given_, tangent = [p.detach() for p in net.params.values()], parts
    expected = tg.ggnvp(lambda ps: net.run(*ps)[0], net.loss, given_, tangent)
    flat = np.concatenate([host(part).reshape(-1) for part in expected])
    np.testing.assert_allclose(curvature.product(tg.tensor(v)._value), flat, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_fused_sequences_and_their_unrolled_forms_have_the_same_curvature(cell: str) -> None:
    rng = np.random.default_rng(0)
    x, y = tg.tensor(rng.normal(size=(4, 3, 2))), tg.tensor(rng.normal(size=(3, 5)))
    kind = {"rnn": tg.nn.RNN, "lstm": tg.nn.LSTM, "gru": tg.nn.GRU}[cell]
    with tg.default_dtype("float64"):
        layer = kind(2, 5, rng=rng)
    products = []
    for unroll in (False, True):
        layer.unroll = unroll
        block = HessianFree(layer.named_parameters()).block

        def forward() -> Any:
            states, _ = layer(x)
            return states[-1], states

        v = tg.tensor(np.random.default_rng(1).normal(size=block.values.size))._value
        products.append(host(Curvature(block, forward, lambda out: tg.mse_loss(out, y)).product(v, 0.5)))
    np.testing.assert_allclose(products[0], products[1], rtol=1e-9, atol=1e-12)


def test_the_diagonal_of_one_output_is_exact_and_of_several_is_approached() -> None:
    x = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, 0.0]])
    w = leaf([0.1, 0.2, 0.3])

    def of(rows: np.ndarray, samples: int) -> np.ndarray:
        loss = lambda out: (out * out).sum()
        curvature = Curvature(HessianFree([w]).block, lambda: tg.tensor(rows) @ w, loss)
        return host(curvature.diagonal(samples, np.random.default_rng(0)))

    np.testing.assert_allclose(of(x[:1], 1), 2 * x[0] ** 2)
    np.testing.assert_allclose(of(x, 4000), (2 * x**2).sum(0), rtol=0.1)


# ---- the step ----------------------------------------------------------------------------------------------------


def least_squares(seed: int = 0) -> tuple[np.ndarray, np.ndarray, Any]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(20, 3)), rng.normal(size=20), leaf(rng.normal(size=3), "w")


def half_square(y: np.ndarray) -> Any:
    return lambda out: ((out - tg.tensor(y)) * (out - tg.tensor(y))).sum() * 0.5


@pytest.mark.parametrize("preconditioner", [0, 5])
def test_least_squares_in_one_step(preconditioner: int) -> None:
    x, y, w = least_squares()
    lam, start = 0.5, w.numpy().copy()
    optimizer = HessianFree([w], damping=lam, iterations=50, tolerance=0, preconditioner=preconditioner)
    did = optimizer.step(lambda: tg.tensor(x) @ w, half_square(y))
    gradient = x.T @ (x @ start - y)
    np.testing.assert_allclose(w, start - np.linalg.solve(x.T @ x + lam * np.eye(3), gradient), rtol=1e-8)
    assert did.grad_norm == pytest.approx(np.linalg.norm(gradient))
    assert (did.rate, did.damping) == (1.0, lam)
    assert did.new_loss == pytest.approx(((x @ w.numpy() - y) ** 2).sum() / 2) and did.new_loss < did.loss


def test_damping_follows_the_reduction_ratio() -> None:
    x, y, w = least_squares()
    optimizer = HessianFree([w], damping=0.5, tolerance=0)
    did = optimizer.step(lambda: tg.tensor(x) @ w, half_square(y))
    assert did.rho > 0.75 and optimizer.damping == pytest.approx(0.5 * 2 / 3)  # the model is exact here
    v = leaf([0.0])
    optimizer = HessianFree([v], damping=0.5, tolerance=0)
    did = optimizer.step(lambda: tg.sin(6 * v) / 6, lambda out: ((out - 1) * (out - 1)).sum())  # and poor here
    assert did.rho < 0.25 and did.rate < 1 and optimizer.damping == pytest.approx(0.75)


def test_structural_damping_in_closed_form() -> None:
    x, y, w = least_squares()
    seen, start = np.random.default_rng(5).normal(size=(4, 3)), w.numpy().copy()
    optimizer = HessianFree([w], damping=0.5, structural=3.0, iterations=50, tolerance=0)
    optimizer.step(lambda: (tg.tensor(x) @ w, (tg.tensor(seen) @ w).reshape(4, 1)), half_square(y))
    matrix = x.T @ x + 0.5 * np.eye(3) + 0.5 * 3.0 * seen.T @ seen / 4
    np.testing.assert_allclose(w, start - np.linalg.solve(matrix, x.T @ (x @ start - y)), rtol=1e-8)


def test_conjugate_gradients_start_where_the_last_direction_says() -> None:
    results = []
    for warm_start in (0.0, 0.9):
        x, y, w = least_squares()
        optimizer = HessianFree([w], damping=0.5, iterations=1, warm_start=warm_start)
        one, two = (optimizer.step(lambda w=w: tg.tensor(x) @ w, half_square(y)).new_loss for _ in range(2))
        results.append((one, two))
    assert results[0][0] == results[1][0] and results[0][1] != pytest.approx(results[1][1], rel=1e-6)


def test_where_nothing_helps_the_weights_stay() -> None:
    x, _, w = least_squares()
    start, count = w.numpy().copy(), itertools.count()
    optimizer = HessianFree([w], damping=0.5)
    did = optimizer.step(lambda: tg.tensor(x) @ w, lambda out: (out * out).sum() + 1e6 * next(count))
    np.testing.assert_array_equal(w, start)
    assert did.rate == 0.0 and did.new_loss == did.loss and optimizer.damping == 0.75


def test_a_step_that_is_broken_off_leaves_the_weights() -> None:
    x, _, w = least_squares()
    start, calls = w.numpy().copy(), itertools.count()

    def forward() -> Any:
        if next(calls) == 3:  # once for the gradient, once for the products, and one trial before
            raise KeyboardInterrupt
        return tg.tensor(x) @ w

    with pytest.raises(KeyboardInterrupt):
        HessianFree([w]).step(forward, lambda out: (out * out).sum())
    assert next(calls) == 4
    np.testing.assert_array_equal(w, start)


def test_steps_after_the_minimum_has_been_reached() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 3)).astype(np.float32), rng.normal(size=(20, 2)).astype(np.float32)
    w = tg.tensor(np.zeros((3, 2), np.float32), requires_grad=True)
    optimizer = HessianFree([w])
    for _ in range(60):  # the squared residual of conjugate gradients underflows on the way
        did = optimizer.step(lambda: tg.tensor(x) @ w, lambda out: tg.mse_loss(out, tg.tensor(y)))
    nearest = np.sqrt(np.finfo(np.float32).eps)  # of the weights that a float32 loss can tell apart at its minimum
    np.testing.assert_allclose(w.numpy(), np.linalg.lstsq(x, y, rcond=None)[0], atol=nearest)
    assert did.new_loss <= did.loss


def test_structural_damping_holds_the_states() -> None:
    moved = []
    for structural in (0.0, 100.0):
        net = Net(0)
        before = net.forward()[1].numpy().copy()
        net.optimizer(damping=0.1, structural=structural).step(net.forward, net.loss)
        moved.append(np.abs(net.forward()[1].numpy() - before).max())
    assert moved[1] < 0.2 * moved[0]


@given(seeds, st.sampled_from(["mse", "cross-entropy"]), st.floats(1e-4, 1))
@settings(max_examples=10)
def test_a_step_never_raises_the_loss(seed: int, kind: str, damping: float) -> None:
    net = Net(seed, kind)
    optimizer = net.optimizer(damping=damping, structural=0.1)
    loss = math.inf
    for _ in range(4):
        did = optimizer.step(net.forward, net.loss)
        assert did.new_loss <= did.loss <= loss + 1e-9
        assert did.new_loss == pytest.approx(net.loss(net.forward()[0]).item(), rel=1e-9)
        loss = did.new_loss
    np.testing.assert_array_equal(net.params["unused"], [1.0])


def test_a_curvature_batch_of_its_own_is_used() -> None:
    x, y, w = least_squares()
    start = w.numpy().copy()
    few = x[:4] * 2
    HessianFree([w], damping=0.5, tolerance=0).step(
        lambda: tg.tensor(x) @ w, half_square(y), curvature=(lambda: tg.tensor(few) @ w, half_square(y[:4]))
    )
    delta = -np.linalg.solve(few.T @ few + 0.5 * np.eye(3), x.T @ (x @ start - y))
    direction = (w.numpy() - start) / np.linalg.norm(w.numpy() - start)
    np.testing.assert_allclose(direction, delta / np.linalg.norm(delta), rtol=1e-6)


def test_a_resumed_run_is_the_same_bit_for_bit() -> None:
    net = Net(1)
    optimizer = net.optimizer(structural=0.1, preconditioner=2)
    for _ in range(2):
        optimizer.step(net.forward, net.loss)
    state, values = optimizer.state_dict(), {k: p.numpy().copy() for k, p in net.params.items()}
    assert all(isinstance(v, np.ndarray | int | float) for v in state.values())
    optimizer.step(net.forward, net.loss)

    other = Net(1)
    for key, p in other.params.items():
        p.assign(values[key])
    resumed = other.optimizer(structural=0.1, preconditioner=2)
    resumed.load_state_dict(state)
    resumed.step(other.forward, other.loss)
    for key, p in other.params.items():
        np.testing.assert_array_equal(p, net.params[key])


def test_a_graph_recorded_before_the_step_is_stale() -> None:
    net = Net(0)
    optimizer = net.optimizer()
    j = net.loss(net.forward()[0])
    optimizer.step(net.forward, net.loss)
    with pytest.raises(RuntimeError, match="an optimizer step has changed"):
        j.backward()
    assert all(p.grad is None for p in net.params.values())


# ---- errors ------------------------------------------------------------------------------------------------------


def test_errors() -> None:
    net = Net(0)
    single = tg.tensor(np.ones(2, np.float32), requires_grad=True)
    with pytest.raises(ValueError, match=r"one dtype on one device, got float32 on .* and float64 on "):
        HessianFree([single, net.params["U"]])
    for option in ("damping", "structural", "iterations", "tolerance", "warm_start", "preconditioner", "exponent"):
        with pytest.raises(ValueError, match=f"HessianFree: {option} must lie in"):
            net.optimizer(**{option: -1})
    with pytest.raises(ValueError, match="given twice"):
        HessianFree([single, single])
    with pytest.raises(TypeError, match=r"forward\(\) must return the outputs.*got a ndarray"):
        net.optimizer().step(lambda: np.ones(2), net.loss)
    with pytest.raises(FloatingPointError, match="the loss is nan before the step"):
        net.optimizer().step(net.forward, lambda out: (out * math.nan).sum())
    with pytest.raises(ValueError, match="loss must give a scalar"):
        net.optimizer().step(net.forward, lambda out: out)
    with pytest.raises(ValueError, match="forward gives a constant"):
        net.optimizer().step(lambda: tg.tensor([1.0]), lambda out: out.sum())
    with pytest.raises(ValueError, match="loss gives a constant"):
        net.optimizer().step(net.forward, lambda out: tg.tensor(1.0))
    with pytest.raises(ValueError, match=r"needs the hidden states: forward must give \(outputs, states\)"):
        net.optimizer(structural=0.1).step(lambda: net.forward()[0], net.loss)
    with pytest.raises(KeyError, match=r"missing \['U.direction'"):
        net.optimizer().load_state_dict({"steps": 0, "damping": 1.0})


def test_a_parameter_that_changed_its_dtype_is_refused() -> None:
    net = Net(0)
    optimizer = net.optimizer()
    p = net.params["b"]
    p._value = p._node.data = p._value.astype(np.float32)
    with pytest.raises(ValueError, match="changed its dtype or device"):
        optimizer.step(net.forward, net.loss)


# ---- the addition task -------------------------------------------------------------------------------------------


def test_the_addition_sequences() -> None:
    x, y = addition.sequences(30, 200, np.random.default_rng(0))
    assert x.shape == (30, 200, 2) and y.shape == (200, 1)
    marked = np.argwhere(x[:, :, 1].T)
    assert (np.bincount(marked[:, 0]) == 2).all()
    early, late = marked[::2, 1], marked[1::2, 1]
    assert early.max() < 3 <= late.min() and late.max() < 15
    np.testing.assert_allclose((x[:, :, 0] * x[:, :, 1]).sum(0), y[:, 0], rtol=1e-6)
    assert 0 <= x[:, :, 0].min() < 0.01 and 0.99 < x[:, :, 0].max() < 1


def test_a_short_addition_task_is_learned() -> None:
    rng = np.random.default_rng(0)
    model = addition.Adder(20, rng)
    step = addition.hessian_free(model, 10, rng, batch=200, curvature=100)
    x, y = addition.sequences(10, 500, np.random.default_rng(1))
    assert addition.evaluate(model, x, y)[0] > 0.1
    for _ in range(25):
        step()
    error, wrong = addition.evaluate(model, x, y)
    assert error < 2e-3 and wrong < 0.5


def test_the_demo_runs(capsys: pytest.CaptureFixture[str]) -> None:
    addition.main(["--length", "5", "--minutes", "0", "--hidden", "5", "--batch", "20", "--curvature", "10"])
    said = capsys.readouterr().out
    for name in ("Hessian-free", "SGD, lr 0.01"):
        assert re.search(rf"{name}: +\d+\.\d s, +1 steps, test error 0\.\d+, wrong +\d+\.\d%", said)
        assert f"{name}: not solved T = 5" in said
