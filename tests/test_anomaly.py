"""``detect_anomaly`` stops at the first op, forward or backward, that makes a value which is not finite."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tinygrad7 import messages
from tinygrad7.context import chain
from tinygrad7.op import REGISTRY
from tinygrad7.tensor import Tensor

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def leaf(value: Any, name: str | None = None) -> Tensor:
    return tg.tensor(np.asarray(value, np.float64), requires_grad=True, name=name)


def test_forward_it_names_op_place_statistics_and_line() -> None:
    x = leaf([1.0, 0.0, 4.0])
    with tg.detect_anomaly(), pytest.raises(tg.AnomalyError) as caught, tg.scope("net"), tg.step(3):
        tg.tanh(x) + tg.log(x)
    message = str(caught.value)
    assert "log gave the first value that is not finite, forward in net/t=3, at " in message
    assert "test_anomaly.py:" in message
    assert "min 0 max 4 mean 1.667, 0 nan, 0 inf" in message
    assert "result:" in message and "0 nan, 1 inf" in message
    assert isinstance(caught.value, ArithmeticError)
    assert isinstance(caught.value.output, Tensor) and caught.value.output._node.scope.bad


def test_the_line_is_the_users() -> None:
    x = leaf([0.0])
    with tg.detect_anomaly(), pytest.raises(tg.AnomalyError) as caught:
        y = x * 1.0
        1.0 / y
    line = caught.value.__traceback__.tb_lineno if caught.value.__traceback__ else 0
    assert f"test_anomaly.py:{line}" in str(caught.value)


def test_the_op_that_makes_the_first_one_is_blamed_not_those_that_pass_it_on() -> None:
    x = leaf([1.0, 2.0])
    bad = leaf([np.nan, 1.0])
    with tg.detect_anomaly():
        y = tg.exp(bad) + x  # it came in from outside: no op of these made it
        assert np.isnan(y.numpy()).any()
        with pytest.raises(tg.AnomalyError, match="divide gave the first"):
            (x - 1.0) / (x - 1.0)


def test_backward_it_names_the_rule_and_the_forward_line() -> None:
    x = leaf([0.0, 1.0], name="x")
    with tg.detect_anomaly():
        with tg.scope("net"), tg.step(2):
            y = tg.sqrt(x)
        with pytest.raises(tg.AnomalyError) as caught:
            y.sum().backward()
    message = str(caught.value)
    assert (
        "the rule of sqrt gave the first gradient that is not finite, backward in net/t=2, for the op recorded at "
        in message
    )
    assert "test_anomaly.py:" in message
    assert (
        "cotangent:" in message
        and "saved 0:" in message
        and "gradient:  (2,) float64" in message
        and "1 inf" in message
    )
    assert [link for link in (y._node.scope,) if link.bad]  # for drawings


def test_backward_without_recording_under_it_says_so() -> None:
    x = leaf([0.0])
    y = tg.sqrt(x).sum()
    with (
        tg.detect_anomaly(),
        pytest.raises(tg.AnomalyError, match=r"recorded at unknown \(record under detect_anomaly too\)"),
    ):
        y.backward()


def test_ops_of_several_outputs_and_constants_are_watched() -> None:
    with tg.detect_anomaly():
        with pytest.raises(tg.AnomalyError, match="log gave the first"):
            tg.log(tg.tensor([0.0]))
        with tg.no_grad(), pytest.raises(tg.AnomalyError, match="log gave the first"):
            tg.log(leaf([0.0]))
        rows = tg.unstack(leaf(np.ones((2, 2))))
    assert all(row.requires_grad for row in rows)


def test_overflow_to_infinity_counts_and_integers_do_not() -> None:
    with tg.detect_anomaly():
        tg.tensor([1, 2]) * 3
        with pytest.raises(tg.AnomalyError, match="exp gave the first"):
            tg.exp(leaf([1000.0]))


def test_python_numbers_that_are_not_finite_are_inputs_too() -> None:
    with tg.detect_anomaly():
        assert np.isinf((leaf([1.0]) * float("inf")).item())


def test_scopes_read_as_before_and_healthy_programs_run() -> None:
    x = leaf([0.5, 1.5])
    with tg.detect_anomaly(), tg.scope("net"), tg.step(1):
        y = tg.tanh(x)
    assert [link.label for link in chain(y._node.scope)] == ["net", "t=1"] and y._node.scope.step == 1
    with tg.detect_anomaly():
        (y * y).sum().backward()
    t = np.tanh([0.5, 1.5])
    np.testing.assert_allclose(x.grad, 2 * t * (1 - t * t))


def test_outside_the_block_nothing_is_watched() -> None:
    with tg.detect_anomaly():
        pass
    assert np.isinf(tg.log(leaf([0.0])).item())


def test_it_decorates() -> None:
    @tg.detect_anomaly()
    def f() -> Tensor:
        return tg.log(leaf([0.0]))

    with pytest.raises(tg.AnomalyError):
        f()


def test_empty_values_and_fused_gradients_are_no_anomaly() -> None:
    with tg.detect_anomaly():
        tg.sum(leaf(np.zeros((0, 3)))).backward()


def test_an_infinite_mask_is_an_input_not_an_anomaly() -> None:
    x = leaf([1.0, 2.0])
    with tg.detect_anomaly():
        masked = x + tg.tensor(np.array([0.0, -np.inf]))
        assert np.isinf(masked.numpy()[1])


def test_an_infinite_operand_among_several_that_a_rule_saved_is_an_input_not_an_anomaly() -> None:
    x = leaf([1.0, 2.0])
    y = x.sum() + (x * leaf([np.inf, 1.0])).sum() + x.sum()
    with tg.detect_anomaly():
        y.backward()
    np.testing.assert_array_equal(x.grad, [np.inf, 3.0])


def test_an_infinite_seed_is_an_input_not_an_anomaly() -> None:
    x = leaf([1.0, 2.0])
    with tg.detect_anomaly():
        (x * 2.0).backward([np.inf, 1.0])
    np.testing.assert_array_equal(x.grad, [np.inf, 2.0])


def test_every_output_is_watched_and_constants_in_every_kind_of_op() -> None:
    @tg.primitive("x, 1/x", outputs=2)
    def itself_and_inverse(x: Any) -> Any:
        return x + 0, 1 / x

    del REGISTRY["itself_and_inverse"]
    with tg.detect_anomaly():
        with pytest.raises(tg.AnomalyError, match="itself_and_inverse gave the first"):
            itself_and_inverse(tg.tensor([0.0]))
        with pytest.raises(tg.AnomalyError, match="sum gave the first"):
            tg.sum(tg.tensor([3e38, 3e38]))


def test_the_error_carries_the_output_only() -> None:
    assert tg.AnomalyError("x").output is None


def test_a_users_file_beside_the_package_is_the_users() -> None:
    beside = messages._PACKAGE.rstrip("/\\") + "_mine/train.py"
    spoilt = compile("tg.log(x)", beside, "eval")
    with tg.detect_anomaly(), np.errstate(all="ignore"), pytest.raises(tg.AnomalyError, match="_mine/train.py:1"):
        eval(spoilt, {"tg": tg, "x": tg.tensor([-1.0], requires_grad=True)})


def test_under_create_graph_the_rule_is_named_with_the_op_inside_it() -> None:
    x = leaf([0.0, 1.0])
    with tg.detect_anomaly(), tg.step(2):
        y = tg.sqrt(x)
    for again in (
        lambda: tg.gradients(y.sum(), x, create_graph=True),
        lambda: tg.gradients(tg.checkpoint(lambda v: tg.sqrt(v), x).sum(), x, create_graph=True),
        lambda: tg.hvp(lambda v: tg.sqrt(v).sum(), x, leaf([1.0, 1.0])),
    ):
        with tg.detect_anomaly(), pytest.raises(tg.AnomalyError) as caught:
            again()
        message = str(caught.value)
        assert message.startswith("the rule of sqrt gave the first gradient that is not finite, backward")
        assert message.count("the rule of") == 1 and "\n  in it, divide gave the first value" in message
        assert "0 nan, 1 inf" in message


@pytest.mark.parametrize("reverse", [False, True])
def test_a_fused_net_names_the_time_step(reverse: bool) -> None:
    x = leaf(np.array([0.0, 0.0, 1.0, 0.0])[:, None, None])
    u, w = leaf([[1e200]]), leaf([[1e200]])
    with tg.detect_anomaly(), tg.scope("net"), pytest.raises(tg.AnomalyError) as caught:
        tg.rnn(x, None, u, w, nonlinearity="relu", reverse=reverse)
    assert f"rnn gave the first value that is not finite, forward in net/t={1 if reverse else 3}, at " in str(
        caught.value
    )


def test_a_sum_that_overflows_in_a_shared_buffer_is_noticed() -> None:
    w = tg.tensor(np.ones(2, np.float16), requires_grad=True, name="w")
    for use in (lambda: w[0], lambda: tg.take(w, [0]).sum()):
        with (
            tg.detect_anomaly(),
            pytest.raises(tg.AnomalyError, match="to the gradient of leaf 'w' gave the first value"),
        ):
            ((use() * 40000).astype("float32") + (use() * 40000).astype("float32")).backward()


@pytest.mark.usefixtures("forget")
def test_every_cotangent_of_an_op_of_several_outputs_is_described() -> None:
    @tg.primitive(outputs=2)
    def twice(x: Any) -> Any:
        return x * 1.0, x * 2.0

    twice.vjp(x=lambda g, x: (g[0] + g[1]) / x)
    with tg.detect_anomaly():
        a, b = twice(leaf([0.0, 1.0]))
        with pytest.raises(tg.AnomalyError) as caught:
            (a + b).sum().backward()
    assert str(caught.value).count("\n  cotangent: (2,) float64") == 2
