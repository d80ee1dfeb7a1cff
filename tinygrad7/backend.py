"""Arrays and where they live. The only file that imports CuPy.

Creation asks the default device; computation asks the data: ``xp(a)`` is the array module of ``a``, NumPy for
host arrays and CuPy for device arrays. CuPy is imported the first time somebody asks for a CUDA device.

CuPy computes on the thread's current device, whatever device its operands are on. So a device becomes current when it
is named, when something is moved or made there, and when ``xp`` is asked about an array there.
"""

from __future__ import annotations

import re
import sys
from types import ModuleType
from typing import Any

import numpy as np

Array = Any  # numpy.ndarray, numpy.generic (a 0-d result) or cupy.ndarray

_DEVICE = re.compile(r"cpu|cuda(:\d+)?")
_MODULES: dict[type, ModuleType] = {np.ndarray: np}
_several = False  # CUDA devices: with one, nothing is ever switched


class DeviceError(RuntimeError):
    """A device that is not there, or arrays of two devices in one operation."""


def xp(a: Array) -> Any:
    """The array module of ``a``: ``numpy`` or ``cupy``. The device of ``a`` becomes the current one."""
    module = _MODULES.get(type(a), np)
    if module is not np and _several:
        _use(a.device.id)
    return module


def _use(index: int) -> None:
    """Make a CUDA device the current one of this thread."""
    cupy = cuda()
    if cupy.cuda.runtime.getDevice() != index:
        cupy.cuda.Device(index).use()


def xp_of(*values: Any) -> Any:
    """The array module of the first of ``values`` that is not NumPy's, else NumPy."""
    return next((module for value in values if (module := xp(value)) is not np), np)


def device_only(*values: Any) -> Any:
    """``xp_of``, for those of CuPy's functions that would move a host array without a word: it raises ``TypeError``."""
    module = xp_of(*values)
    if module is not np and any(isinstance(value, np.ndarray) for value in values):
        raise TypeError("host arrays and device arrays do not mix")
    return module


def is_array(a: object) -> bool:
    """Whether ``a`` is an array (or NumPy scalar) of one of the backends."""
    return type(a) in _MODULES or isinstance(a, np.ndarray | np.generic) or _foreign(a)


def _foreign(a: object) -> bool:
    """A CuPy array that the user made before this package had any reason to import CuPy."""
    if type(a).__module__.partition(".")[0] != "cupy" or not hasattr(a, "dtype"):
        return False
    cuda()
    return type(a) in _MODULES


def cuda() -> ModuleType:
    """The CuPy module, checked to have a device. Raises ``DeviceError`` saying what is missing, and how to get it."""
    global _several
    module = sys.modules.get("cupy")
    if module is not None and module.ndarray in _MODULES:
        return module
    try:
        import cupy
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
            raise DeviceError(
                "device 'cuda' needs CuPy, which is not installed: pip install 'tinygrad7[cuda12]' "
                "(or 'tinygrad7[cuda13]' for a CUDA 13 driver)"
            ) from error
        raise DeviceError(
            f"device 'cuda' needs CuPy, which is installed but cannot be imported: {error}. "
            "pip install 'tinygrad7[cuda12]' (or [cuda13]) brings the CUDA libraries that it looks for"
        ) from error
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        old = _OLD_DRIVER if "InsufficientDriver" in str(error) else ""
        raise DeviceError(_NO_GPU.format(reason=error) + old) from error
    if count == 0:
        raise DeviceError(_NO_GPU.format(reason="the driver reports 0 devices"))
    _MODULES[cupy.ndarray], _several = cupy, count > 1
    return cupy  # type: ignore[no-any-return]


_NO_GPU = (
    "device 'cuda' needs an NVIDIA GPU: CuPy is installed but finds none ({reason}). "
    "Check that `nvidia-smi` lists one, or use device='cpu'"
)
_OLD_DRIVER = (
    ". Where it lists one, the driver is older than this CuPy needs: update it, or install the CuPy for the CUDA "
    "version that nvidia-smi shows, 'tinygrad7[cuda12]' or 'tinygrad7[cuda13]'"
)


def check_device(device: str) -> str:
    """``device`` in its full form: 'cpu' or 'cuda:N', which becomes the current one ('cuda': the one that is).

    Raises ``DeviceError`` for a name that is none or a device that is not there."""
    if not isinstance(device, str) or not _DEVICE.fullmatch(device):
        raise DeviceError(f"unknown device {device!r}: use 'cpu', 'cuda' or 'cuda:1'")
    if device == "cpu":
        return device
    runtime = cuda().cuda.runtime
    number = device.partition(":")[2]
    index, count = int(number) if number else runtime.getDevice(), runtime.getDeviceCount()
    if index >= count:
        raise DeviceError(f"device {device!r} does not exist: this machine has {count} CUDA device(s)")
    _use(index)
    return f"cuda:{index}"


def device_of(a: Array) -> str:
    """Where ``a`` lives: 'cpu' or 'cuda:N'."""
    return "cpu" if _MODULES.get(type(a), np) is np else f"cuda:{a.device.id}"


def to_device(a: Array, device: str) -> Array:
    """``a`` on ``device``, which becomes the current one: itself where it is there already, a copy otherwise."""
    if device == "cpu":
        return a if _MODULES.get(type(a), np) is np else a.get()
    cupy: Any = cuda()
    _use(int(device.partition(":")[2]))
    return a if device_of(a) == device else cupy.asarray(a)


def to_numpy(a: Array) -> np.ndarray:
    """``a`` as a host array."""
    return np.asarray(to_device(a, "cpu"))


def numbers(*values: Array) -> list[Any]:
    """0-d arrays of one place as Python numbers: together, so that the host waits for a device once."""
    module = xp(values[0])
    return [value.item() for value in values] if module is np else module.stack(values).tolist()


def writable_array(a: Array) -> Array:
    """``a``, with a NumPy scalar made a 0-d array, so that it can be written into."""
    return np.array(a) if isinstance(a, np.generic) else a
