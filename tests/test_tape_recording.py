"""Recording: what an op puts on the tape, what it saves, the context that it is recorded in, and ``primitive``."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tests.helpers import host
from tinygrad7.context import STATE, path
from tinygrad7.node import Leaf, Node
from tinygrad7.op import REGISTRY, inputs
from tinygrad7.tensor import Tensor
from tinygrad7.walk import saved_arrays


def leaf(value: Any = (1.0, 2.0, 3.0), name: str | None = None) -> Tensor:
    return tg.tensor(np.asarray(value, np.float64), requires_grad=True, name=name)


@pytest.fixture
def forget() -> Any:
    """Ops that a test registers are taken out again."""
    before = set(REGISTRY)
    yield
    for name in set(REGISTRY) - before:
        del REGISTRY[name]


def attempt(f: Any, *operands: Any) -> tuple[Any, ...]:
    """What ``f`` gives: dtype, shape and bytes, or the kind of error."""
    try:
        with np.errstate(all="ignore"):
            y = f(*operands)
    except Exception as error:
        return (isinstance(error, TypeError),)
    return y.dtype, y.shape, y.tobytes()


@pytest.mark.parametrize("name", sorted(op.name for op in REGISTRY.values() if op.ufunc))
def test_the_ufunc_called_for_numpy_arrays_does_what_the_forward_function_does(name: str) -> None:
    op = REGISTRY[name]
    values = np.array([-2.0, -0.0, 0.0, 0.3, 1.0, 7.0, np.inf, np.nan])
    arrays = [values.astype(dtype) for dtype in ("f2", "f4", "f8")]
    arrays += [np.arange(-3, 5).astype(dtype) for dtype in ("i4", "i8", "u1", "?")] + [np.empty((0, 8)), np.array(2.0)]
    seconds: list[Any] = [*arrays, np.float32(0.5), 2, 2.5, True]
    for first in arrays:
        for rest in [()] if len(op.names) == 1 else [(second,) for second in seconds]:
            assert attempt(op.ufunc, first, *rest) == attempt(op.forward, first, *rest), (first, rest)


# ---- nodes -------------------------------------------------------------------------------------------------------


def test_a_node_points_backwards_and_keeps_the_order_of_its_arguments() -> None:
    x, y = leaf(), leaf()
    z = x * y - x
    node = z._node
    assert isinstance(node, Node) and node.plan.op.name == "subtract"
    product, second = node.parents
    assert second is x._node and product.parents == (x._node, y._node)
    assert product.birth < node.birth and x._node.birth < product.birth
    assert (node.shape, node.dtype) == ((3,), np.float64)
    assert not [slot for slot in Node.__slots__ if isinstance(getattr(node, slot), Tensor)]


def test_nothing_is_recorded_for_constants() -> None:
    c = tg.tensor([1.0, 2.0])
    assert tg.tanh(c)._node is None and (c * 2 + c)._node is None and tg.concatenate([c, c])._node is None
    assert isinstance((c * leaf([1.0, 1.0]))._node, Node)


def test_ops_on_plain_arrays_give_plain_arrays() -> None:
    a = tg.tensor(np.array([1.0, 2.0])).data
    for y in (tg.tanh(a), tg.multiply(a, 2.0), tg.sum(a), tg.concatenate([a, a]), tg.softmax(a)):
        assert not isinstance(y, Tensor)
    np.testing.assert_allclose(tg.add([1.0, 2.0], 1.0), [2.0, 3.0])


def saved(t: Tensor) -> list[Any]:
    assert isinstance(t._node, Node)
    return saved_arrays(t._node.saved)


def test_the_parameters_of_a_rule_are_what_is_saved() -> None:
    x, y, c = leaf(), leaf(), tg.tensor(np.ones(3))
    assert saved(x + y) == [] and saved(-x) == [] and saved(x - c) == []
    t = tg.tanh(x)
    assert len(saved(t)) == 1 and saved(t)[0] is t._data
    assert len(saved(x * y)) == 2
    assert len(saved(x * c)) == 1 and saved(x * c)[0] is c._data  # the rule of c will not run, so x is not kept
    assert len(saved(c * x)) == 1 and saved(c * x)[0] is c._data
    assert saved(x * 2.0) == []


def test_a_raw_operand_that_a_rule_saves_is_copied() -> None:
    a = tg.tensor(np.ones(3)).numpy().copy()
    if tg.tensor(1.0).device != "cpu":
        a = tg.tensor(a).data
    x = leaf()
    y = (x * a + x**a + a * x).sum()
    a[...] = 100.0
    y.backward()
    np.testing.assert_allclose(x.grad, [3.0, 3.0, 3.0])


def test_an_index_that_is_changed_later_changes_nothing() -> None:
    x, i = leaf(), np.array([0, 0, 2])
    y = x[i].sum()
    i[...] = 1
    y.backward()
    np.testing.assert_array_equal(x.grad, [2.0, 0.0, 1.0])


def test_inputs_tells_nodes_and_constants_in_the_order_of_the_call() -> None:
    x, c = leaf(), tg.tensor(np.ones(3), name="c")
    constant, node = inputs((c * x)._node)
    assert constant._data is c._data and constant.name == "c" and node is x._node
    assert inputs((x**2)._node) == [x._node, 2]


def test_several_outputs_have_a_node_each_that_says_which_it_is() -> None:
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    a, b = tg.unstack(x)
    assert a._node.parents == b._node.parents and (a._node.params, b._node.params) == ((0,), (1,))
    b.sum().backward()
    np.testing.assert_array_equal(x.grad, [[0.0, 0.0], [1.0, 1.0]])


# ---- scopes ------------------------------------------------------------------------------------------------------


def test_scopes_and_steps_nest_and_are_read_from_the_node() -> None:
    x = leaf()
    with tg.scope("encoder"), tg.scope("layer", 2):
        with tg.step(4):
            y = x * 2
        z = x * 3
    w = x * 4
    assert path(y._node.scope) == ("encoder", "layer[2]", "t=4") and y._node.scope.step == 4
    assert path(z._node.scope) == ("encoder", "layer[2]") and z._node.scope.step is None
    assert path(w._node.scope) == () and w._node.scope is None
    with tg.step(1), tg.scope("inner"):
        assert (x + 1)._node.scope.step == 1


def test_a_time_step_is_an_integer() -> None:
    for wrong in ("a", 1.5, None):
        with pytest.raises(TypeError, match=r"step: a time step is an integer, not .*tg\.scope\(name\)"):
            tg.step(wrong)  # type: ignore[arg-type]
    with tg.step(np.int64(3)):
        assert path(leaf().tanh()._node.scope) == ("t=3",)


def test_a_scope_ends_when_its_block_raises() -> None:
    with pytest.raises(KeyError), tg.scope("a"), tg.step(0):
        raise KeyError
    assert STATE.get().scope is None


def test_one_scope_object_can_be_entered_again_and_within_itself() -> None:
    x, s = leaf(), tg.scope("s")
    with s, s:
        assert path((x + 1)._node.scope) == ("s", "s")
    with s:
        assert path((x + 1)._node.scope) == ("s",)
    assert STATE.get().scope is None


# ---- no_grad and its kin -----------------------------------------------------------------------------------------


def test_no_grad_and_enable_grad_nest() -> None:
    x = leaf()
    with tg.no_grad():
        assert not (x * 2).requires_grad
        with tg.enable_grad():
            assert (x * 2).requires_grad
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad
    with pytest.raises(ZeroDivisionError), tg.no_grad():
        1 / 0
    assert (x * 2).requires_grad


def test_what_was_set_inside_a_block_stays_when_the_block_ends() -> None:
    with tg.default_dtype("float32"):
        with tg.no_grad(), tg.scope("s"):
            setting = tg.default_dtype("float64")  # holds from now on, not only until here
        assert tg.tensor(1.0).dtype == np.float64 and (leaf() * 2).requires_grad and STATE.get().scope is None
        with setting:
            pass
        assert tg.tensor(1.0).dtype == np.float32


def test_no_grad_decorates_functions_and_keeps_their_names() -> None:
    x = leaf()

    @tg.no_grad()
    def predict(a: Tensor, *, scale: float = 1.0) -> Tensor:
        """Says."""
        return a * scale

    assert not predict(x, scale=2.0).requires_grad
    assert (predict.__name__, predict.__doc__) == ("predict", "Says.")
    assert (x * 2).requires_grad


def test_no_grad_decorates_recursive_functions() -> None:
    x = leaf()

    @tg.no_grad()
    def down(n: int) -> bool:
        return (x * n).requires_grad or (n > 0 and down(n - 1))

    assert not down(5)
    assert (x * 2).requires_grad


def test_no_grad_holds_inside_a_generator_function_and_not_in_its_consumer() -> None:
    x = leaf()
    closed = []

    @tg.no_grad()
    def values() -> Any:
        try:
            received = yield (x * 1).requires_grad
            while True:
                received = yield ((x * 2).requires_grad, received)
        except ValueError as error:
            yield ("caught", str(error), (x * 3).requires_grad)
            return "done"
        finally:
            closed.append((x * 4).requires_grad)

    generator = values()
    assert next(generator) is False
    assert (x * 2).requires_grad
    assert generator.send("hello") == (False, "hello")
    assert (x * 2).requires_grad
    assert generator.throw(ValueError("oh")) == ("caught", "oh", False)
    with pytest.raises(StopIteration) as stop:
        next(generator)
    assert stop.value.value == "done" and closed == [False]
    other = values()
    next(other)
    other.close()
    assert closed == [False, False] and (x * 2).requires_grad


def test_no_grad_decorates_coroutines() -> None:
    x = leaf()

    @tg.no_grad()
    async def inside() -> bool:
        await asyncio.sleep(0)
        return (x * 2).requires_grad

    async def both() -> list[bool]:
        return [await inside(), (x * 2).requires_grad]

    assert asyncio.run(both()) == [False, True]


def test_no_grad_decorates_asynchronous_generators_and_not_their_consumers() -> None:
    x = leaf()
    seen: list[Any] = []

    @tg.no_grad()
    async def inside() -> Any:
        try:
            seen.append((yield (x * 2).requires_grad))
            await asyncio.sleep(0)
            yield (x * 2).requires_grad
        except KeyError:
            yield "caught"
        finally:
            seen.append((x * 2).requires_grad)

    async def consume() -> list[Any]:
        found = []
        async for recorded in inside():
            found += [recorded, (x * 2).requires_grad]
        thrown = inside()
        await anext(thrown)
        found.append(await thrown.athrow(KeyError()))
        await thrown.aclose()
        sent = inside()
        await anext(sent)
        await sent.asend("sent")
        await sent.aclose()
        return found

    assert asyncio.run(consume()) == [False, True, False, True, "caught"]
    assert seen == [None, False, False, "sent", False]


@pytest.mark.parametrize("setting", [tg.no_grad, tg.enable_grad, tg.detect_anomaly])
def test_decorators_without_arguments_need_no_parentheses(setting: Any) -> None:
    @setting
    def state(a: int, *, b: int) -> tuple[Any, ...]:
        now = STATE.get()
        return now.recording, now.watch, a + b

    with setting():
        now = STATE.get()
        assert state(1, b=2) == (now.recording, now.watch, 3)
    assert state.__name__ == "state" and STATE.get().recording and not STATE.get().watch


def test_settings_are_each_tasks_own_under_asyncio() -> None:
    x = leaf()
    seen: dict[str, list[Any]] = {"a": [], "b": []}

    async def task(name: str, setting: Any) -> None:
        with setting, tg.scope(name):
            for _ in range(3):
                await asyncio.sleep(0)
                y = x * 2
                seen[name].append((y.requires_grad, path(STATE.get().scope)))

    async def main() -> None:
        await asyncio.gather(task("a", tg.no_grad()), task("b", tg.enable_grad()))

    asyncio.run(main())
    assert seen == {"a": [(False, ("a",))] * 3, "b": [(True, ("b",))] * 3}


def test_settings_are_each_threads_own() -> None:
    x = leaf()
    barrier = threading.Barrier(2, timeout=20)
    seen: dict[str, Any] = {}

    def work(name: str, setting: Any) -> None:
        with setting, tg.scope(name), tg.default_dtype("float64" if name == "a" else "float16"):
            barrier.wait()
            seen[name] = ((x * 2).requires_grad, path(STATE.get().scope), tg.tensor(1.0).dtype.name)
            barrier.wait()

    with tg.no_grad():
        threads = [threading.Thread(target=work, args=a) for a in (("a", tg.no_grad()), ("b", tg.enable_grad()))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not (x * 2).requires_grad
    assert seen == {"a": (False, ("a",), "float64"), "b": (True, ("b",), "float16")}
    assert (x * 2).requires_grad and tg.tensor(1.0).dtype == np.float32


def test_the_device_is_each_threads_own(cuda: Any) -> None:
    seen = []
    with tg.device("cuda"):
        assert tg.zeros(1).device == "cuda:0"
        thread = threading.Thread(target=lambda: seen.append(tg.zeros(1).device))
        thread.start()
        thread.join()
    assert seen == ["cpu"]


def test_eight_threads_of_nested_derivatives_agree() -> None:
    expected = 4 * 3 * 2.0**2  # d²/dx² x⁴ at 2
    found: list[list[float]] = [[] for _ in range(8)]

    def work(into: list[float]) -> None:
        for _ in range(20):
            into.append(tg.grad(tg.grad(lambda x: x**4))(tg.tensor(2.0, dtype="float64")).item())

    threads = [threading.Thread(target=work, args=(into,)) for into in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[expected] * 20] * 8


# ---- primitive ---------------------------------------------------------------------------------------------------


def test_a_users_op_works_from_its_one_declaration(forget: Any) -> None:
    @tg.primitive("cube", domain=lambda pick: ((pick.array(pick.shape()),), {}))
    def cube(x: Any) -> Any:
        """Third power.   y = x³      x̄ = 3 ȳ x²"""
        return x * x * x

    cube.vjp(x=lambda g, x: 3 * g * x * x)
    x = leaf([2.0, -1.0])
    y = cube(x)
    assert y._node.plan.op.label == "cube" and not hasattr(Tensor, "cube")
    y.sum().backward()
    np.testing.assert_allclose(x.grad, [12.0, 3.0])
    np.testing.assert_allclose(tg.hessian(lambda v: cube(v).sum())(x), np.diag([12.0, -6.0]))
    assert cube.__doc__.startswith("Third power")
    assert not isinstance(cube(host(x)), Tensor)


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
    with pytest.raises(TypeError, match=r"scaled\(.*: missing a required argument: 'by'"):
        scaled(leaf(np.ones(2)))


# ---- messages of forward errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: leaf(np.ones((2, 3))) + leaf(np.ones(2)),
            r"add: shapes \(2, 3\) and \(2,\) do not broadcast: compared from the right.*an axis with x\[:, None\]",
        ),
        (
            lambda: leaf(np.ones((2, 3))) @ leaf(np.ones((2, 3))),
            r"matmul: shapes \(2, 3\) and \(2, 3\) cannot be multiplied: "
            r"the last axis of a \(3\) must equal the second to last axis of b \(2\)",
        ),
        (lambda: leaf(np.ones((2, 3))) @ leaf(np.ones(2)), r"the only axis of b \(2\); transpose one with \.T\?"),
        (lambda: leaf(np.ones(6)).reshape(4, 2), r"reshape: .*met \(6,\) float64"),
        (
            lambda: tg.concatenate([leaf(np.ones((2, 2))), leaf(np.ones((3, 3)))]),
            r"concatenate: .*met \(2, 2\) float64.*, \(3, 3\) float64",
        ),
    ],
)
def test_shapes_that_do_not_fit_are_told_with_the_mend(call: Any, message: str) -> None:
    with pytest.raises(tg.ShapeError, match=message) as caught:
        call()
    assert isinstance(caught.value, ValueError) and caught.value.__cause__ is not None


def test_an_index_out_of_range_is_told_with_the_op_and_the_shape() -> None:
    with pytest.raises(IndexError, match=r"getitem: .*index 7 is out of bounds.*met \(3,\) float64"):
        leaf()[7]
    with pytest.raises(IndexError, match="getitem: an index must be integer or boolean, not float64"):
        leaf()[np.array([0.5])]
    with pytest.raises(
        TypeError, match="getitem: an index has no gradient; pass integers, slices or an integer tensor"
    ):
        leaf()[leaf()]


def test_an_operand_that_is_nothing_like_a_number_is_told() -> None:
    with pytest.raises(TypeError, match=r"^add: 'a' is no number or array of numbers \(met \(3,\) float64.*, 'a'\)$"):
        leaf() + "a"
    with pytest.raises(TypeError, match=r"^multiply: None is no number .*\(a \.grad that no backward has filled\?\)"):
        leaf() * None


def test_an_error_is_explained_once() -> None:
    with pytest.raises(tg.ShapeError) as caught:
        tg.grad(lambda x: tg.sum(x @ x))(leaf(np.ones((2, 3))))
    assert str(caught.value).count("(met") == 1


def test_leaves_are_born_in_order() -> None:
    a, b = leaf(), leaf()
    assert isinstance(a._node, Leaf) and a._node.birth < b._node.birth < (a + b)._node.birth
