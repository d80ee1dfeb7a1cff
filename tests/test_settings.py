"""What holds for the code that runs now: scopes and steps, recording or not, in every thread and task."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tests.helpers import leaf
from tinygrad7.context import STATE, Setting, path
from tinygrad7.tensor import Tensor

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


def test_inside_a_scope_all_other_settings_are_those_outside() -> None:
    fields = ("recording", "device", "dtype", "watch", "depth", "generators")
    state = STATE.get()
    changed = dict(recording=False, device="cuda:0", dtype=np.dtype("float64"), watch=True, depth=3, generators={})
    for settings in ({}, changed):
        with Setting(**settings):
            outside = STATE.get()
            for block in (tg.scope("s"), tg.step(2)):
                with block:
                    assert [getattr(STATE.get(), f) for f in fields] == [getattr(outside, f) for f in fields]
                assert STATE.get() is outside
    assert STATE.get() is state


def test_the_number_of_a_step_is_pythons() -> None:
    with tg.step(np.int64(3)):
        assert type(leaf()._node.scope.step) is int


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


def test_under_no_grad_no_kind_of_op_is_recorded() -> None:
    x = leaf()
    with tg.no_grad():
        for y in (tg.exp(x), x * x, tg.sum(x), *tg.unstack(x)):
            assert not y.requires_grad


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


def test_one_object_serves_many_tasks_and_threads() -> None:
    shared, w = tg.no_grad(), leaf()

    async def train() -> bool:
        with shared:
            await asyncio.sleep(0.01)
        return (w * 2).requires_grad

    async def evaluate() -> bool:
        with tg.no_grad():
            with shared:
                await asyncio.sleep(0.03)
            return (w * 2).requires_grad

    async def both() -> list[bool]:
        return await asyncio.gather(train(), evaluate())

    assert asyncio.run(both()) == [True, False]

    named, wrong, together = tg.scope("shared"), [], threading.Barrier(4)

    def rounds(i: int) -> None:
        together.wait()
        for _ in range(300):
            with tg.scope(f"thread {i}"), named:
                y = w * 2
            if path(y._node.scope) != (f"thread {i}", "shared") or STATE.get().scope is not None:
                wrong.append(i)

    threads = [threading.Thread(target=rounds, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_blocks_may_be_left_in_any_order() -> None:
    first, second, around = tg.no_grad(), tg.scope("second"), STATE.get().around
    first.__enter__()
    second.__enter__()
    first.__exit__()
    assert STATE.get().recording and path(STATE.get().scope) == ("second",)
    second.__exit__()
    assert STATE.get().recording and STATE.get().scope is None
    second.__exit__()  # entered by nobody here
    assert STATE.get().recording and STATE.get().around is around


def test_many_blocks_that_nobody_leaves_do_no_harm() -> None:
    async def batches() -> Any:
        with tg.no_grad():
            for i in range(3):
                yield i

    async def serve() -> tuple[bool, Any]:
        for _ in range(2000):
            async for _ in batches():
                break  # it is closed in another task
        with tg.enable_grad(), tg.scope("here"):
            tg.default_dtype("float64")
            return tg.zeros(()).dtype == np.float64, (leaf() * 2).requires_grad

    assert asyncio.run(serve()) == (True, True)


def test_a_dtype_that_is_set_outlasts_all_blocks_but_one_that_sets_it_too() -> None:
    before, depth = STATE.get().dtype, _depth()
    with tg.default_dtype("float64"):
        with tg.no_grad(), tg.scope("s"):
            tg.default_dtype("float16")
            assert tg.zeros(()).dtype == np.float16
        assert tg.zeros(()).dtype == np.float16
    assert tg.zeros(()).dtype == before
    again = tg.default_dtype("float64")
    for _ in range(2000):
        tg.default_dtype("float64")
    assert _depth() == depth  # nothing piles up
    with again:
        assert tg.zeros(()).dtype == np.float64
    assert tg.zeros(()).dtype == before and _depth() == depth


def _depth() -> int:
    state, count = STATE.get(), 0
    while state.around is not None:
        state, count = state.around, count + 1
    return count


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
