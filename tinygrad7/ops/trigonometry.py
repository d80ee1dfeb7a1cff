"""Angles, in radians, and their hyperbolic relatives."""

from __future__ import annotations

from typing import Any

from tinygrad7.backend import xp
from tinygrad7.declare import primitive
from tinygrad7.domains import elementwise


@primitive("sin", domain=elementwise())
def sin(x: Any) -> Any:
    """Sine (x in radians).   y = sin x      x̄ = ȳ cos x"""
    return xp(x).sin(x)


@primitive("cos", domain=elementwise())
def cos(x: Any) -> Any:
    """Cosine (x in radians).   y = cos x      x̄ = −ȳ sin x"""
    return xp(x).cos(x)


sin.vjp(x=lambda g, x: g * cos(x))
cos.vjp(x=lambda g, x: -g * sin(x))


@primitive("tan", domain=elementwise((-1.2, 1.2)))
def tan(x: Any) -> Any:
    """Tangent (x in radians).   y = tan x      x̄ = ȳ (1 + y²)"""
    return xp(x).tan(x)


tan.vjp(x=lambda g, y: g * (1 + y * y))


@primitive("sinh", domain=elementwise())
def sinh(x: Any) -> Any:
    """Hyperbolic sine.   y = sinh x      x̄ = ȳ cosh x"""
    return xp(x).sinh(x)


@primitive("cosh", domain=elementwise())
def cosh(x: Any) -> Any:
    """Hyperbolic cosine.   y = cosh x      x̄ = ȳ sinh x"""
    return xp(x).cosh(x)


sinh.vjp(x=lambda g, x: g * cosh(x))
cosh.vjp(x=lambda g, x: g * sinh(x))


@primitive("arctan", domain=elementwise())
def arctan(x: Any) -> Any:
    """Arc tangent, in radians.   y = arctan x      x̄ = ȳ / (1 + x²)"""
    return xp(x).arctan(x)


arctan.vjp(x=lambda g, x: g / (1 + x * x))
