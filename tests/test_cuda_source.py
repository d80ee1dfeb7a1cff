"""Own CUDA source: that it compiles, and that what stands in for a device runs it as one would."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tests import standin
from tests.cuda_source import KERNEL, Kernel, nvrtc_compile, nvrtc_path, sources
from tinygrad7.ops import recurrent_cuda

pytestmark = pytest.mark.host

SOURCE = r"""
extern "C" __global__ void scale(real* y, const real* x, const real a, const int n) {
    const int k = blockDim.x * blockIdx.x + threadIdx.x;
    if (k >= n) return;
    const real t = tanh(x[k]), u = a * t;  // a comment; with a semicolon
    y[k] = u + x[n + k];
}
"""


@pytest.mark.parametrize("real", ["float", "double"])
def test_a_kernel_runs_as_its_source_says(real: str) -> None:
    dtype = {"float": np.float32, "double": np.float64}[real]
    x, y = np.linspace(-1, 1, 6).astype(dtype), np.full(4, 9.0, dtype)
    Kernel(SOURCE, "scale", (f"-Dreal={real}",))((1,), (256,), (y, x, dtype(3), np.int32(3)))
    np.testing.assert_allclose(y, [*(3 * np.tanh(x[:3]) + x[3:]), 9.0], rtol=1e-6)


@pytest.mark.parametrize(
    "bad",
    [
        lambda y, x: (y, x, np.float32(3), 3),
        lambda y, x: (y, x, np.float64(3), np.int32(3)),
        lambda y, x: (y, x.astype(np.float64), np.float32(3), np.int32(3)),
        lambda y, x: (y, x[::2], np.float32(3), np.int32(1)),
        lambda y, x: (y, x, np.int32(3)),
    ],
)
def test_arguments_that_a_device_would_misread_are_refused(bad: Any) -> None:
    x, y = np.ones(6, np.float32), np.ones(4, np.float32)
    with pytest.raises((TypeError, AttributeError)):
        Kernel(SOURCE, "scale", ("-Dreal=float",))((1,), (256,), bad(y, x))


def test_a_write_through_a_const_pointer_is_refused() -> None:
    source = SOURCE.replace("real* y", "const real* y")
    with pytest.raises(ValueError, match="read-only"):
        Kernel(source, "scale", ("-Dreal=float",))(
            (1,), (8,), (np.ones(4, np.float32), np.ones(6, np.float32), np.float32(3), np.int32(3))
        )


def test_places_in_memory_are_counted_in_64_bits() -> None:
    for source, _ in sources().values():
        code = re.sub(r"//.*", "", source)
        assert not re.search(r"\bint\b", code), "5 H B elements of a large net are more than an int counts"
        for _, body in re.findall(r"void (\w+)\(.*?\)\s*\{(.*?)\n\}", code, re.DOTALL):
            assert "(long long)blockDim.x * blockIdx.x + threadIdx.x" in body


def test_a_kernel_is_built_once_and_launched_often(cuda: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []

    class Module(standin.RawModule):
        def get_function(self, name: str) -> Any:
            built.append(name)
            return super().get_function(name)

    monkeypatch.setattr(cuda, "RawModule", Module)
    recurrent_cuda._kernel.cache_clear()
    x = tg.normal((5, 2, 3), rng=0, device="cuda")
    weights = [tg.normal((8, n), rng=n, device="cuda", requires_grad=True) for n in (3, 2)]
    for _ in range(2):
        tg.lstm(x, None, *weights)[0].sum().backward()
    assert sorted(built) == ["lstm_backward", "lstm_forward"]
    recurrent_cuda._kernel.cache_clear()


def test_every_kernel_of_ours_is_understood() -> None:
    for source, reals in sources().values():
        assert source.count("__global__") == len(KERNEL.findall(source)) > 0
        assert set(reals) <= {"float", "double"}


if nvrtc_path() is not None:  # its wheel is installed: pip install nvidia-cuda-nvrtc-cu12

    @pytest.mark.parametrize(
        ("name", "real"), [(name, real) for name, (_, reals) in sources().items() for real in reals]
    )
    def test_our_source_compiles(name: str, real: str) -> None:
        source, _ = sources()[name]
        text = nvrtc_compile(source, (f"-Dreal={real}", "--gpu-architecture=compute_75", "-default-device"))
        for kernel in KERNEL.findall(source):
            assert f".entry {kernel[0]}" in text

    def test_source_that_is_wrong_does_not_compile() -> None:
        with pytest.raises(SyntaxError, match='identifier "z" is undefined'):
            nvrtc_compile(SOURCE.replace("tanh(x[k])", "tanh(z[k])"), ("-Dreal=float",))
