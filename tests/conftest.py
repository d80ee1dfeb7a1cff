"""What holds for every test: Hypothesis profiles, and the backend on which the suite runs.

    pytest                        NumPy
    pytest --backend=standin      the strict stand-in for CuPy (tests/standin.py): every new tensor is a device tensor
    pytest -m gpu                 the same on a real device, which is then required

On the other two backends, tests marked ``host`` are left out: they say something about NumPy arrays themselves.
"""

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # before NumPy is imported: two workers share two cores

from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, max_examples=40)
hypothesis.settings.register_profile("deep", deadline=None, max_examples=10_000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backend", choices=("numpy", "standin"), default="numpy", help="where new tensors live")
