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
        lambda a, h: MODULE.add(a, a, out=h), lambda a, h: MODULE.einsum("ij,ij", a, h),
    ],
)  # fmt: skip
def test_it_does_not_mix_with_numpy_arrays(mix: Any) -> None:
    with pytest.raises(TypeError, match=r"Unsupported type <class 'numpy.ndarray'>"):
        mix(device_array(), np.ones((2, 3)))


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


def test_arrays_of_two_devices_do_not_meet() -> None:
    a = device_array()
    with MODULE.cuda.Device(1):
        b = device_array()
        copied = MODULE.asarray(a)
    assert (a.device.id, b.device.id, copied.device.id) == (0, 1, 1)
    assert (b + b).device.id == 1
    with pytest.raises(ValueError, match="same as the current device"):
        a + b


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
