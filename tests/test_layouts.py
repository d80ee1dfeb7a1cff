"""How an operand lies in memory changes nothing: transposed, reversed and strided views give what copies give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tests.helpers import host, placed
from tinygrad7.op import REGISTRY
from tinygrad7.testing.picks import examples

OWN = sorted(name for name, op in REGISTRY.items() if op.module.startswith("tinygrad7.") and name != "transfer")

# how a value is laid out in a leaf, and the view of the leaf that has the value
LAYOUTS: dict[str, tuple[Any, Any]] = {
    "copied": (lambda a: a, lambda x: x * 1.0),
    "transposed": (lambda a: a.T, lambda x: x.T),
    "reversed": (lambda a: np.flip(a), tg.flip),
    "strided": (lambda a: np.repeat(a, 2, axis=-1) if a.ndim else a, lambda x: x[..., ::2] if x.ndim else x * 1.0),
}


@pytest.mark.parametrize("name", OWN)
def test_the_layout_of_operands_changes_neither_value_nor_gradient(name: str) -> None:
    op = REGISTRY[name]
    for args, kwargs in examples(op, rng=3, count=4):
        tensors = range(len(args)) if op.variadic else op.tensors
        live = [i for i in tensors if i < len(args) and isinstance(args[i], np.ndarray) and args[i].dtype.kind == "f"]
        found: dict[str, list[Any]] = {}
        for layout, (lay, view) in LAYOUTS.items():
            leaves = [tg.tensor(np.ascontiguousarray(lay(args[i])), requires_grad=True) for i in live]
            given = list(args)
            views = [view(leaf) for leaf in leaves]
            for i, v in zip(live, views, strict=True):
                given[i] = v
            out = op.call(*[placed(a) for a in given], **{k: placed(v) for k, v in kwargs.items()})
            outs = [y for y in (out if isinstance(out, tuple) else (out,)) if y.dtype.kind == "f"]
            loss = sum((y * tg.tensor(np.cos(np.arange(y.size)).reshape(y.shape))).sum() for y in outs)
            found[layout] = [host(t) for t in (*outs, *tg.gradients(loss, views, unreached="zero"))]
            loss.backward()
            for leaf, v, g in zip(leaves, views, found[layout][len(outs) :], strict=True):
                assert np.isclose(host(leaf.grad).sum() if leaf.grad is not None else 0.0, g.sum()), (layout, v.shape)
        for layout, values in found.items():
            for expected, value in zip(found["copied"], values, strict=True):
                np.testing.assert_allclose(value, expected, rtol=1e-11, atol=1e-11, err_msg=layout)
