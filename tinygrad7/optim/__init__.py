"""Optimizers as chains of gradient transforms."""

from tinygrad7.optim.hessian_free import HessianFree, HessianFreeStep
from tinygrad7.optim.links import (
    Chain,
    Link,
    add_l1,
    add_l2,
    chain,
    clip_by_norm,
    clip_by_value,
    decoupled_decay,
    momentum,
    nesterov,
    scale,
    scale_by_adam,
    scale_by_rms,
)
from tinygrad7.optim.optimizer import Optimizer
from tinygrad7.optim.readymade import SGD, Adam, AdamW, RMSprop
from tinygrad7.optim.schedules import Schedule, constant, cosine, step_decay, warmup

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Chain",
    "HessianFree",
    "HessianFreeStep",
    "Link",
    "Optimizer",
    "RMSprop",
    "Schedule",
    "add_l1",
    "add_l2",
    "chain",
    "clip_by_norm",
    "clip_by_value",
    "constant",
    "cosine",
    "decoupled_decay",
    "momentum",
    "nesterov",
    "scale",
    "scale_by_adam",
    "scale_by_rms",
    "step_decay",
    "warmup",
]
