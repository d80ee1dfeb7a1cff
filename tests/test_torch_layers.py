"""Values and gradients of layers and losses against PyTorch's, kept in tests/data/torch_layers.npz."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tests.helpers import host
from tinygrad7 import nn

KEPT = dict(np.load(Path(__file__).parent / "data" / "torch_layers.npz"))
LAYERS = sorted(key.removesuffix(".build") for key in KEPT if key.endswith(".build"))
LOSSES = sorted(key.split(".")[1] for key in KEPT if key.startswith("loss.") and key.endswith(".value"))


def part(prefix: str) -> dict[str, np.ndarray]:
    return {key.removeprefix(prefix): value for key, value in KEPT.items() if key.startswith(prefix)}


def close(actual: Any, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(host(actual), wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_computes_what_pytorchs_does(name: str) -> None:
    with tg.default_dtype("float64"):
        layer = eval(str(KEPT[f"{name}.build"]), vars(nn))
    layer.load_torch_state_dict(part(f"{name}.before."))
    x = tg.tensor(KEPT[f"{name}.x"], requires_grad=f"{name}.grad_x" in KEPT)
    y = layer(x)
    close(y, KEPT[f"{name}.y"])
    y.backward(KEPT[f"{name}.bar"])
    if x.requires_grad:
        close(x.grad, KEPT[f"{name}.grad_x"])
    gradients = part(f"{name}.grad.")
    assert set(gradients) == {key for key, _ in layer.named_parameters()}
    for key, p in layer.named_parameters():
        close(p.grad, gradients[key])
    state = layer.state_dict()
    for key, wanted in part(f"{name}.after.").items():
        close(state[key], wanted)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_what_pytorchs_is(name: str) -> None:
    function, _, variant = name.partition("_sum") if name.endswith("_sum") else name.partition("_soft")
    variant = name.removeprefix(function).strip("_")
    targets = {"cross_entropy": "classes", "hinge_loss": "classes", "binary_cross_entropy_with_logits": "soft"}
    t = KEPT[f"losses.{'soft' if variant == 'soft' else targets.get(function, 'values')}"]
    z = tg.tensor(KEPT["losses.z"], requires_grad=True)
    value = getattr(tg, function)(z, t, **({"reduction": "sum"} if variant == "sum" else {}))
    value.backward()
    close(value, KEPT[f"loss.{name}.value"])
    close(z.grad, KEPT[f"loss.{name}.grad"])


def test_the_numbers_are_pytorchs() -> None:
    assert str(KEPT["torch"]).startswith("2.13")
    assert len(LAYERS) == 23 and len(LOSSES) == 7
