"""Every op, and what is built on them, on device arrays: the stand-in here, a real device under ``-m gpu``."""

from __future__ import annotations

import copy
import importlib
import pickle
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tests import standin
from tests.helpers import host, placed
from tinygrad7 import backend
from tinygrad7.backend import DeviceError
from tinygrad7.op import REGISTRY, Op
from tinygrad7.testing.picks import examples

OWN = sorted(name for name, op in REGISTRY.items() if op.module.startswith("tinygrad7.") and name != "transfer")


def live_arguments(op: Op, args: tuple[Any, ...]) -> list[int]:
    tensors = range(len(args)) if op.variadic else op.tensors
    return [i for i in tensors if i < len(args) and isinstance(args[i], np.ndarray) and args[i].dtype.kind == "f"]


def run(op: Op, args: tuple[Any, ...], kwargs: Any, device: str) -> list[list[Any]]:
    """Values, gradients and second derivatives (of the squared gradients' sum) of one call on ``device``."""
    live = live_arguments(op, args)
    with tg.device(device):
        given = [tg.tensor(a, requires_grad=True) if i in live else placed(a) for i, a in enumerate(args)]
        kwargs = {k: placed(v) for k, v in kwargs.items()}
    leaves = [given[i] for i in live]
    out = op.call(*given, **kwargs)
    outs = [t for t in (out if isinstance(out, tuple) else (out,)) if t.dtype.kind == "f"]
    seeds = [backend.to_device(np.cos(np.arange(t.size)).reshape(t.shape), t.device) for t in outs]
    loss = sum((t * s).sum() for t, s in zip(outs, seeds, strict=True))
    grads = tg.gradients(loss, leaves, create_graph=True, unreached="zero")
    total = sum((g * g).sum() for g in grads)
    seconds = tg.gradients(total, leaves, unreached="zero") if total.requires_grad else []
    loss.backward()
    return [outs, grads, seconds, [leaf.grad for leaf in leaves if leaf.grad is not None]]


@pytest.mark.parametrize("name", OWN)
def test_every_op_on_the_device_agrees_with_numpy_in_value_and_two_derivatives(name: str, cuda: Any) -> None:
    op = REGISTRY[name]
    for args, kwargs in examples(op, rng=7, count=4):
        for on_host, found in zip(run(op, args, kwargs, "cpu"), run(op, args, kwargs, "cuda"), strict=True):
            for x, y in zip(on_host, found, strict=True):
                assert x.dtype == y.dtype
                assert backend.device_of(getattr(y, "_value", y)) == "cuda:0"
                np.testing.assert_allclose(host(y), host(x), rtol=1e-11, atol=1e-11)


def test_moving_a_tensor_is_recorded_and_its_gradient_comes_back(cuda: Any) -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True, device="cpu")
    y = (x * 3).to("cuda")
    assert y.device == "cuda:0"
    (y * y).sum().backward()
    assert isinstance(x.grad, np.ndarray)
    np.testing.assert_allclose(x.grad, [18.0, 36.0])


def test_a_leaf_moves_as_a_new_leaf_and_takes_values_from_anywhere(cuda: Any) -> None:
    here = tg.tensor([1.0, 2.0], requires_grad=True, name="w", device="cpu")
    there = here.to("cuda")
    assert there.is_leaf and there.requires_grad and there.name == "w" and there.device == "cuda:0"
    (there * 3).sum().backward()
    assert here.grad is None
    np.testing.assert_array_equal(there.grad, [3, 3])
    there.assign(tg.tensor([5.0, 6.0], device="cpu"))
    here.assign(there * 2)
    assert there.device == "cuda:0" and there.tolist() == [5, 6] and here.tolist() == [10, 12]
    assert isinstance(here.data, np.ndarray)


def test_a_device_tensor_answers_with_device_arrays_and_numpy_only_by_name(cuda: Any) -> None:
    x = tg.tensor([[1.0, -2.0]], requires_grad=True, device="cuda")
    x.sum().backward()
    assert type(x.data) is cuda.ndarray and type(x.grad) is cuda.ndarray
    assert type(x.numpy()) is np.ndarray
    assert x.sum().item() == -1.0
    assert f"{x.sum():.1f}" == "-1.0"
    assert "device='cuda:0'" in repr(x)
    assert x.detach().tolist() == [[1.0, -2.0]]
    with pytest.raises(TypeError, match=r"np\.asarray\(t\).*\.numpy\(\)"):
        np.asarray(x)


def test_creation_asks_the_default_device_and_computation_asks_the_data(cuda: Any) -> None:
    with tg.device("cuda"):
        made = [tg.tensor([1.0]), tg.zeros((2,)), tg.normal((2,), rng=0), tg.arange(3), tg.eye(2), tg.full((1,), 2.0)]
        on_cpu = tg.tensor([1.0], device="cpu")
        assert (on_cpu * 2).device == tg.tensor(on_cpu).device == "cpu"
    assert [t.device for t in made] == ["cuda:0"] * len(made)
    assert [(t * 2).device for t in made] == ["cuda:0"] * len(made)
    assert tg.zeros_like(made[0]).device == tg.ones_like(made[0]).device == "cuda:0"
    assert tg.tensor(made[1]).device == "cuda:0"
    np.testing.assert_array_equal(host(made[2]), tg.normal((2,), rng=0, device="cpu").numpy())


def test_operands_of_two_devices_are_refused_by_name(cuda: Any) -> None:
    here, there = tg.tensor([1.0, 2.0], device="cpu"), tg.tensor([1.0, 2.0], device="cuda")
    for f in (
        lambda: here + there, lambda: there * here, lambda: tg.concatenate([here, there]), lambda: there @ here,
        lambda: tg.isclose(there, np.ones(2)), lambda: tg.allclose(here, there), lambda: tg.array_equal(there, here),
        lambda: tg.einsum("i,i", there, np.ones(2)), lambda: tg.einsum("i,i,i", here, there, there),
    ):  # fmt: skip
        with pytest.raises(TypeError, match=r"operands live on cpu and cuda:0.*t\.to\("):
            f()
    with pytest.raises(TypeError, match="operands live on cpu and cuda:0"):
        there * np.ones(2)


def test_lists_are_compared_on_the_device(cuda: Any) -> None:
    x = tg.tensor([1.0, 0.1], device="cuda", dtype="float64")
    assert tg.array_equal(x, [1.0, 0.1]) and not tg.array_equal([1.0], x) and not tg.array_equal(x, 1.0)
    assert tg.allclose(x, [1.0, 0.1]) and tg.isclose(x, 1.0).tolist() == [True, False]


def test_host_arrays_are_moved_where_they_are_given_as_values_and_nowhere_else(cuda: Any) -> None:
    for default in ("cpu", "cuda"):
        with tg.device(default):
            x = tg.tensor([1.0, 2.0], requires_grad=True, device="cuda", dtype="float64")
            with pytest.raises(TypeError, match="operands live on cpu and cuda:0"):
                x * np.ones(2)
            (x * x).backward(np.array([1.0, 2.0]))
            np.testing.assert_array_equal(x.grad, [2, 8])
            np.testing.assert_array_equal(tg.vjp(tg.square, x)[1](np.ones(2))[0], [2, 4])


def test_a_device_tensor_is_pickled_and_copied_with_its_place(cuda: Any) -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True, device="cuda")
    for again in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
        assert again.device == "cuda:0" and again.requires_grad and again.tolist() == [1, 2]


def test_arrays_of_the_users_own_making_are_tensors_on_their_device(cuda: Any) -> None:
    a = cuda.asarray(np.array([1.0, 2.0], np.float32))
    x = tg.tensor(a, requires_grad=True)
    assert x.device == "cuda:0" and x.dtype == np.float32
    y = (a * x).sum() + (x * a).sum()
    y.backward()
    np.testing.assert_allclose(host(x.grad), [2.0, 4.0])


def test_arrays_made_before_the_device_was_asked_for_are_arrays(cuda: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_MODULES", {np.ndarray: np})
    assert tg.tensor(cuda.asarray(np.ones(2))).device == "cuda:0"


def test_an_index_from_the_host_is_brought_to_the_data(cuda: Any) -> None:
    value = np.arange(12.0).reshape(4, 3)
    index = np.array([0, 2, 2])
    for read in (
        lambda x: x[index],
        lambda x: x[[0, 2, 2]],
        lambda x: x[index, index],
        lambda x: x[value[:, 0] > 2],
        lambda x: tg.take(x, index, axis=1),
        lambda x: tg.take_along_axis(x, np.array([[1], [0], [2], [1]]), 1),
        lambda x: tg.embedding(x, index),
        lambda x: tg.where(tg.tensor(value, device=x.device) > 3, x, 0.0),
    ):
        found = []
        for device in ("cpu", "cuda"):
            x = tg.tensor(value, requires_grad=True, device=device)
            y = read(x)
            (y * y).sum().backward()
            found += [host(y), host(x.grad)]
        np.testing.assert_array_equal(found[2], found[0])
        np.testing.assert_array_equal(found[3], found[1])


def test_an_index_beyond_the_end_is_refused_before_it_moves(cuda: Any) -> None:
    x = tg.tensor(np.arange(12.0).reshape(4, 3), device="cuda")
    for read in (
        lambda x: x[np.array([0, 7])],
        lambda x: x[[-5]],
        lambda x: x[..., np.array([3])],
        lambda x: x[None, np.arange(4) > 1, np.array([3])],
        lambda x: x[7],
        lambda x: x[np.array(7)],
        lambda x: tg.take(x, [12]),
        lambda x: tg.take(x, [3], axis=1),
        lambda x: tg.take_along_axis(x, np.array([[0, 1, 4]]), 0),
        lambda x: tg.take_along_axis(x, np.array([12]), None),
    ):
        said = []
        for place in ("cpu", "cuda"):
            with standin.counting() as seen, pytest.raises(IndexError, match="is out of bounds") as caught:
                read(x.to(place))
            said.append(str(caught.value).partition(" (met")[0])
            assert not seen["to device"]
        assert said[0] == said[1]


def test_numbers_of_any_kind_are_indices_on_the_device(cuda: Any) -> None:
    class Second:
        def __index__(self) -> int:
            return 1

    value = np.arange(12.0).reshape(4, 3)
    for device in ("cpu", "cuda"):
        x, one = tg.tensor(value, device=device), tg.tensor(1, device=device)
        for index in (
            1,
            Second(),
            np.int64(1),
            np.array(1),
            one,
            tg.tensor(1, device="cpu"),
            tg.tensor(1, device="cuda"),
        ):
            np.testing.assert_array_equal(x[index], value[1])
            np.testing.assert_array_equal(x[:, index], value[:, 1])
            np.testing.assert_array_equal(tg.take(x, index, axis=1), value[:, 1])
        np.testing.assert_array_equal(x[np.array(True)], value[None])
        np.testing.assert_array_equal(x[tg.tensor([2, 0], device="cuda")], value[[2, 0]])


def test_numbers_stand_beside_tensors_in_a_stack_on_the_device(cuda: Any) -> None:
    for number in (2.0, 2, np.float32(2), np.float64(2), True):
        found = []
        for device in ("cpu", "cuda"):
            x = tg.tensor(3.0, requires_grad=True, device=device)
            y = tg.stack([x, number, x * x])
            (y * y).sum().backward()
            found += [y, host(x.grad)]
        np.testing.assert_array_equal(found[2], found[0])
        assert found[2].dtype == found[0].dtype and found[3] == found[1]


@pytest.mark.parametrize("default", ["cpu", "cuda"])
def test_every_transform_runs_where_its_arguments_are(default: str, cuda: Any) -> None:
    value = np.array([0.3, -0.7, 1.1])

    def f(x: Any) -> Any:
        return (tg.tanh(x) * x).sum()

    def g(x: Any) -> Any:
        return tg.sin(x) * x.sum()

    def transforms(x: Any) -> list[Any]:
        y, pull = tg.vjp(g, x)
        return [
            tg.grad(f)(x), *tg.value_and_grad(f)(x), y, *pull(x), *tg.jvp(g, [x], [x]), tg.jacobian(g)(x),
            tg.hessian(f)(x), tg.hvp(f, x, x), tg.ggnvp(g, lambda y: (y * y).sum(), x, x), tg.checkpoint(g, x),
        ]  # fmt: skip

    with tg.device(default):
        on_host = transforms(tg.tensor(value, device="cpu"))
        on_device_ = transforms(tg.tensor(value, device="cuda"))
    for a, b in zip(on_host, on_device_, strict=True):
        assert (a.device, b.device) == ("cpu", "cuda:0")
        np.testing.assert_allclose(host(b), host(a), rtol=1e-12)


def test_the_tape_and_its_cotangents_are_the_same_on_the_device(cuda: Any) -> None:
    def tape(device: str) -> Any:
        x = tg.tensor([0.5, 2.0], requires_grad=True, name="x", device=device)
        with tg.step(0):
            y = tg.log(x) * x
        return tg.Tape(y.sum())

    here, there = tape("cpu"), tape("cuda")
    assert str(there).replace(" on cuda:0", "") == str(here)
    for a, b in zip(here.cotangents(), there.cotangents(), strict=True):
        np.testing.assert_allclose(host(b), host(a))


def test_anomalies_are_found_on_the_device(cuda: Any) -> None:
    x = tg.tensor([1.0, 0.0], requires_grad=True, device="cuda")
    with tg.detect_anomaly(), pytest.raises(tg.AnomalyError, match=r"divide.*(?s:.*)on cuda:0"):
        1.0 / x


def test_writes_are_noticed_on_the_device(cuda: Any) -> None:
    w = tg.tensor([1.0, 2.0], requires_grad=True, name="w", device="cuda")
    loss = (w * w).sum()
    w.assign([3.0, 4.0])
    with pytest.raises(RuntimeError, match="leaf 'w', which assign"):
        loss.backward()
    np.testing.assert_array_equal(host(w), [3.0, 4.0])


def test_a_gradient_must_live_where_its_tensor_does(cuda: Any) -> None:
    w = tg.tensor([1.0], requires_grad=True, device="cuda", dtype="float64")
    with pytest.raises(ValueError, match="grad must live on cuda:0, like its tensor; got one on cpu"):
        w.grad = np.ones(1)


def test_an_op_with_a_kernel_for_the_device_uses_it_there_only(cuda: Any) -> None:
    def twice_reference(x: Any) -> Any:
        return x + x

    @tg.primitive("twice", domain=lambda pick: ((pick.array(pick.shape()),), {}), reference=twice_reference)
    def twice_for_kernels(x: Any) -> Any:
        """Double.   y = 2 x      x̄ = 2 ȳ"""
        return x * 2, None

    twice_for_kernels.joint_vjp(lambda g: (g * 2,))
    used = []
    twice_for_kernels.kernel("cupy", lambda x: (used.append(type(x)) or x + x, None))
    try:
        twice_for_kernels(tg.tensor([1.0], device="cpu"))
        assert used == []
        assert twice_for_kernels(tg.tensor([1.0], device="cuda")).item() == 2.0
        assert used == [cuda.ndarray]
        twice_for_kernels.kernel("numpy", lambda x: (used.append(type(x)) or x * 3, None))  # beside the other
        assert [twice_for_kernels(tg.tensor([1.0], device=d)).item() for d in ("cpu", "cuda")] == [3, 2]
        assert used == [cuda.ndarray, np.ndarray, cuda.ndarray]
    finally:
        del REGISTRY["twice_for_kernels"]
    with pytest.raises(TypeError, match=r"tanh.kernel: only fused ops \(with reference=\)"):
        tg.tanh.kernel("cupy", lambda x: x)


def test_a_condition_that_is_one_truth_value_chooses_on_the_device(cuda: Any) -> None:
    x = tg.tensor([1.0, -2.0], requires_grad=True, device="cuda")
    with standin.counting() as seen:
        chosen, left = tg.where(True, x, 0.0), tg.where(np.bool_(False), x, x * 3)
        (tg.gradients((x**0 + tg.sign(x) + chosen * left).sum(), [x], create_graph=True)[0]).sum().backward()
    np.testing.assert_array_equal(host(x.grad), [6.0, 6.0])
    assert seen["to host"] == 0


# ---- how often the host waits ------------------------------------------------------------------------------------


def _transfers(f: Any) -> tuple[int, int]:
    with standin.counting() as seen:
        f()
    return seen["to device"], seen["to host"]


@pytest.mark.host  # the stand-in counts
def test_what_is_checked_costs_one_look_at_the_device_and_none_if_it_came_from_the_host(cuda: Any) -> None:
    with tg.device("cuda"):
        z, table, p = tg.normal((4, 3), rng=0, requires_grad=True), tg.normal((5, 2), rng=0), tg.ones((4, 3))
        t, t_there = np.array([0, 1, 2, 9]), tg.tensor([0, 1, 2, 1])
        mask, mask_there = np.array([1.0, 1.0, 0.5, 0.0]), tg.tensor([1.0, 1.0, 0.5, 0.0])
        for f, to_device, to_host in (
            (lambda: tg.cross_entropy(z, t % 3), 1, 0),
            (lambda: tg.cross_entropy(z, [0, 1, 2, 0]), 1, 0),
            (lambda: tg.cross_entropy(z, t_there), 0, 1),
            (lambda: tg.cross_entropy(z, t, mask=mask), 2, 0),
            (lambda: tg.cross_entropy(z, t.tolist(), mask=mask.tolist()), 2, 0),
            (lambda: tg.cross_entropy(z, t_there, mask=mask_there), 0, 2),
            (lambda: tg.hinge_loss(z, t % 3), 1, 0),
            (lambda: tg.binary_cross_entropy_with_logits(z, p), 0, 1),
            (lambda: tg.embedding(table, t % 5), 1, 0),
            (lambda: tg.embedding(table, t_there), 0, 1),
        ):
            assert _transfers(f) == (to_device, to_host)
        with pytest.raises(IndexError, match="targets run from 0 to 9"):
            tg.cross_entropy(z, t)
        assert _transfers(lambda: tg.cross_entropy(z, t, mask=mask).backward()) == (2, 0)


@pytest.mark.host
def test_an_optimizer_of_parameters_without_elements_makes_arrays_without_elements(cuda: Any) -> None:
    w = tg.zeros((0, 4), requires_grad=True, device="cuda")
    optimizer = tg.optim.SGD([w], lr=0.1, momentum=0.9)
    (w * w).sum().backward()
    optimizer.step()
    assert w.shape == (0, 4)


@pytest.mark.host
def test_layers_move_nothing_of_their_own(cuda: Any) -> None:
    with tg.device("cuda"):
        x, row = tg.normal((5, 2, 3), rng=0), tg.normal((2, 3), rng=0)
        nets = [net(3, 4, rng=0) for net in (tg.nn.RNN, tg.nn.LSTM, tg.nn.GRU)]
        cells = [cell(3, 4, rng=0) for cell in (tg.nn.RNNCell, tg.nn.LSTMCell, tg.nn.GRUCell)]
        assert _transfers(lambda: [net(x)[0].sum().backward() for net in nets]) == (0, 0)
        for dtype in ("float32", "float16"):  # which has no kernel of its own
            h = [a.astype(dtype) for a in (x, *nets[1].parameters())]
            assert _transfers(lambda h=h: tg.lstm(h[0], None, *h[1:])) == (0, 0)
        assert _transfers(lambda: [cell(row) for cell in cells]) == (0, 0)


@pytest.mark.host
def test_a_training_step_asks_the_device_for_the_loss_and_for_the_norm(cuda: Any) -> None:
    with tg.device("cuda"):
        model = tg.nn.Sequential(*[tg.nn.Linear(3, 3, rng=0) for _ in range(4)])
        optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
        batch = (tg.normal((2, 3), rng=0), tg.normal((2, 3), rng=1))
        seen = [
            _transfers(
                lambda: tg.train.fit(
                    model, optimizer, [batch], lambda m, x, t: tg.mse_loss(m(x), t), steps=steps, progress=False
                )
            )
            for steps in (1, 3)
        ]
    assert seen[1][1] - seen[0][1] == 2 * 2 and seen[1][0] == seen[0][0]


# ---- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "CPU", "", 0, None])
def test_a_name_that_is_no_device_is_refused(name: Any) -> None:
    with pytest.raises(DeviceError, match="unknown device .*: use 'cpu', 'cuda' or 'cuda:1'"):
        tg.device(name)


def test_a_device_number_too_high_is_refused(cuda: Any) -> None:
    with pytest.raises(DeviceError, match=r"device 'cuda:99' does not exist: this machine has \d+ CUDA device"):
        tg.tensor([1.0], device="cuda:99")
    with pytest.raises(DeviceError, match=r"does not exist"):
        tg.device(f"cuda:{cuda.cuda.runtime.getDeviceCount()}")


@pytest.mark.host  # on the stand-in, which has two devices
def test_a_tensor_moves_between_devices(cuda: Any) -> None:
    x = tg.tensor([1.0, 2.0], device="cuda:1")
    assert x.device == "cuda:1" and x.to("cuda:0").device == "cuda:0" and x.to("cpu").tolist() == [1, 2]
    assert backend.to_device(x._value, "cuda:1") is x._value


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize(
    "f", [tg.sum, tg.max, tg.min, tg.prod, tg.cumsum, tg.logsumexp, tg.softmax, tg.log_softmax, tg.argmax, tg.argmin]
)
def test_a_single_number_has_the_axis_that_numpy_gives_it_on_the_device_too(f: Any, axis: int, cuda: Any) -> None:
    found = []
    for device in ("cpu", "cuda"):
        x = tg.tensor(2.0, requires_grad=True, device=device)
        y = f(x, axis=axis)
        if f not in (tg.argmax, tg.argmin):
            (y * y).sum().backward()
            found.append(host(x.grad))
        found.append(host(y))
    for here, there in zip(found[: len(found) // 2], found[len(found) // 2 :], strict=True):
        assert here.shape == there.shape
        np.testing.assert_array_equal(there, here)


@pytest.mark.host  # as are these
def test_everything_runs_on_a_device_that_is_not_the_first(cuda: Any) -> None:
    assert tg.zeros(2, device="cuda").device == "cuda:0"
    layer = tg.nn.Linear(3, 4, rng=0).to("cuda:1")
    x = tg.tensor(np.ones((2, 3), np.float32), device="cuda:1", requires_grad=True)
    optimizer = tg.optim.Adam(layer.parameters())
    y, _ = tg.lstm(tg.softmax(layer(x)).reshape(2, 1, 4), None, *[tg.ones((8, n), device="cuda:1") for n in (4, 2)])
    loss = (y * y).sum() + tg.cross_entropy(layer(x), np.array([0, 3])) + tg.norm(x)
    loss.backward()
    optimizer.step()
    moved = [x, loss, y, *layer.parameters()]
    assert {t.device for t in moved} == {backend.device_of(t.grad) for t in moved if t.is_leaf} == {"cuda:1"}
    assert tg.zeros(2, device="cuda").device == "cuda:1"  # 'cuda' is the one that is in use
    with tg.device("cuda:0"):
        assert (tg.zeros(2) + 1).device == tg.zeros(2, device="cuda").device == "cuda:0"


@pytest.mark.host
def test_a_computation_may_go_from_one_device_to_the_next_and_back(cuda: Any) -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True, device="cuda:0")
    y = tg.exp((x * x).to("cuda:1") * 0.5).to("cuda:0").sum()
    assert y.device == "cuda:0"
    y.backward()
    assert backend.device_of(x.grad) == "cuda:0"
    np.testing.assert_allclose(host(x.grad), host(x) * np.exp(host(x) ** 2 / 2), rtol=1e-6)


@pytest.mark.host
def test_backward_goes_to_the_device_of_the_loss_and_from_there_to_those_of_the_data(cuda: Any) -> None:
    a, b = (tg.tensor([1.0, 2.0], requires_grad=True, device=f"cuda:{i}") for i in (0, 1))
    there = tg.softmax(b).sum()
    loss = tg.softmax(a).sum() + tg.square(a).sum() + there.to("cuda:0")
    tg.zeros(2, device="cuda:1")  # the next batch, perhaps
    loss.backward()
    assert (backend.device_of(a.grad), backend.device_of(b.grad)) == ("cuda:0", "cuda:1")


@pytest.mark.host
def test_data_of_a_device_that_is_not_in_use_takes_it_into_use_or_says_so(cuda: Any) -> None:
    x, other = tg.tensor([1.0, 2.0], device="cuda:0"), tg.tensor([1.0, 2.0], device="cuda:1")
    assert tg.softmax(x).device == "cuda:0" and tg.exp(other).device == "cuda:1"
    assert x.tolist() == [1, 2] and x.to("cpu").device == "cpu" and x[0].device == "cuda:0"
    with pytest.raises(DeviceError, match=r"multiply: .*\(0\).*current device \(1\).*with tg.device\('cuda:0'\)"):
        x * 2
    with pytest.raises(DeviceError, match=r"different from the current device.*with tg.device\('cuda:0'\)"):
        x[0] * 2
    with tg.device("cuda:0"):
        assert (x * 2).tolist() == [2, 4]
    with pytest.raises(TypeError, match="operands live on cuda:0 and cuda:1"):
        tg.maximum(x, other)


@pytest.mark.host
@pytest.mark.parametrize(
    "ask", [lambda: tg.tensor(1.0, device="cuda"), lambda: tg.zeros(2).to("cuda"), lambda: tg.device("cuda:1")]
)
def test_without_cupy_the_error_says_how_to_get_it(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(DeviceError, match=r"needs CuPy, which is not installed: pip install 'tinygrad7\[cuda12\]'"):
        ask()


@pytest.mark.host
def test_a_cupy_that_cannot_be_imported_is_not_called_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "cupy"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(backend, "_MODULES", {np.ndarray: np})
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "cupy").mkdir()
    for source, reason in (
        ("raise ImportError('libnvrtc.so.12: cannot open shared object file')", "libnvrtc.so.12: cannot open"),
        ("import a_module_that_is_not_there", "No module named 'a_module_that_is_not_there'"),
    ):
        (tmp_path / "cupy" / "__init__.py").write_text(source, encoding="utf-8")
        importlib.invalidate_caches()
        with pytest.raises(
            DeviceError, match=rf"installed but cannot be imported: {reason}.*brings the CUDA libraries"
        ):
            tg.tensor(1.0, device="cuda")


@pytest.mark.host
@pytest.mark.parametrize("kind", ["raises", "none"])
def test_without_a_gpu_the_error_says_that(kind: str, cuda: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> int:
        if kind == "none":
            return 0
        raise standin.CUDARuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient")

    monkeypatch.delitem(backend._MODULES, cuda.ndarray)
    monkeypatch.setattr(cuda.cuda.runtime, "getDeviceCount", none)
    reason = "the driver reports 0 devices" if kind == "none" else "cudaErrorInsufficientDriver"
    with pytest.raises(
        DeviceError, match=f"needs an NVIDIA GPU: CuPy is installed but finds none .*{reason}.*nvidia-smi"
    ):
        tg.tensor(1.0, device="cuda")
    if kind == "raises":
        with pytest.raises(DeviceError, match=r"the driver is older than this CuPy needs: update it, or .*cuda12"):
            tg.tensor(1.0, device="cuda")


@pytest.mark.host
def test_the_extras_bring_the_cuda_libraries_along() -> None:  # CuPy's wheels have had none since version 14
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for version in ("12", "13"):
        (needed,) = project["optional-dependencies"][f"cuda{version}"]
        assert needed.startswith(f"cupy-cuda{version}x[ctk]>=14")


@pytest.mark.host
@pytest.mark.parametrize("marks", ["gpu", "gpu and not slow"])
def test_the_suite_for_a_real_device_says_what_is_missing(marks: str) -> None:
    code = f"import sys, pytest; sys.modules['cupy'] = None; sys.exit(pytest.main(['-m', {marks!r}, '-q']))"
    root = Path(__file__).parent.parent
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert run.returncode == pytest.ExitCode.USAGE_ERROR
    assert "device 'cuda' needs CuPy, which is not installed" in run.stderr


def test_an_integer_on_a_device_is_an_index_of_a_list() -> None:
    assert [1, 2, 3][tg.tensor(1)] == 2 and list(range(tg.tensor(2))) == [0, 1]
