"""``primitive``: ops that users declare, and what is said of a declaration that does not fit."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tests.helpers import host, leaf, placed
from tinygrad7.backend import xp
from tinygrad7.domains import elementwise
from tinygrad7.op import REGISTRY
from tinygrad7.tensor import Tensor


def test_a_users_op_works_from_its_one_declaration(forget: Any) -> None:
    @tg.primitive("cube", domain=lambda pick: ((pick.array(pick.shape()),), {}))
    def cube(x: Any) -> Any:
        """Third power.   y = x³      x̄ = 3 ȳ x²"""
        return x * x * x

    cube.vjp(x=lambda g, x: 3 * g * x * x)
    x = leaf([2.0, -1.0])
    y = cube(x)
    assert y._node.plan.op.label == "cube"
    y.sum().backward()
    np.testing.assert_allclose(x.grad, [12.0, 3.0])
    np.testing.assert_allclose(tg.hessian(lambda v: cube(v).sum())(x), np.diag([12.0, -6.0]))
    assert cube.__doc__.startswith("Third power")
    assert not isinstance(cube(host(x)), Tensor)
    np.testing.assert_array_equal(x.cube(), [8.0, -1.0])
    assert cube(2.0) == 8.0


def test_a_rule_for_an_argument_that_is_not_there_is_refused(forget: Any) -> None:
    @tg.primitive("f")
    def f_with_bad_rule(x: Any) -> Any:
        return x

    with pytest.raises(TypeError, match=r"f_with_bad_rule\.vjp: \['z'\] are not arguments of f_with_bad_rule"):
        f_with_bad_rule.vjp(z=lambda g: g)


def test_a_rule_that_names_something_unknown_is_refused_at_once(forget: Any) -> None:
    @tg.primitive("f")
    def f_with_bad_name(x: Any) -> Any:
        return x

    with pytest.raises(TypeError, match=r"f_with_bad_name: a rule names 'w', which is neither g, y nor one of \['x'\]"):
        f_with_bad_name.vjp(x=lambda g, w: g)


def test_the_name_of_a_users_op_may_be_given_again(forget: Any) -> None:
    def again(x: Any) -> Any:
        return x * 1.0

    tg.primitive("first")(again)
    again.__module__ = "elsewhere"
    assert tg.primitive("second")(again).op.label == "second" == REGISTRY["again"].label


def scaled_by(factor: float) -> Any:
    return lambda g: factor * g


def test_a_rule_that_is_given_again_holds_from_then_on(forget: Any) -> None:
    @tg.primitive("f")
    def ruled_twice(x: Any) -> Any:
        return x * 2

    @tg.primitive("g")
    def ruled_twice_with_an_option(x: Any, by: float = 2.0) -> Any:
        return x * by

    @tg.primitive("h")
    def ruled_twice_of_two(x: Any, y: Any) -> Any:
        return x * y

    first, second = (lambda x: ruled_twice_of_two(x, 2.0)), (lambda x: ruled_twice_of_two(2.0, x))
    for call in (ruled_twice, ruled_twice_with_an_option, first, second):
        for factor in (2, 3):
            for op in (ruled_twice, ruled_twice_with_an_option):
                op.vjp(x=scaled_by(factor))
            ruled_twice_of_two.vjp(x=scaled_by(factor), y=scaled_by(factor))
            x = leaf()
            call(x).sum().backward()
            np.testing.assert_array_equal(x.grad, [factor] * 3)


@pytest.mark.parametrize("wanted", [p for n in (1, 2, 3) for p in itertools.permutations("aby", n)], ids="".join)
def test_a_rule_is_given_what_it_names_in_its_own_order(wanted: tuple[str, ...], forget: Any) -> None:
    """The gradient is Σ 10ᵏ times what was named k-th, so each order gives another number."""
    numbers = " + ".join(f"{10**k} * {name}" for k, name in enumerate(wanted))
    rule = eval(f"lambda g, {', '.join(wanted)}: g * ({numbers})")

    @tg.primitive("a + 4 b")
    def combined(a: Any, b: Any) -> Any:
        return a + 4 * b

    combined.vjp(a=rule)
    a, values = leaf(2.0), {"a": 2.0, "b": 3.0, "y": 14.0}
    combined(a, tg.tensor(3.0)).backward()
    assert host(a.grad) == sum(10**k * values[name] for k, name in enumerate(wanted))


def test_shapes_are_named_by_a_suffix_unless_an_argument_has_that_name(forget: Any) -> None:
    seen: list[Any] = []

    @tg.primitive("f")
    def stretched(x: Any, by: Any, new_shape: Any) -> Any:
        return xp(x).broadcast_to(x * by, new_shape)

    def rule(g: Any, by_shape: Any, new_shape: Any) -> Any:
        seen.append((by_shape, new_shape))
        return 2.0 * g

    stretched.vjp(x=rule)
    x = leaf()
    stretched(x, 2.0, (2, 3)).sum().backward()
    assert seen == [((), (2, 3))]
    np.testing.assert_array_equal(x.grad, [4, 4, 4])


def test_what_a_rule_saved_of_a_users_arrays_is_theirs_no_more(forget: Any) -> None:
    @tg.primitive("f")
    def weighted(x: Any, weights: Any, *, more: Any) -> Any:
        return x * weights * more[0]

    weighted.vjp(x=lambda g, weights, more: g * weights * more[0], weights=lambda g, x, more: g * x * more[0])
    x, weights, more = leaf(), placed(np.full(3, 2.0)), placed(np.full(3, 5.0))
    y = weighted(x, weights, more=(more,)).sum()
    weights[...] = more[...] = 100.0
    y.backward()
    np.testing.assert_array_equal(x.grad, [10, 10, 10])


def test_a_users_elementwise_op_may_give_any_dtype(forget: Any) -> None:
    @tg.primitive("f", domain=elementwise((-1, 1)))
    def in_double_precision(x: Any, y: Any) -> Any:
        return x.astype(np.float64) * y

    in_double_precision.vjp(x=lambda g, y: g * y, y=lambda g, x: g * x)
    x, y = leaf(dtype="float32"), leaf(dtype="float32")
    z = in_double_precision(x, y)
    z.sum().backward()
    assert (z.dtype, x.grad.dtype, y.grad.dtype) == (np.float64, np.float32, np.float32)


@pytest.mark.parametrize("create_graph", [False, True])
def test_the_cotangent_of_an_output_that_nothing_used_is_zeros_like_it(create_graph: bool, forget: Any) -> None:
    seen: list[Any] = []

    @tg.primitive("f", outputs=2)
    def total_and_elements(x: Any) -> Any:
        return x.sum().astype(np.float64), x * 2

    def rule(g: Any) -> Any:
        seen.extend(g)
        return g[1] * 2 + g[0].astype(np.float32)

    total_and_elements.vjp(x=rule)
    x = leaf(dtype="float32")
    total, elements = total_and_elements(x)
    for y in (total, elements.sum()):
        tg.gradients(y, x, create_graph=create_graph)
    assert [(g.shape, g.dtype) for g in seen] == 2 * [((), np.float64), ((3,), np.float32)]
    assert [float(host(g).sum()) for g in seen] == [1, 0, 0, 3]
    assert len({type(g) for g in seen if g.shape}) == 1 and isinstance(seen[1], Tensor) == create_graph


def test_the_name_of_an_op_of_ours_cannot_be_taken() -> None:
    def tanh(x: Any) -> Any:
        return x

    with pytest.raises(ValueError, match="primitive: 'tanh' is already an op of tinygrad7; choose another name"):
        tg.primitive("mine")(tanh)
    assert REGISTRY["tanh"].module.startswith("tinygrad7.")


def test_no_gradient_flows_into_a_static_argument(forget: Any) -> None:
    @tg.primitive("scaled", static=("by",))
    def scaled_by_static(x: Any, by: Any) -> Any:
        return x * by

    scaled_by_static.vjp(x=lambda g, by: g * by)
    x = leaf()
    with pytest.raises(
        TypeError, match=r"scaled_by_static: no gradient can flow into 'by'; pass it as an array, or \.detach\(\) it"
    ):
        scaled_by_static(x, leaf())
    scaled_by_static(x, tg.tensor(np.full(3, 2.0))).sum().backward()
    np.testing.assert_array_equal(x.grad, [2.0, 2.0, 2.0])


def test_an_argument_without_a_rule_is_told_and_not_dropped(forget: Any) -> None:
    @tg.primitive("half")
    def half_ruled(a: Any, b: Any) -> Any:
        return a * b

    half_ruled.vjp(b=lambda g, a: g * a)
    for a in (leaf(), leaf(1.0)):
        with pytest.raises(TypeError, match=r"half_ruled: no gradient can flow into 'a', which has no rule.*\.vjp\(a="):
            half_ruled(a, leaf())
        with pytest.raises(TypeError, match="half_ruled: no gradient can flow into 'a'"):
            half_ruled(a, 2.0)
    b = leaf()
    half_ruled(tg.tensor(3.0), b).sum().backward()
    np.testing.assert_array_equal(b.grad, [3.0, 3.0, 3.0])
    np.testing.assert_array_equal(tg.grad(lambda v: half_ruled(tg.tensor(3.0), v * v).sum())(b).data, 6 * host(b))


def test_primitive_works_without_parentheses_and_says_so_where_a_rule_is_missing(forget: Any) -> None:
    @tg.primitive
    def bare_doubled(x: Any) -> Any:
        return 2 * x

    with pytest.raises(TypeError, match="bare_doubled: no gradient can flow into 'x', which has no rule"):
        bare_doubled(leaf())
    bare_doubled.vjp(x=lambda g: 2 * g)
    x = leaf()
    bare_doubled(x).sum().backward()
    np.testing.assert_array_equal(x.grad, [2.0, 2.0, 2.0])


@pytest.mark.parametrize("wrong", [[1.0], None, 2.0], ids=repr)
def test_a_users_forward_function_and_rule_must_give_arrays(wrong: Any, forget: Any) -> None:
    @tg.primitive("f")
    def forward_gives_no_array(x: Any) -> Any:
        return wrong

    forward_gives_no_array.vjp(x=lambda g: g)
    kind = type(wrong).__name__
    with pytest.raises(TypeError, match=f"forward_gives_no_array: the forward .* must return an array, it .* {kind}"):
        forward_gives_no_array(leaf())

    @tg.primitive("g")
    def rule_gives_no_array(x: Any) -> Any:
        return 2 * x

    rule_gives_no_array.vjp(x=lambda g: wrong)
    with pytest.raises(TypeError, match=f"rule_gives_no_array: the rule of 'x' must .* an array, it returned a {kind}"):
        rule_gives_no_array(leaf()).sum().backward()


def test_a_users_op_that_cannot_be_recorded_is_refused_at_once(forget: Any) -> None:
    def with_options(x: Any, **options: Any) -> Any:
        return x

    with pytest.raises(TypeError, match=r"primitive: with_options\(x, \*\*options\) must name each of its arguments"):
        tg.primitive("f")(with_options)

    @tg.primitive("f")
    def turned_complex(x: Any) -> Any:
        return x * 1j

    for rule in (lambda: 1, lambda g, *, y: g):
        with pytest.raises(TypeError, match="turned_complex: the rule of 'x' must take the cotangent first"):
            turned_complex.vjp(x=rule)
    turned_complex.vjp(x=lambda g: g)
    with pytest.raises(TypeError, match="turned_complex: the forward function returned complex.*holds real numbers"):
        turned_complex(leaf())


@pytest.mark.host  # CuPy has no read-only arrays
def test_a_users_function_cannot_write_into_what_it_was_given(forget: Any) -> None:
    @tg.primitive("2x")
    def doubled_in_place(x: Any) -> Any:
        x *= 2
        return x

    x = leaf()
    with pytest.raises(TypeError, match="^doubled_in_place: the forward function writes into an array.*not x \\*= 2$"):
        doubled_in_place(x)
    assert x.tolist() == [1, 2, 3]

    @tg.primitive("2x")
    def doubled_with_a_greedy_rule(x: Any) -> Any:
        return 2 * x

    def in_place(g: Any) -> Any:
        g *= 2
        return g

    doubled_with_a_greedy_rule.vjp(x=in_place)
    with pytest.raises(TypeError, match="^doubled_with_a_greedy_rule: the rule of 'x' writes into an array"):
        (doubled_with_a_greedy_rule(x) + x).sum().backward()

    @tg.primitive("a, b", reference=lambda a: (a, 2 * a), outputs=2)
    def fused_with_a_greedy_rule(a: Any) -> Any:
        return (a.copy(), 2 * a), None

    @fused_with_a_greedy_rule.joint_vjp
    def rule(g: Any) -> Any:
        g[0].fill(0)
        return (g[0],)

    with pytest.raises(TypeError, match="^fused_with_a_greedy_rule: the joint rule writes into an array"):
        (fused_with_a_greedy_rule(x)[0] + x).sum().backward()


def test_several_outputs_must_be_a_tuple_of_arrays(forget: Any) -> None:
    @tg.primitive("f", outputs=2)
    def gives_one_of_two(x: Any) -> Any:
        return x

    gives_one_of_two.vjp(x=lambda g: g[0])
    with pytest.raises(TypeError, match="gives_one_of_two: the forward function must return a tuple of arrays"):
        gives_one_of_two(leaf())


def test_a_fused_op_gives_a_pair_and_nothing_longer(forget: Any) -> None:
    @tg.primitive("f", reference=lambda x: x)
    def gives_three(x: Any) -> Any:
        return x, x, x

    with pytest.raises(TypeError, match=r"gives_three: .* must return \(an array, residuals\), it returned a tuple"):
        gives_three(tg.tensor([1.0]))


def test_the_reference_of_a_fused_op_need_not_use_every_argument(forget: Any) -> None:
    @tg.primitive("f", reference=lambda a, b: a * a)
    def square_of_the_first(a: Any, b: Any) -> Any:
        return a * a, None

    square_of_the_first.joint_vjp(lambda g, a, b: (2 * g * a, 0 * b))
    a, b = leaf(), leaf()
    first = tg.gradients(square_of_the_first(a, b).sum(), [a, b], create_graph=True)
    np.testing.assert_array_equal(tg.gradients(first[0].sum(), a)[0], [2, 2, 2])
    assert first[1].tolist() == [0, 0, 0]


def test_the_reference_runs_where_a_tape_is_expanded_and_not_before(forget: Any) -> None:
    runs: list[int] = []

    @tg.primitive("f", reference=lambda a: runs.append(1) or a * a)
    def square_of_its_own(a: Any) -> Any:
        return a * a, None

    square_of_its_own.joint_vjp(lambda g, a: (2 * g * a,))
    tape = tg.Tape(square_of_its_own(leaf()))
    assert tape.values()[-1].tolist() == [1, 4, 9] and runs == []
    assert [entry.op for entry in tape.expand()] == ["leaf", "multiply"] and runs == [1]


def test_a_rule_that_gives_a_shape_of_its_own_is_told(forget: Any) -> None:
    @tg.primitive("total")
    def total_unstretched(x: Any) -> Any:
        return x.sum()

    total_unstretched.vjp(x=lambda g: g)
    message = r"rule of total_unstretched gave a cotangent of shape \(\) for an argument of shape \(3,\)"
    with pytest.raises(tg.ShapeError, match=message):
        total_unstretched(leaf()).backward()
    with pytest.raises(tg.ShapeError, match=message):
        tg.grad(tg.grad(total_unstretched))(leaf())


def test_a_rule_that_gives_a_size_of_its_own_is_told(forget: Any) -> None:
    @tg.primitive("f")
    def doubled_but_for_the_first(x: Any) -> Any:
        return x * 2

    doubled_but_for_the_first.vjp(x=lambda g: g[1:] * 2)
    with pytest.raises(tg.ShapeError, match=r"gave a cotangent of shape \(2,\) for an argument of shape \(3,\)"):
        doubled_but_for_the_first(leaf()).sum().backward()


def test_errors_of_a_users_own_code_come_through(forget: Any) -> None:
    @tg.primitive("lookup")
    def looked_up(x: Any) -> Any:
        if x.ndim == 0:
            raise KeyError("no such row")
        return x * 2

    def rule(g: Any) -> Any:
        raise ValueError("a mistake in a rule")

    looked_up.vjp(x=rule)
    with pytest.raises(KeyError, match="no such row"):
        looked_up(leaf(1.0))
    with pytest.raises(ValueError, match="^a mistake in a rule$"):
        looked_up(leaf()).sum().backward()


def test_wrong_arguments_are_told_with_the_ops_signature() -> None:
    told = r"^softmax\(x, axis=-1\): got an unexpected keyword argument 'dim'; dim is called axis here$"
    with pytest.raises(TypeError, match=told):
        tg.softmax(leaf(), dim=0)
    with pytest.raises(TypeError, match=r"^sum\(x, axis=None, keepdims=False\): .*; keepdim is called keepdims here$"):
        leaf().sum(keepdim=True)
    with pytest.raises(TypeError, match=r"softmax\(.*: too many positional arguments"):
        tg.softmax(leaf(), 0, 1)
    with pytest.raises(TypeError, match=r"softmax\(.*: missing a required argument: 'x'"):
        tg.softmax(axis=0)
    with pytest.raises(TypeError, match=r"softmax\(.*: multiple values for argument 'axis'"):
        tg.softmax(leaf(), 0, axis=0)


def test_keyword_only_arguments_are_not_taken_by_position(forget: Any) -> None:
    @tg.primitive("scaled")
    def scaled(x: Any, *, by: float) -> Any:
        return x * by

    scaled.vjp(x=lambda g, by: g * by)
    assert scaled(leaf(np.ones(2)), by=3.0).tolist() == [3, 3]
    with pytest.raises(TypeError, match=r"scaled\(.*: too many positional arguments"):
        scaled(leaf(np.ones(2)), 3.0)
    with pytest.raises(TypeError, match=r"scaled\(.*: missing a required (keyword-only )?argument: 'by'"):
        scaled(leaf(np.ones(2)))
