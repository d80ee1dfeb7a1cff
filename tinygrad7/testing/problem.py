"""A function taken apart for checking: a flat list of arrays in, a flat list of tensors out."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinygrad7.backend import Array, device_of, is_array, to_device, to_numpy, writable_array, xp
from tinygrad7.context import STATE, Setting, chain
from tinygrad7.grad import gradients
from tinygrad7.node import Leaf
from tinygrad7.tensor import Tensor, value_of
from tinygrad7.tree import leaves, rebuild
from tinygrad7.walk import on_the_way
from tinygrad7.wengert import Tape

Flat = Callable[[list[Tensor]], list[Tensor]]


def floating(value: Any) -> bool:
    """Whether an input is one to differentiate: a tensor, array or number of a floating dtype."""
    return isinstance(value, float) or ((isinstance(value, Tensor) or is_array(value)) and value.dtype.kind == "f")


class Problem:
    """``f`` and the point at which to check it.

    ``values``: the floating inputs, one array each, in order; ``names`` what messages call them; ``arrays()`` what all
    that were given hold, which must stay as it is. ``flat`` takes a tensor for each of ``values``, puts the inputs
    together again, and gives the floating outputs of ``f``.
    """

    def __init__(self, f: Callable[..., Any], inputs: tuple[Any, ...]) -> None:
        self.f, self.inputs = f, inputs
        self.given = leaves(inputs)
        self.places = [i for i, value in enumerate(self.given) if floating(value)]
        names = list(_names(inputs, _parameters(f, len(inputs))))
        self.names = [names[i] for i in self.places]
        self.values = [_array(self.given[i]) for i in self.places]
        here = [i for i, value in enumerate(self.given) if isinstance(value, Tensor) or is_array(value)]
        self.array_names = [names[i] for i in here]

    def arrays(self) -> list[Array]:
        """The arrays that were given, and those that the given tensors hold now."""
        return [value_of(value) for value in self.given if isinstance(value, Tensor) or is_array(value)]

    def flat(self, tensors: list[Tensor]) -> list[Tensor]:
        values = list(self.given)
        for place, tensor in zip(self.places, tensors, strict=True):
            values[place] = tensor
        found = leaves(self.f(*rebuild(self.inputs, iter(values))))
        for y in found:
            if y is None or isinstance(y, str):
                continue
            if not isinstance(y, Tensor) and not is_array(y) and not isinstance(y, int | float):
                raise TypeError(f"check_gradients: the function gave a {type(y).__name__}; tensors are needed")
        outputs = [y if isinstance(y, Tensor) else Tensor(np.asarray(y)) for y in found if floating(y)]
        if not outputs:
            raise TypeError("check_gradients: the function gave nothing with a floating dtype to differentiate")
        return outputs


def _array(value: Any) -> Array:
    """The value on its device; raw arrays and numbers go where new tensors go."""
    if isinstance(value, Tensor):
        return writable_array(value._value)
    value = np.asarray(value, np.float64) if isinstance(value, float) else writable_array(value)
    value = value.astype(value.dtype.newbyteorder("="), copy=False)
    return to_device(value, STATE.get().device) if isinstance(value, np.ndarray) else value


def _parameters(f: Callable[..., Any], count: int) -> list[str]:
    """What messages call the arguments: the names in the signature of ``f``, or their numbers."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    plain = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [repr(plain[i]) if i < len(plain) else str(i) for i in range(count)]


def _names(tree: Any, tops: list[str]) -> Iterator[str]:
    for branch, top in zip(tree, tops, strict=True):
        yield from _paths(branch, top)


def _paths(tree: Any, path: str) -> Iterator[str]:
    branches = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list | tuple) else None
    if branches is None:
        yield path
        return
    for key, branch in branches:
        yield from _paths(branch, f"{path}[{key!r}]")


# ---- evaluating --------------------------------------------------------------------------------------------------


def variables(values: list[Array]) -> list[Tensor]:
    """A leaf for each array (the leaf holds a copy)."""
    return [Tensor(data, Leaf(data)) for data in [xp(v).array(v) for v in values]]


def evaluate(flat: Flat, values: list[Array]) -> list[Array]:
    """The outputs as arrays. Recorded, as where gradients are taken: ``flat`` may take some itself."""
    with Setting(recording=True):
        return [writable_array(y._value) for y in flat(variables(values))]


def pull(flat: Flat, values: list[Array], bars: list[Array]) -> list[Array]:
    """Jᵀ ū: the gradients of Σ ⟨ūₖ, yₖ⟩ by the rules on plain arrays."""
    with Setting(recording=True):
        xs = variables(values)
        ys = flat(xs)
        return [writable_array(g._value) for g in gradients(ys, xs, bars, unreached="zero")]


def push(flat: Flat, values: list[Array], bars: list[Array], directions: list[Array]) -> list[Array]:
    """J v, as the derivative of Jᵀ ū (which is linear in ū) along v: plays the recorded rules backwards."""
    with Setting(recording=True):
        xs, us = variables(values), variables(bars)
        pulled = gradients(flat(xs), xs, us, create_graph=True, unreached="zero")
        return [writable_array(g._value) for g in gradients(pulled, us, directions, unreached="zero")]


def differentiate(flat: Flat, bars: list[Array], *, again: bool) -> Flat:
    """The function that gives Jᵀ ū for fixed ū; recorded if it is to be differentiated ``again``."""

    def pulled(xs: list[Tensor]) -> list[Tensor]:
        seeds: list[Any] = [Tensor(b) for b in bars]
        return gradients(flat(xs), xs, seeds, create_graph=again, unreached="zero")

    return pulled


def rounding(flat: Flat, values: list[Array], bars: list[Array], *, rules: bool = True) -> tuple[float, float]:
    """How Σ ⟨ūₖ, yₖ⟩ rounds: the relative error of the coarsest floating dtype in which it is computed from ``values``,
    and the size of what is rounded on the way, the root of Σ (bar · value)² over all numbers on the tape, whose errors
    are independent (without ``rules``, those that were not made by a backward).

    What it only reads (float32 parameters beside float64 inputs) rounds nothing that is measured."""
    with Setting(recording=True):
        xs = variables(values)
        pairs = [(y, bar) for y, bar in zip(flat(xs), bars, strict=True) if y._node is not None]
    if not pairs:
        return float(np.finfo(np.float64).eps), 0.0
    tape = Tape([y for y, _ in pairs])
    seeds = [bar for _, bar in pairs]
    kinds: set[np.dtype] = set()
    for node in on_the_way(tape.nodes[::-1], {x._node for x in xs}):
        kinds.update(node.dtype if isinstance(node.dtype, tuple) else (node.dtype,))
    eps = max([float(np.finfo(d).eps) for d in kinds if d.kind == "f"], default=float(np.finfo(np.float64).eps))
    size = 0.0
    with np.errstate(all="ignore"):
        found = tape.cotangents(seeds if len(seeds) > 1 else seeds[0])
        for node, value, bar in zip(tape.nodes, tape.values(), found, strict=True):
            if bar is None or not (rules or all(link.kind != "backward" for link in chain(node.scope))):
                continue
            for v, b in zip(leaves(value), leaves(bar), strict=True):
                terms = to_numpy(v).astype(np.float64) * to_numpy(b)
                size += float(np.square(np.nan_to_num(terms, nan=0.0, posinf=0.0, neginf=0.0)).sum())
    return eps, math.sqrt(size)


def gradient_rounding(flat: Flat, values: list[Array], bars: list[Array], *, rules: bool = True) -> tuple[float, float]:
    """``rounding`` of Jᵀ ū itself, summed over its elements: by the rules, and by what they are given."""
    gradients = differentiate(flat, bars, again=True)
    return rounding(gradients, values, directions(values, np.random.default_rng(0)), rules=rules)


def inner(us: list[Array], vs: list[Array]) -> tuple[float, float]:
    """Σ ⟨uₖ, vₖ⟩ in float64, and the sum of the absolute values of its terms."""
    total = size = 0.0
    for u, v in zip(us, vs, strict=True):
        terms = to_numpy(u).astype(np.float64) * to_numpy(v)
        total, size = total + float(terms.sum()), size + float(np.abs(terms).sum())
    return total, size


def directions(like: list[Array], rng: np.random.Generator) -> list[Array]:
    """A random direction for each array, no element of it near 0, so that none is drowned by the others."""
    drawn = [rng.uniform(0.5, 1, a.shape) * rng.choice([-1.0, 1.0], a.shape) for a in like]
    return [to_device(v.astype(a.dtype), device_of(a)) for v, a in zip(drawn, like, strict=True)]
