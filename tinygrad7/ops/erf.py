"""The error function on arrays, which neither NumPy nor CuPy's array module has."""

from __future__ import annotations

from tinygrad7.backend import Array, xp

# erf(x)/x as a Chebyshev series in x² on [0, 1], and erfc(x) e^(x²) / t in t = 2/(2 + x) on [1, 8]; fitted at
# 50 digits, good to 2e-16.
_NEAR = (
    0.9754769393826541, -0.14226120510371365, 0.010035582187599796, -0.0005768764699767485, 2.741993125219606e-05,
    -1.1043175507344507e-06, 3.8488755420345036e-08, -1.1808582533875466e-09, 3.2334215826050907e-11,
    -7.991015947004483e-13, 1.799072511348477e-14, -3.718635162421382e-16, 7.101507363020076e-18,
)  # fmt: skip
_FAR = (
    0.48158144276043535, 0.14516637817325384, 0.014115812634025924, 0.0005638818527485844, -4.694448989710955e-05,
    -5.544246402646463e-06, 2.903386387637185e-07, 5.130493210075546e-08, -3.6856142142742718e-09,
    -4.72869624121188e-10, 6.24768380622552e-11, 2.964532496541136e-12, -1.0209999483998623e-12,
    2.7644523697130663e-14, 1.3073407244719662e-14, -1.5380759723177846e-15, -6.852835596059333e-17,
    3.243812122901131e-17, -2.2573931528198894e-18, -3.2143676625340005e-19, 7.908428319349206e-20,
)  # fmt: skip


def _chebyshev(s: Array, coefficients: tuple[float, ...]) -> Array:
    """Σ cₖ Tₖ(s) by Clenshaw's recurrence."""
    b1: Array = 0.0
    b2: Array = 0.0
    for c in reversed(coefficients[1:]):
        b1, b2 = 2 * s * b1 - b2 + c, b1
    return s * b1 - b2 + coefficients[0]


def error_function(x: Array) -> Array:
    """2/√π ∫₀ˣ e^(−s²) ds to 2e-16 in float64."""
    m = xp(x)
    size = m.minimum(m.abs(x), 8)
    near = x * _chebyshev(2 * m.minimum(size, 1) ** 2 - 1, _NEAR)
    t = 2 / (2 + m.maximum(size, 1))
    middle, half = (2 / 3 + 0.2) / 2, (2 / 3 - 0.2) / 2
    far = 1 - t * m.exp(-size * size) * _chebyshev((t - middle) / half, _FAR)
    return m.where(size < 1, near, m.copysign(far, x))
