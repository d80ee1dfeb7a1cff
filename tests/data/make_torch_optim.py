"""Makes torch_optim.npz: 50 steps of PyTorch's optimizers on a small network.

Run: python tests/data/make_torch_optim.py
Made with torch 2.13 in float64. The problem and the configurations are read by tests/optimizing.py from the file.
"""

from pathlib import Path

import numpy as np
import torch

CONFIGURATIONS = {
    "sgd": (torch.optim.SGD, dict(lr=0.02)),
    "sgd_momentum": (torch.optim.SGD, dict(lr=0.01, momentum=0.9)),
    "sgd_nesterov_l2": (torch.optim.SGD, dict(lr=0.01, momentum=0.8, nesterov=True, weight_decay=0.1)),
    "rmsprop": (torch.optim.RMSprop, dict(lr=0.01, alpha=0.95, eps=1e-6)),
    "rmsprop_momentum_l2": (torch.optim.RMSprop, dict(lr=0.003, momentum=0.9, weight_decay=0.05)),
    "adam": (torch.optim.Adam, dict(lr=0.02)),
    "adam_l2": (torch.optim.Adam, dict(lr=0.02, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.1)),
    "adamw": (torch.optim.AdamW, dict(lr=0.02, weight_decay=0.1)),
    "sgd_clip_norm": (torch.optim.SGD, dict(lr=0.1, momentum=0.5)),
    "adam_clip_value": (torch.optim.Adam, dict(lr=0.02)),
}
SHAPES = {"W1": (5, 4), "b1": (4,), "W2": (4, 3), "b2": (3,)}


def main() -> None:
    rng = np.random.default_rng(0)
    start = {name: rng.normal(size=shape) for name, shape in SHAPES.items()}
    x, target = rng.normal(size=(7, 5)), rng.normal(size=(7, 3))
    out = {"x": x, "target": target, **{f"start.{name}": value for name, value in start.items()}}
    for key, (kind, options) in CONFIGURATIONS.items():
        w = {name: torch.tensor(value, requires_grad=True) for name, value in start.items()}
        optimizer = kind(w.values(), **options)
        losses = []
        for _ in range(50):
            optimizer.zero_grad()
            h = torch.tanh(torch.tensor(x) @ w["W1"] + w["b1"])
            loss = ((h @ w["W2"] + w["b2"] - torch.tensor(target)) ** 2).sum()
            loss.backward()
            if key.endswith("clip_norm"):
                norm = torch.sqrt(sum((v.grad**2).sum() for v in w.values()))  # clip_grad_norm_ adds 1e-6 to it
                for v in w.values():
                    v.grad *= min(1.0, 1.0 / norm.item())
            if key.endswith("clip_value"):
                torch.nn.utils.clip_grad_value_(w.values(), 0.05)
            optimizer.step()
            losses.append(loss.item())
        out[f"{key}.losses"] = np.array(losses)
        out.update({f"{key}.{name}": value.detach().numpy() for name, value in w.items()})
    np.savez_compressed(Path(__file__).with_name("torch_optim.npz"), **out)


if __name__ == "__main__":
    main()
