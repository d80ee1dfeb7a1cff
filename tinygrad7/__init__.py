"""tinygrad7: automatic differentiation that can be read in an afternoon, drawn, and proved.

import tinygrad7 as tg

w = tg.tensor([0.5, -0.2], requires_grad=True, name="w")
loss = tg.sum(tg.tanh(w) ** 2)
loss.backward()
print(tg.Tape(loss), w.grad)
"""

from importlib import import_module as _import_module
from typing import Any as _Any

from tinygrad7 import data, diagnose, nn, optim, train
from tinygrad7.checkpoint import checkpoint, truncate
from tinygrad7.context import default_dtype, detect_anomaly, device, enable_grad, no_grad, scope, step
from tinygrad7.draw import draw
from tinygrad7.grad import gradients
from tinygrad7.messages import AnomalyError, ShapeError
from tinygrad7.names import instead as _instead
from tinygrad7.ops.conv import avg_pool2d, conv1d, conv2d, max_pool2d
from tinygrad7.ops import numpy_names as _numpy_names
from tinygrad7.ops.activation import elu, erf, gelu, leaky_relu, relu, sigmoid, silu, softplus
from tinygrad7.ops.compare import allclose, array_equal, isclose
from tinygrad7.ops.convert import astype, copy
from tinygrad7.ops.create import arange, eye, full, normal, ones, ones_like, uniform, zeros, zeros_like
from tinygrad7.ops.elementwise import (
    abs,
    add,
    clip,
    divide,
    exp,
    expm1,
    log,
    log1p,
    maximum,
    minimum,
    multiply,
    negative,
    power,
    sign,
    sqrt,
    square,
    subtract,
    tanh,
    where,
)
from tinygrad7.ops.indexing import getitem, take, take_along_axis
from tinygrad7.ops.layers import dropout
from tinygrad7.ops.linalg import dot, einsum, embedding, matmul, outer, tensordot
from tinygrad7.ops.loss import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    hinge_loss,
    l1_loss,
    mse_loss,
)
from tinygrad7.ops.recurrent import gru, lstm, rnn
from tinygrad7.ops.reduce import (
    argmax,
    argmin,
    cumsum,
    log_softmax,
    logsumexp,
    max,
    mean,
    min,
    norm,
    prod,
    softmax,
    std,
    sum,
    var,
)
from tinygrad7.ops.shape import (
    broadcast_to,
    concatenate,
    expand_dims,
    flatten,
    flip,
    moveaxis,
    pad,
    reshape,
    roll,
    split,
    squeeze,
    stack,
    swapaxes,
    tile,
    transpose,
    unstack,
)
from tinygrad7.ops.trigonometry import arctan, cos, cosh, sin, sinh, tan
from tinygrad7.random import seed
from tinygrad7.declare import primitive
from tinygrad7.tensor import Tensor, tensor
from tinygrad7.transforms import ggnvp, grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp
from tinygrad7.wengert import Tape

__all__ = [
    "abs",
    "add",
    "allclose",
    "AnomalyError",
    "arange",
    "arctan",
    "argmax",
    "argmin",
    "array_equal",
    "astype",
    "avg_pool2d",
    "binary_cross_entropy_with_logits",
    "broadcast_to",
    "checkpoint",
    "clip",
    "concatenate",
    "conv1d",
    "conv2d",
    "copy",
    "cos",
    "cosh",
    "cross_entropy",
    "cumsum",
    "data",
    "default_dtype",
    "detect_anomaly",
    "device",
    "diagnose",
    "divide",
    "dot",
    "draw",
    "dropout",
    "einsum",
    "elu",
    "embedding",
    "enable_grad",
    "erf",
    "exp",
    "expand_dims",
    "expm1",
    "eye",
    "flatten",
    "flip",
    "full",
    "gelu",
    "getitem",
    "ggnvp",
    "grad",
    "gradients",
    "gru",
    "hessian",
    "hinge_loss",
    "hvp",
    "isclose",
    "jacobian",
    "jvp",
    "l1_loss",
    "leaky_relu",
    "log",
    "log1p",
    "log_softmax",
    "logsumexp",
    "lstm",
    "matmul",
    "max",
    "max_pool2d",
    "maximum",
    "mean",
    "min",
    "minimum",
    "moveaxis",
    "mse_loss",
    "multiply",
    "negative",
    "nn",
    "no_grad",
    "norm",
    "normal",
    "ones",
    "ones_like",
    "optim",
    "outer",
    "pad",
    "power",
    "primitive",
    "prod",
    "relu",
    "reshape",
    "rnn",
    "roll",
    "scope",
    "seed",
    "ShapeError",
    "sigmoid",
    "sign",
    "silu",
    "sin",
    "sinh",
    "softmax",
    "softplus",
    "split",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "std",
    "step",
    "subtract",
    "sum",
    "swapaxes",
    "take",
    "take_along_axis",
    "tan",
    "tanh",
    "Tape",
    "Tensor",
    "tensor",
    "tensordot",
    "tile",
    "train",
    "transpose",
    "truncate",
    "uniform",
    "unstack",
    "value_and_grad",
    "var",
    "vjp",
    "where",
    "zeros",
    "zeros_like",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> _Any:
    if name == "testing":  # only who asks for it needs Hypothesis
        return _import_module("tinygrad7.testing")
    text = f"module 'tinygrad7' has no attribute {name!r}"
    raise AttributeError(f"{text}: {found}" if (found := _elsewhere(name)) else text)


def _elsewhere(name: str) -> str:
    """Where a name that was looked for here may be found."""
    for module in (nn, optim, train, data):
        if not name.startswith("_") and hasattr(module, name):
            return f"use tg.{module.__name__.partition('.')[2]}.{name}"
    return _instead(name, __all__)
