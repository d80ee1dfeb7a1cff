"""Random programs of registered ops: value and gradient agree with plain NumPy and finite differences, or both raise.

The ``deep`` profile (``HYPOTHESIS_PROFILE=deep``) tries 10,000 of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tinygrad7 as tg
from tests.helpers import host
from tinygrad7.testing import GradientError, check_gradients, strategies
from tinygrad7.testing.picks import GeneratorPick
from tinygrad7.testing.programs import Program, draw_program

pytestmark = pytest.mark.host  # tests/test_backends.py holds the ops to the same values on a device

quiet = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
ORDINARY = (ValueError, TypeError, IndexError)


def run(program: Program) -> tuple[Any, Any]:
    """The outputs (or the error) with tensors and in NumPy."""
    results: list[Any] = []
    tensors = [tg.tensor(x, requires_grad=True) for x in program.inputs]
    for f, values in ((program, tensors), (program.numpy, program.inputs)):
        with np.errstate(all="ignore"):
            try:
                results.append(f(*values))  # type: ignore[operator]
            except ORDINARY as error:
                results.append(error)
    return results[0], results[1]


@quiet
@given(strategies.programs(max_steps=8))
def test_value_and_gradient_agree_with_numpy_and_finite_differences(program: Program) -> None:
    ours, numpys = run(program)
    assert isinstance(ours, tuple) and isinstance(numpys, tuple)
    for y, expected in zip(ours, numpys, strict=True):
        assert y.shape == np.shape(expected)
        np.testing.assert_allclose(host(y), expected, rtol=1e-8, atol=1e-8)
    if all(np.isfinite(host(y)).all() for y in ours):
        with np.errstate(all="ignore"):
            check_gradients(program, *program.inputs, order=1)


@quiet
@given(strategies.programs(max_steps=6, broken=True))
def test_what_does_not_fit_raises_in_both(program: Program) -> None:
    ours, numpys = run(program)
    assert isinstance(ours, tuple) == isinstance(numpys, tuple) == (not program.broken)
    if program.broken:
        assert program.steps[-1].op in str(ours), f"{ours} does not name the op {program.steps[-1].op}"


@settings(quiet, max_examples=max(15, settings().max_examples // 5))
@given(strategies.programs(max_steps=4), st.integers(0, 2**32 - 1))
def test_second_derivatives_of_programs(program: Program, seed: int) -> None:
    with np.errstate(all="ignore"):
        if all(np.isfinite(y).all() for y in program.numpy(*program.inputs)):
            check_gradients(program, *program.inputs, order=2, rng=seed)


def test_the_fuzz_finds_a_rule_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    op = tg.sin.op  # which no fused op has in its reference
    monkeypatch.setitem(op.rules, "x", lambda g, x: 1.001 * g * tg.cos(x))
    op.forget_plans()
    try:
        pick = GeneratorPick(np.random.default_rng(0))
        with pytest.raises(GradientError, match="the op to blame is sin"), np.errstate(all="ignore"):
            for _ in range(2000):
                program = draw_program(pick)
                check_gradients(program, *program.inputs, order=1)
    finally:
        monkeypatch.undo()
        op.forget_plans()
