"""Inputs to check with: strategies for Hypothesis, ``given_gradients``, picks and random programs."""

from __future__ import annotations

import random
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad7 as tg
from tests.test_testing import wrong_cube
from tinygrad7.domains import elementwise
from tinygrad7.op import REGISTRY
from tinygrad7.ops.reduce import sum_to
from tinygrad7.testing import GradientError, check_gradients, examples, given_gradients, plain, strategies
from tinygrad7.testing.picks import GeneratorPick, grid
from tinygrad7.testing.programs import Operand, Program, Step, composable, draw_program, fit

# ---- strategies --------------------------------------------------------------------------------------------------


@given(strategies.arrays(low=-1, high=2, away=(0.0, 1.0), dtype="float16"))
def test_arrays_lie_where_they_are_asked_to(x: np.ndarray) -> None:
    assert x.dtype == np.float16
    assert x.ndim <= 3 and ((x >= -1) & (x <= 2) & (np.abs(x) >= 0.1) & (np.abs(x - 1) >= 0.099)).all()


@given(
    strategies.away_from_kinks((0.0, 1.0), (2, 3)),
    strategies.well_conditioned((3,)),
    strategies.well_conditioned(positive=False),
)
def test_values_to_relu_to_divide_by_and_to_take_logarithms_of(x: Any, y: Any, z: Any) -> None:
    assert x.shape == (2, 3) and (np.abs(x) >= 0.1).all() and (np.abs(x - 1) >= 0.1).all()
    assert len(np.unique(x)) == x.size
    assert ((y >= 0.5) & (y <= 4)).all()
    assert ((np.abs(z) >= 0.5) & (np.abs(z) <= 4)).all()


@given(st.data(), st.sampled_from(["float16", "float32", "float64"]))
def test_distinct_values_are_distinct_in_their_dtype(data: Any, dtype: str) -> None:
    x = data.draw(strategies.arrays((40,), -30, 30, distinct=True, dtype=dtype))
    assert x.dtype == dtype and len(np.unique(x)) == 40


def test_more_distinct_values_than_a_dtype_has_are_refused() -> None:
    told = r"arrays: float16 has 1537 of these values between 1.0 and 3.0, and 5000 for shape \(5000,\) cannot be disti"
    with pytest.raises(ValueError, match=told):
        hypothesis.find(strategies.arrays((5000,), 1.0, 3.0, distinct=True, dtype="float16"), lambda x: True)


@pytest.mark.parametrize("distinct", [False, True])
def test_arrays_may_be_large(distinct: bool) -> None:
    wanted = strategies.arrays((100, 100), distinct=distinct)
    x = hypothesis.find(wanted, lambda x: True)
    assert (x.shape == (100, 100) and (np.abs(x) <= 3).all() and len(np.unique(x)) == 10_000) or not distinct
    other = hypothesis.find(wanted, lambda y: not np.array_equal(x, y))
    assert other.shape == (100, 100)


def test_what_strategies_cannot_draw_is_told() -> None:
    with pytest.raises(TypeError, match="arrays: int64 is no floating dtype"):
        hypothesis.find(strategies.arrays((2,), dtype=int), lambda x: True)
    with pytest.raises(TypeError, match="'nope' is no op that tg.primitive registered"):
        hypothesis.find(strategies.programs(ops=["nope"]), lambda p: True)
    assert abs(hypothesis.find(strategies.away_from_kinks(0.0, ()), lambda x: True)) >= 0.1


def test_an_axis_of_less_than_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="shapes: min_side=-2: an axis has 0 elements or more"):
        hypothesis.find(strategies.shapes(min_side=-2), lambda s: True)


@given(strategies.tensors((2,)), strategies.broadcastable(3), strategies.matrices("float32"))
def test_tensors_pairs_and_matrices(t: Any, trio: Any, pair: Any) -> None:
    assert isinstance(t, tg.Tensor) and t.requires_grad and t.shape == (2,)
    np.broadcast_shapes(*[x.shape for x in trio])
    a, b = pair
    assert (a @ b).dtype == np.float32


@given(st.data(), strategies.shapes(0, 3, 0, 3))
def test_indices_fit_their_shape(data: Any, shape: Any) -> None:
    _ = np.zeros(shape)[data.draw(strategies.indices(shape))]


@given(
    strategies.sequences(),
    strategies.sequences("lstm"),
    strategies.sequences("gru", dtype="float32"),
    strategies.sequences("rnn"),
)
@settings(max_examples=15)
def test_sequences_feed_the_recurrent_ops(x: Any, lstm: Any, gru: Any, rnn: Any) -> None:
    assert x.ndim == 3
    y, (h, c) = tg.lstm(*placed(lstm))
    assert y.shape == (*lstm[0].shape[:2], h.shape[-1]) and c.shape == h.shape
    y, h = tg.gru(*placed(gru))
    assert y.dtype == np.float32
    check_gradients(lambda *a: tg.rnn(*a), *rnn, order=1)


def placed(value: Any) -> Any:
    return tuple([placed(v) for v in value]) if isinstance(value, tuple) else tg.tensor(value)


def test_an_unknown_cell_is_named() -> None:
    with pytest.raises(ValueError, match="cell 'lstn' is not there; use 'rnn', 'lstm' or 'gru'"):
        hypothesis.find(strategies.sequences("lstn"), lambda s: True)


def shrunk(strategy: Any, condition: Any) -> Any:
    return hypothesis.find(strategy, condition, settings=settings(max_examples=2000, derandomize=True, database=None))


def test_examples_shrink_to_the_smallest_that_fail() -> None:
    x = shrunk(strategies.arrays(), lambda x: bool((x > 0.7).any()))
    assert x.size == 1 and x.item() == 1.0
    x = shrunk(strategies.arrays(away=(0.0,)), lambda x: x.size >= 2)
    assert x.size == 2 and set(np.abs(x.ravel())) == {1.0}
    a, b = shrunk(strategies.broadcastable(), lambda p: p[0].shape != p[1].shape)
    assert a.size + b.size <= 3
    x, *_ = shrunk(strategies.sequences("rnn"), lambda s: len(s[0]) >= 3)
    assert x.shape == (3, 1, 1) and not x.any()


@pytest.mark.parametrize("name", ["tanh", "matmul"])
def test_programs_shrink_to_few_steps(name: str) -> None:
    """Of five searches, most end at one or two steps; Hypothesis stops shrinking after 500 successes, so not all do."""
    sizes = []
    for seed in range(5):
        program = hypothesis.find(
            strategies.programs(),
            lambda p: any(step.op == name for step in p.steps),
            settings=settings(max_examples=2000, database=None),
            random=random.Random(seed),
        )
        assert len(program.inputs) == 1
        sizes.append(len(program.steps))
    assert sorted(sizes)[2] <= 2, sizes


# ---- given_gradients ---------------------------------------------------------------------------------------------


test_product = given_gradients(tg.multiply, x=strategies.arrays((2, 3)), y=strategies.arrays((3,)))


@given_gradients(x=strategies.arrays((2, 2)))
def test_a_function_under_the_decorator(x: Any) -> Any:
    return tg.sum(x * x, axis=0)


SEEN: list[Any] = []


@settings(max_examples=7)
@given_gradients(lambda a, b: a / b, order=1, a=strategies.arrays(()), b=strategies.well_conditioned(()))
def test_a_function_and_more_about_its_inputs(b: Any) -> None:
    SEEN.append(b)
    assert b >= 0.5


def test_the_decorators_ran_and_fail_where_they_should() -> None:
    test_a_function_and_more_about_its_inputs()
    assert 0 < len(SEEN) <= 14
    assert test_a_function_under_the_decorator.__name__ == "test_a_function_under_the_decorator"
    with pytest.raises(GradientError):
        given_gradients(wrong_cube(lambda g, x: g * x), order=1, x=strategies.arrays((1,), 0.5, 2))()
    with pytest.raises(TypeError, match="give a strategy for each input"):
        given_gradients(tg.tanh)


# ---- picks and programs ------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_examples() -> None:
    first, second = (list(examples("conv2d" if "conv2d" in REGISTRY else "matmul", 5, 3)) for _ in range(2))
    for (a, _), (b, _) in zip(first, second, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y) if isinstance(x, np.ndarray) else None


def test_the_grid_is_exact_in_float16_and_simple_first() -> None:
    values = grid(-3.0, 3.0)
    assert values[0] == 0 and values[1] == 1 and values[2] == -1
    np.testing.assert_array_equal(values.astype(np.float16).astype(float), values)
    assert len(grid(0.0, 0.25)) >= 64


def test_a_value_to_keep_away_from_that_fills_the_interval_is_given_up() -> None:
    x = GeneratorPick(np.random.default_rng(0)).array((5,), -0.05, 0.05, away=(0.0,))
    assert x.shape == (5,) and (np.abs(x) <= 0.05).all()


@pytest.mark.host
def test_a_program_is_what_it_prints() -> None:
    pick = GeneratorPick(np.random.default_rng(4))
    names = {name: op.call for name, op in REGISTRY.items()}
    names |= {"fit": fit, "array": np.array, "dtype": np.dtype, "sigmoid": plain.sigmoid, "inf": np.inf}
    for _ in range(60):
        program = draw_program(pick)
        namespace: dict[str, Any] = dict(names)
        exec(str(program), namespace)
        with np.errstate(all="ignore"):
            for y, wanted in zip(namespace["program"](*program.inputs), program.numpy(*program.inputs), strict=True):
                np.testing.assert_allclose(y, wanted, rtol=1e-9, atol=1e-9)


def test_a_program_prints_numpys_numbers_as_numbers() -> None:
    program = Program([np.ones(2)], [Step("multiply", (Operand(0), np.float64(2.5)), {}, None)])
    assert str(program).splitlines()[2:] == ["    v1 = multiply(v0, 2.5)", "    return v1,"]
    np.testing.assert_array_equal(program(*program.inputs)[0], [2.5, 2.5])


def test_a_domain_that_does_not_fit_its_op_is_told() -> None:
    @tg.primitive("picky", domain=elementwise((0, 1)))
    def takes_no_values_below_one(x: Any) -> Any:
        raise ArithmeticError("below one")

    with pytest.raises(ArithmeticError, match="below one"):
        draw_program(GeneratorPick(np.random.default_rng(0)), ops=["takes_no_values_below_one"])


def test_what_was_not_stretched_is_not_summed_here_and_in_plain_numpy() -> None:
    for f in (sum_to, plain.plain("sum_to")):
        with pytest.raises(ValueError, match=r"\(2,\) was not stretched from \(3, 2\)"):
            f(np.ones(2), (3, 2))


def test_programs_use_every_op() -> None:
    pick = GeneratorPick(np.random.default_rng(0))
    for name in composable():
        program = draw_program(pick, ops=[name], max_steps=1)
        assert [step.op for step in program.steps] == [name]
        assert program.outputs
