"""What holds for every test: Hypothesis profiles, and the backend on which the suite runs.

    pytest                        NumPy
    pytest --backend=standin      the strict stand-in for CuPy (tests/standin.py): every new tensor is a device tensor
    pytest -m gpu                 the same on a real device, which is then required

On the other two backends, tests marked ``host`` are left out: they say something about NumPy arrays themselves.
``HYPOTHESIS_PROFILE=deep pytest`` looks longer.
"""

from __future__ import annotations

import os
import re
import sys

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # before NumPy is imported: two workers share two cores

from collections.abc import Iterator
from typing import Any

import hypothesis
import numpy as np
import pytest

import tinygrad7 as tg
from tests import standin
from tests.helpers import host
from tinygrad7 import backend
from tinygrad7.op import REGISTRY
from tinygrad7.tensor import Tensor

hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, max_examples=40)
hypothesis.settings.register_profile("deep", deadline=None, max_examples=10_000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backend", choices=("numpy", "standin", "cuda"), default="numpy", help="where new tensors live")


def pytest_configure(config: pytest.Config) -> None:
    for name in (
        "assert_allclose",
        "assert_array_equal",
        "assert_equal",
        "assert_array_less",
        "assert_array_almost_equal",
    ):
        setattr(np.testing, name, _of_host_values(getattr(np.testing, name)))
    if re.search(r"(?<!not )\bgpu\b", config.getoption("markexpr", "")):
        config.option.backend = "cuda"
    if config.option.backend == "standin":
        standin.install()
    if config.option.backend == "cuda":
        try:
            backend.cuda()
        except backend.DeviceError as error:
            raise pytest.UsageError(str(error)) from None


def _of_host_values(check: Any) -> Any:
    """A comparison of ``np.testing`` that fetches tensors and device arrays first: one test serves every backend."""

    def compare(actual: Any, desired: Any, *args: Any, **kwargs: Any) -> Any:
        return check(host(actual), host(desired), *args, **kwargs)

    return compare


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.backend == "numpy":
        return
    left_out = [item for item in items if item.get_closest_marker("host")]
    items[:] = [item for item in items if not item.get_closest_marker("host")]
    config.hook.pytest_deselected(items=left_out)
    if config.option.backend == "cuda":
        for item in items:
            item.add_marker("gpu")


@pytest.fixture(autouse=True)
def _default_device(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every new tensor lives on the backend under test."""
    if request.config.option.backend == "numpy":
        yield
        return
    with tg.device("cuda:0"):
        yield


@pytest.fixture
def cuda(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The CuPy module: the stand-in while the test runs, the real one under ``-m gpu``."""
    if request.config.option.backend == "numpy":
        for name in [name for name in sys.modules if name.partition(".")[0] == "cupy"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr(backend, "_MODULES", dict(backend._MODULES))
        monkeypatch.setattr(backend, "_several", False)
        monkeypatch.setitem(sys.modules, "cupy", standin.MODULE)
    module = backend.cuda()
    module.cuda.Device(0).use()
    yield module
    module.cuda.Device(0).use()


@pytest.fixture
def forget() -> Iterator[None]:
    """Ops that a test registers are taken out again, and the methods that they became."""
    before, methods = set(REGISTRY), set(vars(Tensor))
    yield
    for name in set(REGISTRY) - before:
        del REGISTRY[name]
    for name in set(vars(Tensor)) - methods:
        delattr(Tensor, name)
