"""Property tests of gradients, as a tool: nothing here needs Hypothesis but ``strategies`` and ``given_gradients``."""

from __future__ import annotations

import importlib
from typing import Any

from tinygrad7.testing.check import GradientError, Verdict, check_gradients
from tinygrad7.testing.picks import GeneratorPick, examples
from tinygrad7.testing.ops import check_op

__all__ = [
    "GeneratorPick",
    "GradientError",
    "Verdict",
    "check_gradients",
    "check_op",
    "examples",
    "given_gradients",
    "strategies",
]


def __getattr__(name: str) -> Any:
    """Hypothesis is imported when somebody asks for what needs it."""
    if name == "strategies":
        return importlib.import_module("tinygrad7.testing.strategies")
    if name == "given_gradients":
        return importlib.import_module("tinygrad7.testing.given").given_gradients
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
