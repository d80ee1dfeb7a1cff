"""Settings as people give them: what is no whole number, or no number, of the right size is told at once."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np


def check_whole(owner: Any, least: int = 1, **values: Any) -> None:
    """Raise ``ValueError`` for a value that is no whole number of at least ``least``.

    ``owner``: the name of what takes the settings, or an object whose class bears it."""
    for name, value in values.items():
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
            write = f"; write {int(value)}" if isinstance(value, float) and value.is_integer() else ""
            raise ValueError(f"{_name(owner)}: {name} must be a whole number of at least {least}, not {value!r}{write}")


def check_number(
    owner: Any, least: float = 0, below: float = math.inf, *, most: float | None = None, **values: Any
) -> None:
    """Raise ``ValueError`` for a value v that is no number with ``least`` ≤ v ≤ ``most``, or v < ``below``."""
    for name, value in values.items():
        number = isinstance(value, Real) and not isinstance(value, bool)
        if not (number and least <= value and (value < below if most is None else value <= most)):
            end = f"< {below}" if most is None else f"<= {most}"
            raise ValueError(f"{_name(owner)}: {name} must be a number, {least} <= {name} {end}, not {value!r}")


def _name(owner: Any) -> str:
    return owner if isinstance(owner, str) else type(owner).__name__
