"""The stand-in for CuPy is as strict as it says, and offers nothing that the recorded CuPy does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests import standin
from tests.standin import API, MODULE, counting, ndarray

pytestmark = pytest.mark.host


def device_array(shape: tuple[int, ...] = (2, 3)) -> Any:
    return MODULE.asarray(np.arange(np.prod(shape), dtype=np.float64).reshape(shape))


@pytest.mark.parametrize(
    "convert",
    [
        np.asarray,
        np.array,
        lambda a: np.ones((2, 3)).__iadd__(a),
        lambda a: np.stack([np.ones((2, 3)), a]),
        list.__iter__,
    ],
)
def test_it_never_becomes_a_numpy_array_by_itself(convert: Any) -> None:
    with pytest.raises(TypeError):
        convert(device_array())


@pytest.mark.parametrize(
    "mix",
    [
        lambda a, h: a + h, lambda a, h: h + a, lambda a, h: a @ h.T, lambda a, h: h.T @ a, lambda a, h: a < h,
        lambda a, h: h == a, lambda a, h: MODULE.add(a, h), lambda a, h: np.multiply(a, h), lambda a, h: MODULE.tanh(h),
        lambda a, h: MODULE.concatenate([a, h]), lambda a, h: MODULE.where(h > 0, a, a), lambda a, h: a.__iadd__(h),
        lambda a, h: MODULE.sum(h), lambda a, h: a[h.astype(int)], lambda a, h: a[h > 2],
        lambda a, h: MODULE.add(a, a, out=h),
    ],
)  # fmt: skip
def test_it_does_not_mix_with_numpy_arrays(mix: Any) -> None:
    with pytest.raises(TypeError, match=r"Unsupported type <class 'numpy.ndarray'>"):
        mix(device_array(), np.ones((2, 3)))


def test_some_functions_move_host_arrays_without_a_word_as_the_real_ones_do() -> None:
    a, h = device_array(), np.ones((2, 3))
    with counting() as seen:
        assert type(MODULE.isclose(a, h)) is type(MODULE.einsum("ij,ij", a, h)) is ndarray
    assert seen["to device"] == 2


@pytest.mark.parametrize(
    "use",
    [
        lambda a: MODULE.where(True, a, 0), lambda a: MODULE.where([[True, False, True]], a, 0),
        lambda a: MODULE.matmul(a, a.T, MODULE.empty((2, 2))), lambda a: MODULE.stack([a[0, 0], np.float64(1)]),
        lambda a: MODULE.concatenate([a[0], [1.0]]), lambda a: a[0, 0].sum(axis=0), lambda a: a[0, 0].cumsum(axis=-1),
        lambda a: MODULE.argmax(a[0, 0], axis=0), lambda a: MODULE.array_equal(a, [[1.0]]),
        lambda a: MODULE.sum([1.0, 2.0]), lambda a: MODULE.reshape([1.0, 2.0], (2, 1)), lambda a: MODULE.tanh([1.0]),
        lambda a: a + [1.0, 2.0, 3.0], lambda a: a.__iadd__([1.0, 2.0, 3.0]), lambda a: MODULE.linalg.norm([1.0, 2.0]),
        lambda a: MODULE.multiply.at(a, MODULE.asarray([0]), 1.0), lambda a: MODULE.maximum.reduce(a),
        lambda a: MODULE.subtract.at(a, MODULE.asarray([0]), 1.0), lambda a: a.astype(object), lambda a: a.astype(str),
        lambda a: MODULE.zeros(2, np.longdouble), lambda a: MODULE.asarray(np.array(["a"])),
        lambda a: a[type("One", (), {"__index__": lambda self: 1})()], lambda a: [1, 2, 3][a[0, 0].astype(int)],
        lambda a: MODULE.random.rand(2), lambda a: MODULE.fft.fft(a),
    ],
)  # fmt: skip
def test_it_refuses_what_numpy_takes_and_cupy_does_not(use: Any) -> None:
    with pytest.raises((TypeError, AttributeError, IndexError, NotImplementedError, np.exceptions.AxisError)):
        use(device_array())


def test_integer_arrays_as_indices_wrap_round() -> None:
    a, far = device_array(), MODULE.asarray([5, -3])
    assert a[far].tolist() == [[3.0, 4.0, 5.0], [3.0, 4.0, 5.0]]
    assert a[..., far].tolist() == [[2.0, 0.0], [5.0, 3.0]] and a[MODULE.asarray([True, False]), far].tolist() == [2, 0]
    a[far, 0] = 9
    MODULE.add.at(a, far, 1.0)
    assert a.tolist() == [[0, 1, 2], [11, 6, 7]]
    with pytest.raises(IndexError, match="Index 7 is out of bounds"):
        a[7]


def test_a_shape_without_axes_or_of_nothing_is_taken_for_none_by_empty_like() -> None:
    assert (
        MODULE.empty_like(device_array(), shape=0).shape == MODULE.zeros_like(device_array(), shape=()).shape == (2, 3)
    )


def test_a_numpy_array_cannot_be_written_into_it() -> None:
    with pytest.raises(ValueError, match="cannot be used for fill"):
        device_array()[0] = np.ones(3)


def test_reductions_and_elements_are_zero_dimensional_arrays() -> None:
    a = device_array()
    for value in (
        a.sum(),
        a.max(),
        a[0, 1],
        MODULE.mean(a),
        MODULE.argmax(a),
        a @ a.T @ a[:, 0] @ a[:, 0][:2],
        a.any(),
    ):
        assert type(value) is ndarray and value.shape == ()
    assert type(MODULE.allclose(a, a)) is ndarray
    assert MODULE.may_share_memory(a, a[0]) is True
    with pytest.raises(TypeError):
        range(a[0, 1])


def test_python_and_numpy_numbers_mix_as_in_numpy_2() -> None:
    a = device_array().astype(np.float32)
    assert (a * 2.0).dtype == np.float32 == (2.0 * a).dtype == MODULE.add(a, 1).dtype
    assert (a * np.float64(2)).dtype == np.float64 == (np.float64(2) * a).dtype
    assert (a.sum() * 2.0).dtype == np.float32


@pytest.mark.parametrize(
    "use",
    [
        lambda a: MODULE.sum(a, where=a > 0), lambda a: MODULE.max(a, initial=0.0), lambda a: a.sum(where=a > 0),
        lambda a: MODULE.add(a, a, where=a > 0), lambda a: a.mean(where=True), lambda a: MODULE.tanh(a, order="C"),
        lambda a: MODULE.clip(a, 0, 1, None, None), lambda a: a.std(correction=1), lambda a: MODULE.tril(a, diagonal=1),
    ],
)  # fmt: skip
def test_it_refuses_arguments_that_cupy_does_not_have(use: Any) -> None:
    with pytest.raises(TypeError):
        use(device_array())


def test_it_refuses_numpys_names_that_cupy_does_not_have() -> None:
    missing = [name for name in dir(np) if not name.startswith("_") and name not in API["cupy"]]
    assert len(missing) > 20 and "nditer" in missing
    for name in missing:
        assert not hasattr(MODULE, name)


def test_every_name_and_keyword_it_offers_is_recorded_from_the_real_module() -> None:
    own = {"_host", "__name__", "__doc__", "__package__", "__loader__", "__spec__"}
    for module in (MODULE, MODULE.cuda, MODULE.cuda.runtime, MODULE.linalg, MODULE.lib.stride_tricks):
        offered = set(vars(module)) - own
        assert offered <= set(API[module.__name__]), module.__name__
    for name in API["cupy"]:  # whatever it gives for a name, it checks against the same record
        thing = getattr(MODULE, name, None)
        assert thing is None or name in API["cupy"]
    methods = {n for n in vars(ndarray) if not (n.startswith("_") and not n.startswith("__"))}
    python = {"__slots__", "__module__", "__weakref__", "__annotations__", "__firstlineno__", "__static_attributes__"}
    assert methods - python <= set(API["cupy.ndarray"])
    for name in (
        "ndarray",
        "asarray",
        "asnumpy",
        "cuda",
        "linalg",
        "lib",
        "ElementwiseKernel",
        "einsum",
        "get_array_module",
    ):
        assert name in API["cupy"], "the record has lost what everyone uses"


def test_only_arrays_of_the_current_device_are_computed_with() -> None:
    a = device_array()
    with MODULE.cuda.Device(1):
        b = device_array()
        copied = MODULE.asarray(a)
        assert (b + b).device.id == 1 and a[0].T.device.id == a.reshape(3, 2).device.id == 0
    assert (a.device.id, b.device.id, copied.device.id) == (0, 1, 1)
    for use in (lambda: a + b, lambda: b + b, lambda: b.sum(), lambda: MODULE.exp(b), lambda: b.__setitem__(0, 1.0)):
        with pytest.raises(ValueError, match=r"array resides \(1\) is different from the current device \(0\)"):
            use()
    assert float(b[0, 1]) == 1 and b.get().shape == (2, 3)  # to read it is no kernel
    try:
        MODULE.cuda.Device(1).use()
        assert (b + b).device.id == MODULE.cuda.runtime.getDevice() == 1
    finally:
        MODULE.cuda.Device(0).use()


def test_transfers_and_launches_are_counted() -> None:
    with counting() as seen:
        a = device_array()
        b = (a * 2 + 1).sum()
        a[0].reshape(3, 1).T
        float(b), b.item(), bool(b), b.get()
    assert seen == {"to device": 1, "to host": 4, "launches": 3}


def test_arrays_behave_as_python_objects() -> None:
    a = device_array()
    with pytest.raises(TypeError, match="unhashable"):
        hash(a)
    assert len(a) == 2 and [row.shape for row in a] == [(3,), (3,)]
    view = a[0]
    view += 5
    assert a.tolist() == [[5.0, 6.0, 7.0], [3.0, 4.0, 5.0]]
    assert standin.MODULE.asnumpy(a).tolist() == a.tolist()
