"""The tape as a list to read, and the gradients of single time steps."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad7 as tg
from tests.helpers import host
from tinygrad7.backend import is_array
from tinygrad7.context import STATE
from tinygrad7.op import REGISTRY


def rnn(steps: int, seed: int = 0) -> tuple[tg.Tensor, list[tg.Tensor]]:
    rng = np.random.default_rng(seed)
    w, v, b = (
        tg.tensor(rng.normal(0, 0.7, s), requires_grad=True, name=n)
        for n, s in (("w", (2, 3)), ("v", (3, 3)), ("b", 3))
    )
    x = rng.normal(size=(steps, 4, 2))
    h = tg.tensor(np.zeros((4, 3)))
    turned = v.T
    for t in range(steps):
        with tg.scope("rnn"), tg.step(t):
            h = tg.tanh(tg.tensor(x[t], name=f"x{t}") @ w + h @ turned + b)
    return (h * h).sum(), [w, v, b]


def test_it_prints_as_a_learner_would_write_it() -> None:
    x = tg.tensor(np.ones((2, 3), np.float32), requires_grad=True, name="x")
    with tg.scope("rnn"), tg.step(4):
        y = tg.tanh(x * 2.0)
    tape = tg.Tape(y.sum(axis=0, keepdims=True))
    assert str(tape).splitlines() == [
        "%0 = x   (2, 3) float32",
        "%1 = multiply(%0, 2.0)   (2, 3) float32   rnn/t=4",
        "%2 = tanh(%1)   (2, 3) float32   rnn/t=4",
        "%3 = sum(%2, axis=0, keepdims=True)   (1, 3) float32",
    ]
    assert repr(tape) == "<Tape of 4 entries, 24 bytes saved>"


def test_it_is_a_sequence_of_entries() -> None:
    loss, _ = rnn(3)
    tape = tg.Tape(loss)
    assert len(tape) == len(list(tape)) == len(tape[:])
    last = tape[-1]
    assert (last.op, last.index, last.shape, last.dtype) == ("sum", len(tape) - 1, (), np.float64)
    tanh = [entry for entry in tape if entry.op == "tanh"]
    assert [entry.step for entry in tanh] == [0, 1, 2]
    assert [entry.scope for entry in tanh] == [("rnn", f"t={t}") for t in range(3)]
    assert all(tape[i].index < entry.index for entry in tape for i in entry.inputs)
    assert {entry.name for entry in tape if entry.op == "leaf"} == {"w", "v", "b"}
    assert tanh[0].saved_bytes == 4 * 3 * 8
    with pytest.raises(IndexError, match=f"entry {len(tape)} of a tape of {len(tape)}"):
        tape[len(tape)]


def test_several_outputs_are_entries_of_their_own() -> None:
    x = tg.tensor(np.ones((2, 3)), requires_grad=True)
    a, b = x
    lines = str(tg.Tape([a, b])).splitlines()
    assert lines[1] == "%1 = unstack(%0)   (3,) float64, (3,) float64"
    assert lines[2:] == ["%2 = %1[0]   (3,) float64", "%3 = %1[1]   (3,) float64"]


def test_bytes_are_counted_once() -> None:
    x = tg.tensor(np.ones(10), requires_grad=True)
    y = tg.exp(x)  # saves y; so do the products
    tape = tg.Tape((y * y + y * 2.0).sum())
    assert tape.nbytes == 80


@pytest.mark.host  # the stand-in's views do not say of what
def test_bytes_that_two_views_share_are_counted_once() -> None:
    y = tg.exp(tg.tensor(np.ones(10), requires_grad=True))
    assert tg.Tape((y.reshape(2, 5) * y.reshape(2, 5)).sum()).nbytes == 80


def test_an_array_that_a_rule_saved_twice_is_counted_once() -> None:
    x = tg.tensor(np.ones(10), requires_grad=True)
    assert tg.Tape(x * x)[-1].saved_bytes == 80


def test_constants_stand_under_their_names() -> None:
    assert "matmul(x0, %0)" in str(tg.Tape(rnn(1)[0]))


def test_arguments_that_are_long_are_described() -> None:
    x = tg.tensor(np.ones(6), requires_grad=True)
    assert "index=[0 2]" in str(tg.Tape(x[np.array([0, 2])]))
    assert "index=(6,) int64" in str(tg.Tape(x[np.arange(6)]))


def test_an_entry_is_one_line_and_an_index_is_printed_as_it_is_written() -> None:
    x = tg.tensor(np.ones((4, 6)), requires_grad=True, name="x\nx")
    with tg.scope("a\nb"):
        y = x[np.arange(4), np.array([0, 5, 2, 3])].sum() + x[1:, ::-2].sum() + x[..., 0].sum() + x[None, :3].sum()
    lines = str(tg.Tape(y)).splitlines()
    assert len(lines) == len(tg.Tape(y)) and lines[0].startswith("%0 = x\\nx   (4, 6) float64")
    shown = "\n".join(lines)
    for index in ("([0 1 2 3], [0 5 2 3])", "(1:, ::-2)", "(..., 0)", "(None, :3)"):
        assert f"index={index}" in shown


def test_values_are_computed_again_from_the_leaves() -> None:
    loss, _ = rnn(3)
    tape = tg.Tape(loss)
    expected = loss.item()
    loss.backward()  # drops what the rules saved; the leaves are still there
    assert tape.values()[-1] == expected
    assert [np.shape(v) for v in tape.values()] == [entry.shape for entry in tape]


@pytest.mark.host  # the stand-in's views do not say of what
def test_bytes_of_views_are_those_of_the_memory_that_they_keep() -> None:
    parts = tg.split(tg.exp(tg.tensor(np.ones(40), requires_grad=True) * 1.0), 4)
    assert tg.Tape((parts[0] * parts[1] + parts[2] * parts[3]).sum()).nbytes == 320  # all of exp's result, once


def test_a_leaf_changed_while_the_tape_was_recorded_is_not_read_anew() -> None:
    w = tg.tensor([1.0, 2.0], requires_grad=True, name="w")
    h = w * tg.tensor([2.0, 2.0])  # its rule saves the constant alone, so backward may go through it
    w.assign([10.0, 20.0])
    loss = (h * h).sum()
    loss.backward()
    np.testing.assert_array_equal(w.grad, [8, 16])
    for read in (tg.Tape(loss).values, tg.Tape(loss).cotangents, lambda: tg.diagnose.gradients_by_step(loss, w)):
        with pytest.raises(RuntimeError, match=r"multiply \(2,\): it saved the value of leaf 'w', which assign"):
            read()


def test_values_of_a_changed_leaf_are_refused() -> None:
    loss, (w, _, _) = rnn(2)
    w.assign(np.zeros((2, 3)))
    with pytest.raises(RuntimeError, match=r"leaf 'w', which assign\(\) has changed since"):
        tg.Tape(loss).values()


def test_a_leaf_that_was_changed_before_is_read_as_it_was_then() -> None:
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    w.assign([3.0, 4.0])
    tape, other = tg.Tape((w * w).sum()), tg.tensor(1.0, requires_grad=True)
    other.assign(2.0)
    assert tape.values()[-1] == 25.0


def test_values_that_are_not_finite_are_read_under_detect_anomaly_too() -> None:
    with np.errstate(all="ignore"):
        tape = tg.Tape(tg.log(tg.tensor([0.0], requires_grad=True)))
        with tg.detect_anomaly():
            assert host(tape.values()[-1]).tolist() == [-np.inf]


@pytest.mark.parametrize("fused", [False, True])
def test_the_cotangents_of_a_played_tape_are_those_of_a_fresh_one_entry_by_entry(fused: bool) -> None:
    x = tg.tensor(np.ones((1, 1, 2, 2)), requires_grad=True)
    y = x * 2.0
    w = tg.tensor(np.full((1, 1, 2, 2), 3.0), requires_grad=True)  # a leaf that is younger than a result
    loss = (tg.conv2d(y, w) if fused else y * w).sum()
    tape = tg.Tape(loss)
    fresh = tape.cotangents()
    loss.backward()
    for a, b in zip(fresh, tape.cotangents(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("played", [False, True])
def test_cotangents_are_the_bars_of_the_lecture(played: bool) -> None:
    """h̄(t) and z̄(t) as the slide "Backprop Through Time" has them, for every entry of the tape."""
    loss, (w, v, _) = rnn(3)
    tape = tg.Tape(loss)
    if played:
        loss.backward()
    bars, values = host(tape.cotangents()), host(tape.values())
    tanh = [entry.index for entry in tape if entry.op == "tanh"]
    z_bar = None
    for t in reversed(range(3)):
        h = values[tanh[t]]
        h_bar = 2 * h if t == 2 else z_bar @ v.numpy()
        z_bar = h_bar * (1 - h**2)
        np.testing.assert_allclose(bars[tanh[t]], h_bar, rtol=1e-12)
        np.testing.assert_allclose(bars[tape[tanh[t]].inputs[0]], z_bar, rtol=1e-12)
    if not played:
        loss.backward()
    place = next(entry.index for entry in tape if entry.name == "w")
    np.testing.assert_allclose(bars[place], w.grad, rtol=1e-12)


def test_cotangents_take_a_seed_and_say_where_none_arrives() -> None:
    x = tg.tensor(np.arange(3.0), requires_grad=True)
    y = x * 2.0
    np.testing.assert_array_equal(tg.Tape(y).cotangents([1.0, 2.0, 3.0])[0], [2, 4, 6])
    with pytest.raises(ValueError, match=r"cotangents starts at a scalar, this output has shape \(3,\).*seed"):
        tg.Tape(y).cotangents()
    with pytest.raises(ValueError, match=r"cotangents: the seed has shape \(3, 1\), the output \(3,\); .* equal"):
        tg.Tape(y).cotangents(np.ones((3, 1)))
    with pytest.raises(ValueError, match="cotangents: 2 outputs but 1 seeds; give one for each"):
        tg.Tape([y, y * 2]).cotangents([np.ones(3)])
    two = tg.Tape([y.sum(), (x * 3.0).sum()])
    np.testing.assert_array_equal(two.cotangents()[0], [5, 5, 5])


def test_cotangents_of_several_outputs_are_arrays_of_the_readers_own() -> None:
    x = tg.tensor(np.ones((2, 3)), requires_grad=True)
    first, _ = tg.unstack(x)  # nothing uses the second
    tape = tg.Tape((first + 0.0).sum())
    bars = tape.cotangents()
    assert host(bars[1])[0].tolist() == [1, 1, 1] and host(bars[1])[1].tolist() == [0, 0, 0]
    bars[3][...] = 7.0
    assert host(bars[2]).tolist() == [1, 1, 1]


def test_rules_run_without_recording_for_every_reader_of_the_tape() -> None:
    seen = []

    @tg.primitive("f")
    def doubled_for_readers(x: Any) -> Any:
        return x * 2

    doubled_for_readers.vjp(x=lambda g: seen.append(STATE.get().recording) or g * 2)
    try:
        x = tg.tensor(np.ones(3), requires_grad=True)
        y = doubled_for_readers(x).sum()
        tg.Tape(y).cotangents()
        tg.diagnose.gradients_by_step(y, x)
    finally:
        del REGISTRY["doubled_for_readers"]
    assert seen == [False, False]


def test_a_tape_needs_something_recorded() -> None:
    with pytest.raises(ValueError, match=r"Tape: a recorded tensor is needed, this is a constant of shape \(2,\)"):
        tg.Tape(tg.ones(2))
    with pytest.raises(ValueError, match=r"this is a float"):
        tg.Tape([1.0])


def test_expand_puts_references_in_the_place_of_fused_ops() -> None:
    lstm = tg.nn.LSTM(2, 3, rng=0)
    y, _ = lstm(tg.normal((4, 1, 2), rng=1))
    loss = (y * y).sum()
    fused = tg.Tape(loss)
    unrolled = fused.expand()
    assert "lstm" in {entry.op for entry in fused} and "lstm" not in {entry.op for entry in unrolled}
    assert {entry.step for entry in unrolled} == {None, 0, 1, 2, 3}
    np.testing.assert_allclose(unrolled.values()[-1], loss.item(), rtol=1e-6)


# ---- gradients by step -------------------------------------------------------------------------------------------


@given(st.integers(1, 6), st.integers(0, 2**31))
def test_the_parts_of_the_steps_sum_to_the_gradient(steps: int, seed: int) -> None:
    loss, params = rnn(steps, seed)
    parts = tg.diagnose.gradients_by_step(loss, params)
    loss.backward()
    for p, by_step in zip(params, parts, strict=True):
        assert set(by_step) == set(range(steps))  # v is transposed once outside: still told apart
        np.testing.assert_allclose(sum(by_step.values()), p.grad, rtol=1e-12, atol=1e-14)


def test_each_part_is_the_summand_of_the_lecture() -> None:
    """ū = Σₜ z̄(t) x(t): with one scalar unit, each step's part is that product."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=5)
    u, w = (tg.tensor(np.float64(a), requires_grad=True) for a in (0.7, 0.9))
    h: Any = tg.tensor(np.float64(0.0))
    z, hs = [], [h]
    for t in range(5):
        with tg.step(t):
            z.append(float(x[t]) * u + h * w)
            h = tg.tanh(z[-1])
        hs.append(h)
    loss = h * h
    z_bar = tg.gradients(loss, z)
    by_u, by_w = tg.diagnose.gradients_by_step(loss, [u, w])
    for t in range(5):
        assert host(by_u[t]) == pytest.approx(z_bar[t].item() * x[t], rel=1e-12)
        assert host(by_w[t]) == pytest.approx(z_bar[t].item() * hs[t].item(), rel=1e-12)


@pytest.mark.parametrize("kind", [tg.nn.RNN, tg.nn.LSTM, tg.nn.GRU])
def test_fused_layers_are_unrolled_for_it(kind: Any) -> None:
    with tg.default_dtype("float64"):
        net = kind(2, 3, num_layers=2, rng=0)
        y, _ = net(tg.normal((4, 2, 2), rng=1))
        loss = (y * y).sum()
    params = list(net.parameters())
    parts = tg.diagnose.gradients_by_step(loss, params)
    loss.backward()
    for p, by_step in zip(params, parts, strict=True):
        assert set(by_step) == {0, 1, 2, 3}
        np.testing.assert_allclose(sum(by_step.values()), p.grad, rtol=1e-12, atol=1e-14)
    again = tg.diagnose.gradients_by_step(loss, params)  # also after backward has dropped the graph
    np.testing.assert_allclose(again[0][0], parts[0][0])


def test_gradients_by_step_messages() -> None:
    loss, params = rnn(2)
    with pytest.raises(ValueError, match=r"the loss must be scalar, this one has shape \(1, 2\)"):
        tg.diagnose.gradients_by_step(tg.ones((1, 2)), params)
    with pytest.raises(ValueError, match="every parameter must be a leaf"):
        tg.diagnose.gradients_by_step(loss, [params[0] * 2])
    other = tg.tensor(1.0, requires_grad=True)
    assert tg.diagnose.gradients_by_step(loss, [other]) == [{}]


def test_one_value_that_is_no_tensor_is_told() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(ValueError, match="Tape: a recorded tensor is needed, this is a float"):
        tg.Tape(3.0)
    with pytest.raises(TypeError, match=r"gradients: xs\[0\] is a float; tensors of a recorded graph are needed"):
        tg.gradients(x.sum(), 3.0)
    with pytest.raises(TypeError, match="gradients: an output is a float; a recorded tensor is needed"):
        tg.gradients(3.0, x)


def test_gradients_by_step_takes_one_parameter() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    (by_step,) = tg.diagnose.gradients_by_step((x * x).sum(), x)
    np.testing.assert_array_equal(by_step[None], [2, 4])


def test_gradients_by_step_have_their_parameters_dtype_and_need_no_fresh_graph() -> None:
    w = tg.tensor([1.0, 2.0], dtype="float32", requires_grad=True)
    loss = (w * tg.tensor(np.array([3.0, 4.0])) * w).sum()
    loss.backward()
    (parts,) = tg.diagnose.gradients_by_step(loss, w)
    assert parts[None].dtype == np.float32
    np.testing.assert_array_equal(parts[None], [6, 16])


@pytest.mark.parametrize("unstacked_in", [None, 0])
def test_gradients_by_step_go_through_ops_of_several_outputs(unstacked_in: int | None) -> None:
    x = tg.tensor(np.ones((3, 2)), requires_grad=True)
    with contextlib.nullcontext() if unstacked_in is None else tg.step(unstacked_in):
        rows = tg.unstack(x)  # nothing uses the third
    loss: Any = 0.0
    for t in (1, 2):
        with tg.step(t):
            loss = loss + (rows[t - 1] * t).sum()
    (parts,) = tg.diagnose.gradients_by_step(loss, x)
    expected = {1: [[1, 1], [0, 0], [0, 0]], 2: [[0, 0], [2, 2], [0, 0]]}
    if unstacked_in is not None:  # there all of it comes together
        expected = {0: [[1, 1], [2, 2], [0, 0]]}
    assert {t: host(part).tolist() for t, part in parts.items()} == expected


def test_gradients_by_step_refuse_values_that_have_changed_since() -> None:
    w = tg.tensor([2.0, 3.0], requires_grad=True, name="w")
    loss = (w * w).sum()
    w.assign([1.0, 1.0])
    with pytest.raises(RuntimeError, match=r"leaf 'w', which assign\(\) has changed since"):
        tg.diagnose.gradients_by_step(loss, w)


def test_gradients_by_step_look_into_checkpoints_and_what_is_fused_inside() -> None:
    rng = np.random.default_rng(0)
    w = tg.tensor(rng.normal(0, 0.5, (2, 2)), requires_grad=True)
    x, u = tg.tensor(rng.normal(size=(3, 1, 2))), tg.tensor(np.eye(2))

    def segment(h: Any, start: int) -> Any:
        for t in range(start, start + 2):
            with tg.step(t):
                h = tg.tanh(h @ w + 1)
        return h

    found = []
    for run in (lambda f, *xs: f(*xs), tg.checkpoint):
        h = tg.zeros((1, 2), dtype="float64")
        for start in (0, 2):
            h = run(lambda a, start=start: run(lambda b: segment(b, start), a), h)
        y, _ = run(lambda a: tg.rnn(x, a, u, w), h)
        found.append(tg.diagnose.gradients_by_step((y * y).sum(), w)[0])
    assert set(found[0]) == set(found[1]) == {0, 1, 2, 3}
    for step, part in found[0].items():
        np.testing.assert_allclose(found[1][step], part, rtol=1e-12)


def test_gradients_by_step_of_one_number_are_arrays() -> None:
    w = tg.tensor(2.0, requires_grad=True)
    with tg.step(1):
        y = w * w
    (part,) = tg.diagnose.gradients_by_step(y, w)
    assert is_array(part[1]) and not isinstance(part[1], np.generic)
