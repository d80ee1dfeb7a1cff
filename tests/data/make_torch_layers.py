"""Makes torch_layers.npz: values and gradients of PyTorch's layers and losses.

Run: python tests/data/make_torch_layers.py. Made with torch 2.13 in float64. Each case is a name with: what to build
here (``build``, read by tests/test_torch_layers.py), the input, the state before and after, the output, the
cotangent that was sent back, and every gradient.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

LAYERS = {
    "linear": ("Linear(5, 3)", nn.Linear(5, 3), (4, 5)),
    "linear_sequence": ("Linear(5, 3, bias=False)", nn.Linear(5, 3, bias=False), (2, 4, 5)),
    "conv1d": ("Conv1d(2, 3, 3, 2, 1)", nn.Conv1d(2, 3, 3, 2, 1), (2, 2, 9)),
    "conv1d_dilated": ("Conv1d(2, 3, 2, dilation=3)", nn.Conv1d(2, 3, 2, dilation=3), (2, 2, 9)),
    "conv2d": ("Conv2d(3, 4, 3)", nn.Conv2d(3, 4, 3), (2, 3, 7, 14)),
    "conv2d_padded": ("Conv2d(2, 3, 3, padding=1)", nn.Conv2d(2, 3, 3, padding=1), (3, 2, 9, 12)),
    "conv2d_strided": (
        "Conv2d(2, 3, (3, 2), (2, 1), (1, 2), bias=False)",
        nn.Conv2d(2, 3, (3, 2), (2, 1), (1, 2), bias=False),
        (2, 2, 6, 5),
    ),
    "conv2d_dilated": ("Conv2d(2, 3, 3, 1, 2, 2)", nn.Conv2d(2, 3, 3, 1, 2, 2), (2, 2, 7, 8)),
    "conv2d_strided_dilated": ("Conv2d(2, 3, 2, 2, 1, (2, 3))", nn.Conv2d(2, 3, 2, 2, 1, (2, 3)), (2, 2, 8, 9)),
    "max_pool": ("MaxPool2d(2)", nn.MaxPool2d(2), (2, 3, 6, 5)),
    "max_pool_overlapping": ("MaxPool2d(3, 2, 1)", nn.MaxPool2d(3, 2, 1), (2, 3, 6, 5)),
    "avg_pool": ("AvgPool2d(2)", nn.AvgPool2d(2), (2, 3, 6, 5)),
    "avg_pool_overlapping": ("AvgPool2d(3, 2, 1)", nn.AvgPool2d(3, 2, 1), (2, 3, 6, 5)),
    "batch_norm1d": ("BatchNorm1d(4)", nn.BatchNorm1d(4), (6, 4)),
    "batch_norm1d_sequence": ("BatchNorm1d(3, 1e-3, 0.3)", nn.BatchNorm1d(3, 1e-3, 0.3), (4, 3, 5)),
    "batch_norm2d": ("BatchNorm2d(3)", nn.BatchNorm2d(3), (4, 3, 5, 2)),
    "batch_norm2d_eval": ("BatchNorm2d(3).eval()", nn.BatchNorm2d(3).eval(), (4, 3, 5, 2)),
    "batch_norm_plain": ("BatchNorm2d(3, affine=False)", nn.BatchNorm2d(3, affine=False), (4, 3, 5, 2)),
    "layer_norm": ("LayerNorm(5)", nn.LayerNorm(5), (2, 3, 5)),
    "layer_norm_two_axes": ("LayerNorm((3, 5), 1e-3)", nn.LayerNorm((3, 5), 1e-3), (2, 3, 5)),
    "embedding": ("Embedding(6, 3)", nn.Embedding(6, 3), None),
    "gelu": ("GELU()", nn.GELU(), (4, 5)),
    "gelu_tanh": ('GELU("tanh")', nn.GELU("tanh"), (4, 5)),
}

LOSSES = {
    "cross_entropy": lambda z, t: F.cross_entropy(z, t["classes"]),
    "cross_entropy_sum": lambda z, t: F.cross_entropy(z, t["classes"], reduction="sum"),
    "cross_entropy_soft": lambda z, t: F.cross_entropy(z, t["soft"]),
    "mse_loss": lambda z, t: F.mse_loss(z, t["values"]),
    "l1_loss": lambda z, t: F.l1_loss(z, t["values"]),
    "binary_cross_entropy_with_logits": lambda z, t: F.binary_cross_entropy_with_logits(z, t["soft"]),
    "hinge_loss": lambda z, t: F.multi_margin_loss(z, t["classes"]) * z.shape[1],  # PyTorch divides by the classes
}


def main() -> None:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    out: dict[str, np.ndarray] = {"torch": np.array(torch.__version__)}
    for name, (build, layer, shape) in LAYERS.items():
        layer.double()
        with torch.no_grad():
            for key, value in layer.state_dict().items():
                if value.is_floating_point():  # away from the ones and zeros that norms start from
                    value.copy_(
                        torch.tensor(
                            rng.uniform(0.5, 1.5, tuple(value.shape))
                            if "var" in key
                            else rng.normal(size=tuple(value.shape))
                        )
                    )
                out[f"{name}.before.{key}"] = value.numpy().copy()
        x = torch.tensor(
            rng.integers(0, 6, (4, 2)) if shape is None else rng.normal(size=shape), requires_grad=shape is not None
        )
        y = layer(x)
        bar = torch.tensor(rng.normal(size=tuple(y.shape)))
        y.backward(bar)
        out[f"{name}.build"] = np.array(build)
        out |= {f"{name}.x": x.detach().numpy(), f"{name}.y": y.detach().numpy(), f"{name}.bar": bar.numpy()}
        if x.requires_grad:
            out[f"{name}.grad_x"] = x.grad.numpy()
        out |= {f"{name}.grad.{key}": p.grad.numpy() for key, p in layer.named_parameters()}
        out |= {f"{name}.after.{key}": value.numpy() for key, value in layer.state_dict().items() if "running" in key}
    z = rng.normal(size=(5, 4)) * 3
    soft = rng.uniform(size=(5, 4))
    given = {
        "classes": rng.integers(0, 4, 5),
        "soft": soft / soft.sum(1, keepdims=True),
        "values": rng.normal(size=(5, 4)),
    }
    out |= {"losses.z": z, **{f"losses.{key}": value for key, value in given.items()}}
    for name, loss in LOSSES.items():
        logits = torch.tensor(z, requires_grad=True)
        value = loss(logits, {key: torch.tensor(t) for key, t in given.items()})
        value.backward()
        out |= {f"loss.{name}.value": value.detach().numpy(), f"loss.{name}.grad": logits.grad.numpy()}
    np.savez_compressed(Path(__file__).with_name("torch_layers.npz"), **out)


if __name__ == "__main__":
    main()
