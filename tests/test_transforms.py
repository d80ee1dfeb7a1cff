"""grad, vjp, jvp, Jacobians, Hessians and their products: against closed forms, differences, and each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad7 as tg
from tests.helpers import host, placed
from tinygrad7.op import REGISTRY
from tinygrad7.testing.picks import examples

RNG = np.random.default_rng(0)
X = RNG.normal(size=3)
V = RNG.normal(size=3)


def cubes(x: Any) -> Any:
    return tg.sum(tg.tanh(x) * x**2)


def mix(x: Any) -> Any:
    return tg.stack([tg.sin(x[0]) * x[1], tg.exp(x[2]) + x[0], x[1] * x[2], tg.sum(x**2)])


def mix_jacobian(x: np.ndarray) -> np.ndarray:
    return np.array(
        [
            [np.cos(x[0]) * x[1], np.sin(x[0]), 0],
            [1, 0, np.exp(x[2])],
            [0, x[2], x[1]],
            [2 * x[0], 2 * x[1], 2 * x[2]],
        ]
    )


def test_grad_and_value_and_grad() -> None:
    t = np.tanh(X)
    np.testing.assert_allclose(tg.grad(cubes)(X), (1 - t**2) * X**2 + 2 * t * X, rtol=1e-12)
    value, gradient = tg.value_and_grad(cubes)(X)
    np.testing.assert_allclose(value, np.sum(t * X**2), rtol=1e-12)
    np.testing.assert_allclose(gradient, tg.grad(cubes)(X))
    assert not value.requires_grad and not gradient.requires_grad


@pytest.mark.host  # feeds NumPy arrays
def test_argnums() -> None:
    def f(a: Any, b: Any) -> Any:
        return tg.sum(a * b**2)

    np.testing.assert_allclose(tg.grad(f, 1)(X, V), 2 * X * V)
    np.testing.assert_allclose(tg.grad(f, -1)(X, V), 2 * X * V)
    both = tg.grad(f, (0, 1))(X, V)
    assert isinstance(both, tuple)
    np.testing.assert_allclose(both[0], V**2)
    np.testing.assert_allclose(both[1], 2 * X * V)
    with pytest.raises(ValueError, match=r"grad: argnums=2, but the function was called with 2 argument"):
        tg.grad(f, 2)(X, V)


def test_argnums_may_be_a_list_one_in_a_tuple_and_the_first_counted_from_behind() -> None:
    f = lambda a, b: a * b**2
    assert [g.item() for g in tg.grad(f, [0, 1])(2.0, 3.0)] == [9, 12]
    assert [g.item() for g in tg.grad(f, (1,))(2.0, 3.0)] == [12]
    assert tg.grad(f, -2)(2.0, 3.0).item() == 9


def test_results_are_recorded_where_an_argument_by_keyword_needs_a_gradient() -> None:
    w = tg.tensor(3.0, requires_grad=True)
    for transform in (tg.grad, tg.jacobian):
        g = transform(lambda x, w: w * x * x)(2.0, w=w)
        assert tg.gradients(g, w)[0].item() == 4.0
        assert not transform(lambda x, w: w * x * x)(2.0, w=w.detach()).requires_grad


def test_a_variable_is_not_what_the_function_closes_over() -> None:
    """Of a x, with a = x, the derivative with respect to a is x: an engine that confuses the two says 2 x."""
    x = tg.tensor(3.0, requires_grad=True)
    assert tg.grad(lambda a: a * x)(x).item() == 3.0
    assert tg.grad(lambda x: tg.grad(lambda a: a * x)(x))(3.0).item() == 1.0


def test_transforms_compose_through_scopes() -> None:
    def f(x: Any) -> Any:
        with tg.scope("inner"), tg.step(1):
            return tg.grad(lambda a: a * x * x)(2.0)

    assert tg.grad(f)(3.0).item() == 6.0


def test_what_vjp_gives_is_recorded_where_its_argument_needs_a_gradient() -> None:
    y, pull = tg.vjp(tg.exp, tg.tensor(1.0))
    assert not y.requires_grad and not pull(1.0)[0].requires_grad
    assert pull(tg.tensor(1.0, requires_grad=True))[0].requires_grad
    y, pull = tg.vjp(tg.exp, tg.tensor(1.0, requires_grad=True))
    assert y.requires_grad and pull(1.0)[0].requires_grad


def test_products_are_recorded_where_the_point_or_the_vector_needs_a_gradient() -> None:
    products = {
        "jvp": lambda x, v: tg.jvp(tg.exp, (x,), (v,))[1],
        "hvp": lambda x, v: tg.hvp(tg.exp, x, v),
        "ggnvp": lambda x, v: tg.ggnvp(tg.exp, lambda z: z * z, x, v),
    }
    for product in products.values():
        for x, v in ((True, False), (False, True), (False, False)):
            found = product(tg.tensor(1.0, requires_grad=x), tg.tensor(2.0, requires_grad=v))
            assert found.requires_grad == (x or v)


def test_transforms_record_inside_also_under_no_grad() -> None:
    x = tg.tensor(2.0, requires_grad=True)
    with tg.no_grad():
        g = tg.grad(lambda a: a**3)(x)
    assert g.item() == 12.0 and not g.requires_grad


def test_the_function_receives_tensors_for_all_arrays() -> None:
    def f(a: Any, b: Any, index: Any, word: str) -> Any:
        assert isinstance(a, tg.Tensor) and isinstance(b["x"], tg.Tensor) and not b["x"].requires_grad
        assert isinstance(index, np.ndarray) and word == "sum"
        return (a * b["x"]).sum()

    np.testing.assert_allclose(tg.grad(f)(X, {"x": V}, np.arange(3), "sum"), V)


def test_the_function_of_a_jacobian_receives_tensors_for_all_arrays() -> None:
    seen = []
    tg.jacobian(lambda x, table: seen.append(type(table)) or x * table)(placed(X), placed(V))
    assert seen == [tg.Tensor]


def test_nested_arguments_come_back_nested() -> None:
    def f(p: Any) -> Any:
        return tg.sum(p["w"] * p["list"][0]) + p["list"][1][0] * 3

    found = tg.grad(f)({"w": X, "list": [V, (2.0,)]})
    np.testing.assert_allclose(found["w"], V)
    np.testing.assert_allclose(found["list"][0], X)
    assert isinstance(found["list"][1], tuple) and found["list"][1][0].item() == 3


def test_numbers_lists_and_float32_are_taken() -> None:
    assert tg.grad(lambda x: x * x)(3).item() == 6
    assert tg.grad(lambda x: x * x)(3.0).dtype == np.float32
    assert tg.grad(lambda x: tg.sum(x))(X.astype(np.float32)).dtype == np.float32
    with tg.default_dtype("float64"):
        assert tg.grad(lambda x: x * x)(3.0).dtype == np.float64


def test_an_input_that_does_not_matter_has_gradient_zero() -> None:
    np.testing.assert_array_equal(tg.grad(lambda x: tg.tensor(1.0) * 2)(X), np.zeros(3))
    np.testing.assert_array_equal(tg.jacobian(lambda x: tg.ones(2))(X), np.zeros((2, 3)))
    _, pull = tg.vjp(lambda a, b: a * 2, X, V)
    np.testing.assert_array_equal(pull(np.ones(3))[1], np.zeros(3))


def test_any_order() -> None:
    f: Any = tg.sin
    expected = [np.sin, np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x), np.sin]
    for order in range(5):
        np.testing.assert_allclose(f(np.float64(0.7)), expected[order](0.7), rtol=1e-12)
        f = tg.grad(f)


def test_nested_derivatives_do_not_confuse_their_variables() -> None:
    """d/dx [x · d/dy (x + y)] = 1, the classic of perturbation confusion (Siskind and Pearlmutter, 2005)."""
    inner = lambda x: x * tg.grad(lambda y: x + y)(1.0)
    assert tg.grad(inner)(2.0).item() == 1
    assert tg.grad(lambda a: tg.grad(lambda b: a * b * b)(1.5))(2.0).item() == 3


def test_a_result_is_recorded_while_somebody_differentiates_it() -> None:
    x = tg.tensor(X, requires_grad=True)
    penalty = tg.sum(tg.grad(lambda x: tg.sum(x**3))(x) ** 2)  # Σ (3x²)²
    penalty.backward()
    np.testing.assert_allclose(x.grad, 36 * X**3, rtol=1e-12)


def test_vjp_is_the_transposed_jacobian() -> None:
    y, pull = tg.vjp(mix, X)
    g = RNG.normal(size=4)
    np.testing.assert_allclose(y, mix(X))
    for _ in range(2):  # it may be pulled as often as one likes
        np.testing.assert_allclose(pull(g)[0], mix_jacobian(X).T @ g, rtol=1e-12)
    with pytest.raises(ValueError, match=r"vjp: the cotangent has shape \(3,\), the value \(4,\)"):
        pull(np.ones(3))


def test_jvp_is_the_jacobian_times_a_vector() -> None:
    y, dy = tg.jvp(mix, (X,), (V,))
    np.testing.assert_allclose(y, mix(X))
    np.testing.assert_allclose(dy, mix_jacobian(X) @ V, rtol=1e-12)
    _, unmoved = tg.jvp(lambda x: tg.ones(2) * 1.0, (X,), (V,))
    np.testing.assert_array_equal(unmoved, np.zeros(2))
    with pytest.raises(ValueError, match=r"jvp: the direction has shape \(2,\), the value \(3,\)"):
        tg.jvp(mix, (X,), (V[:2],))
    with pytest.raises(
        ValueError, match=r"jvp: the direction must be nested .*: a tuple of 1 entries is needed .*of 2"
    ):
        tg.jvp(mix, (X,), (V, V))


def test_jacobian_and_hessian() -> None:
    np.testing.assert_allclose(tg.jacobian(mix)(X), mix_jacobian(X), rtol=1e-12)
    h = tg.hessian(lambda x: tg.sum(x**3) + x[0] * x[1])(X).numpy()
    expected = np.diag(6 * X)
    expected[0, 1] = expected[1, 0] = 1
    np.testing.assert_allclose(h, expected, atol=1e-12)
    blocks = tg.hessian(lambda p: tg.sum(p["a"] * p["b"]))({"a": X, "b": V})
    np.testing.assert_allclose(blocks["a"]["b"], np.eye(3))
    np.testing.assert_allclose(blocks["a"]["a"], np.zeros((3, 3)))
    assert tg.jacobian(lambda x: x[:0])(X).shape == (0, 3)
    third = tg.jacobian(tg.hessian(lambda x: tg.sum(x**3)))(X).numpy()
    np.testing.assert_allclose([third[i, i, i] for i in range(3)], [6, 6, 6])


@pytest.mark.host  # feeds NumPy arrays
def test_hvp_and_ggnvp() -> None:
    h = tg.hessian(cubes)(X).numpy()
    np.testing.assert_allclose(tg.hvp(cubes, X, V), h @ V, rtol=1e-10)
    loss = lambda z: tg.logsumexp(z) + tg.sum(z**2)
    j = mix_jacobian(X)
    middle = tg.hessian(loss)(mix(X)).numpy()
    np.testing.assert_allclose(tg.ggnvp(mix, loss, X, V), j.T @ middle @ j @ V, rtol=1e-9)
    nested = tg.ggnvp(lambda p: p["w"] * X, lambda z: tg.sum(z**2), {"w": V}, {"w": np.ones(3)})
    np.testing.assert_allclose(nested["w"], 2 * X**2, rtol=1e-12)
    with pytest.raises(ValueError, match=r"hvp: the vector has shape \(2,\), the value \(3,\)"):
        tg.hvp(cubes, X, V[:2])
    with pytest.raises(ValueError, match=r"ggnvp: the vector has shape \(2,\)"):
        tg.ggnvp(mix, loss, X, V[:2])


def test_products_are_differentiable_again() -> None:
    np.testing.assert_allclose(tg.grad(lambda x: tg.sum(tg.hvp(lambda z: tg.sum(z**3), x, V)))(X), 6 * V, rtol=1e-12)
    g = tg.grad(lambda x: tg.sum(tg.ggnvp(lambda w: w**2, lambda z: tg.sum(z**2), x, V)))(X)
    np.testing.assert_allclose(g, 16 * X * V, rtol=1e-12)  # Jᵀ H J v = 8 x² v
    np.testing.assert_allclose(tg.jacobian(lambda x: tg.jvp(tg.sin, (x,), (V,))[1])(X), np.diag(-np.sin(X) * V))


FUSED = [op for op in REGISTRY.values() if op.reference is not None and op.module.startswith("tinygrad7.")]


@pytest.mark.parametrize("op", FUSED, ids=lambda op: op.name)
def test_every_transform_goes_through_fused_ops(op: Any) -> None:
    """⟨u, J v⟩ = ⟨Jᵀ u, v⟩, and H v against a difference of gradients."""
    rng = np.random.default_rng(3)
    args, kwargs = next(iter(examples(op, rng)))
    places = [i for i in op.tensors if i < len(args) and isinstance(args[i], np.ndarray) and args[i].dtype.kind == "f"]

    def f(*xs: Any) -> Any:
        given = [placed(a) for a in args]
        for i, x in zip(places, xs, strict=True):
            given[i] = x
        out = op.call(*given, **{k: placed(v) for k, v in kwargs.items()})
        return tg.concatenate([t.reshape(-1) for t in out]) if isinstance(out, tuple) else out.reshape(-1)

    xs = tuple(args[i] for i in places)
    vs = tuple(rng.normal(size=x.shape) for x in xs)
    y, dy = tg.jvp(f, xs, vs)
    u = rng.normal(size=y.shape)
    pulled = tg.vjp(f, *xs)[1](u)
    left, right = float(np.sum(u * host(dy))), sum(float(np.sum(host(p) * v)) for p, v in zip(pulled, vs, strict=True))
    assert left == pytest.approx(right, rel=1e-8, abs=1e-10)
    scalar = lambda ps: tg.sum(f(*ps) * placed(u))
    product = host(tg.hvp(scalar, list(xs), list(vs)))
    eps = 1e-5
    ahead = tg.grad(scalar)([x + eps * v for x, v in zip(xs, vs, strict=True)])
    behind = tg.grad(scalar)([x - eps * v for x, v in zip(xs, vs, strict=True)])
    for p, a, b in zip(product, host(ahead), host(behind), strict=True):
        np.testing.assert_allclose(p, (a - b) / (2 * eps), rtol=1e-4, atol=1e-6)


@given(st.integers(0, 2**32 - 1))
def test_forward_and_backward_are_each_others_transpose(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, v, u = rng.normal(size=3), rng.normal(size=3), rng.normal(size=4)
    _, dy = tg.jvp(mix, (x,), (v,))
    (pulled,) = tg.vjp(mix, x)[1](u)
    assert u @ host(dy) == pytest.approx(host(pulled) @ v, rel=1e-9, abs=1e-9)


def test_directions_and_cotangents_are_matched_by_key() -> None:
    def f(p: Any) -> Any:
        return {"y": tg.sum(p["a"] ** 3), "z": tg.sum(p["b"] * p["a"])}

    x = {"a": np.array([1.0, 2.0]), "b": np.array([3.0, 4.0])}
    turned = {"b": np.array([0.0, 0.0]), "a": np.array([1.0, 0.0])}
    _, dy = tg.jvp(f, (x,), (turned,))
    assert dy["y"].item() == 3.0 and dy["z"].item() == 3.0
    product = tg.hvp(lambda p: f(p)["y"], x, turned)
    np.testing.assert_array_equal(product["a"], [6.0, 0.0])
    np.testing.assert_array_equal(product["b"], [0.0, 0.0])
    _, pull = tg.vjp(f, x)
    (bar,) = pull({"z": 0.0, "y": 1.0})
    np.testing.assert_array_equal(bar["a"], [3.0, 12.0])
    for wrong in ({"a": turned["a"]}, {"x": 1.0, "y": 2.0}, [turned["a"], turned["b"]], 1.0):
        with pytest.raises(ValueError, match=r"hvp: the vector must be nested like .* a dict of the keys \['a', 'b'\]"):
            tg.hvp(lambda p: f(p)["y"], x, wrong)


def scaled(p: Any) -> Any:
    p["w"] *= 2
    return p["w"]


def popped(p: Any) -> Any:
    return p.pop("w") * 2


def test_a_function_may_change_the_containers_that_it_is_given() -> None:
    x, v = {"w": np.array([1.0, 2.0, 3.0])}, {"w": np.ones(3)}
    for f in (scaled, popped):
        loss = lambda p, f=f: tg.sum(f(p) ** 2)
        np.testing.assert_array_equal(tg.grad(loss)(x)["w"], [8, 16, 24])
        np.testing.assert_array_equal(tg.vjp(f, x)[1](np.ones(3))[0]["w"], [2, 2, 2])
        np.testing.assert_array_equal(tg.jvp(f, (x,), (v,))[1], [2, 2, 2])
        np.testing.assert_array_equal(tg.jacobian(f)(x)["w"], 2 * np.eye(3))
        np.testing.assert_array_equal(tg.hessian(loss)(x)["w"]["w"], 8 * np.eye(3))
        np.testing.assert_array_equal(tg.hvp(loss, x, v)["w"], [8, 8, 8])
        np.testing.assert_array_equal(tg.ggnvp(f, lambda z: tg.sum(z * z), x, v)["w"], [8, 8, 8])
        leaf = {"w": tg.tensor([1.0, 2.0, 3.0], dtype="float64", requires_grad=True)}
        tg.sum(tg.checkpoint(f, leaf) ** 2).backward()
        np.testing.assert_array_equal(leaf["w"].grad, [8, 16, 24])
    assert list(x) == ["w"] and x["w"].tolist() == [1, 2, 3]


def test_messages() -> None:
    for f in (lambda x: (tg.sum(x), tg.sum(x * x)), lambda x: x * 2):
        with pytest.raises(ValueError, match=r"^hvp: the function must return one scalar tensor, it returned"):
            tg.hvp(f, X, X)
    with pytest.raises(ValueError, match=r"^ggnvp: the loss must return one scalar tensor, it returned shape \(3,\)"):
        tg.ggnvp(lambda x: x, lambda z: z * 2, X, X)
    with pytest.raises(ValueError, match=r"must return one scalar tensor, it returned shape \(3,\)"):
        tg.grad(lambda x: x * 2)(X)
    with pytest.raises(ValueError, match=r"must return one scalar tensor, it returned a tuple"):
        tg.grad(lambda x: (tg.sum(x), 1))(X)
    with pytest.raises(TypeError, match=r"grad: the function returned a float, not a tensor; did it use .numpy"):
        tg.grad(lambda x: x.sum().item())(X)
    with pytest.raises(TypeError, match=r"vjp: the function returned a ndarray"):
        tg.vjp(lambda x: X, X)
    with pytest.raises(TypeError, match=r"with respect to a int64 value: give it a floating dtype"):
        tg.grad(lambda x: tg.sum(x * 1.0))(np.arange(3))
