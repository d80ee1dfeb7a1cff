"""Names that people bring along: what NumPy and PyTorch call what is called otherwise here, or is not here."""

from __future__ import annotations

from collections.abc import Iterable

_JOIN = "use tg.concatenate or tg.stack"
_CHOOSE = "use tg.tensor(t, requires_grad=True), or t.detach() to cut"
_IN_PLACE = "nothing is changed in place: write x = x + y, or t.assign(value) for a leaf between training steps"
INSTEAD: dict[str, str] = {
    # NumPy's functions
    **dict.fromkeys(["hstack", "vstack", "dstack", "column_stack", "append", "block", "insert"], _JOIN),
    **dict.fromkeys(
        ["sort", "median", "percentile", "quantile"], "use tg.take_along_axis(x, x.numpy().argsort(), axis)"
    ),
    **dict.fromkeys(["nansum", "nanmean", "nanmax", "nanmin"], "use tg.where(mask, x, 0) and the op on it"),
    **dict.fromkeys(["atleast_1d", "atleast_2d", "atleast_3d"], "use tg.reshape or tg.expand_dims"),
    **dict.fromkeys(["array_split", "hsplit", "vsplit", "dsplit", "chunk"], "use tg.split"),
    **dict.fromkeys(["inner", "vecdot", "vdot", "kron", "trace", "diagonal", "diag", "cross"], "use tg.einsum"),
    **dict.fromkeys(["array", "asarray"], "use tg.tensor"),
    **dict.fromkeys(["float16", "float32", "float64"], 'write it as a string, dtype="float32"'),
    "absolute": "use tg.abs",
    "empty": "use tg.zeros",
    "exp2": "use 2.0 ** x",
    "identity": "use tg.eye",
    "log10": "use tg.log(x) / math.log(10)",
    "log2": "use tg.log(x) / math.log(2)",
    "average": "use tg.mean, or tg.sum(w * x) / tg.sum(w)",
    "arccosh": "use tg.log(x + tg.sqrt(x * x - 1))",
    "arcsinh": "use tg.log(x + tg.sqrt(x * x + 1))",
    "arctanh": "use tg.log((1 + x) / (1 - x)) / 2",
    "cumprod": "use tg.exp(tg.cumsum(tg.log(x))), for x > 0",
    "fmax": "use tg.maximum",
    "fmin": "use tg.minimum",
    "sinc": "use tg.sin(np.pi * x) / (np.pi * x)",
    **dict.fromkeys(["copyto", "put", "place", "putmask", "put_along_axis", "fill_diagonal"], _IN_PLACE),
    **dict.fromkeys(["tril", "triu"], "use tg.where(mask, x, 0), its mask from np.tri(n, dtype=bool)"),
    "cbrt": "use tg.sign(x) * tg.abs(x) ** (1 / 3)",
    "diff": "use x[1:] - x[:-1]",
    "hypot": "use tg.norm of both stacked",
    **dict.fromkeys(["mod", "remainder"], "use x - y * np.floor(x.numpy() / y)"),
    "logaddexp": "use tg.logsumexp of both stacked",
    "matrix_transpose": "use tg.swapaxes(x, -1, -2)",
    "ptp": "use tg.max(x) - tg.min(x)",
    "reciprocal": "use 1 / x",
    "repeat": "use tg.take with repeated indices",
    "rollaxis": "use tg.moveaxis",
    "vector_norm": "use tg.norm",
    # PyTorch's functions and methods
    **dict.fromkeys(["mm", "bmm", "mv", "addmm"], "use tg.matmul, or @"),
    **dict.fromkeys(["view", "view_as", "unflatten"], "use tg.reshape"),
    **dict.fromkeys(["float", "double", "half", "int", "long", "bool", "type"], 'use t.astype("float32")'),
    **dict.fromkeys(["from_numpy", "as_tensor", "FloatTensor"], "use tg.tensor"),
    **dict.fromkeys(["gather", "index_select", "masked_select"], "use x[index], tg.take or tg.take_along_axis"),
    **dict.fromkeys(["randn", "randn_like"], "use tg.normal((2, 3)), its shape one argument"),
    **dict.fromkeys(["rand", "rand_like"], "use tg.uniform((2, 3)), its shape one argument"),
    **dict.fromkeys(["BCELoss", "BCEWithLogitsLoss", "bce_loss"], "use tg.binary_cross_entropy_with_logits"),
    **dict.fromkeys(["CrossEntropyLoss", "NLLLoss", "nll_loss"], "use tg.cross_entropy, which takes logits"),
    "MSELoss": "use tg.mse_loss",
    **dict.fromkeys(["requires_grad_", "retain_grad"], _CHOOSE),
    **dict.fromkeys(
        ["add_", "sub_", "mul_", "div_", "zero_", "fill_", "copy_", "clamp_", "normal_", "uniform_"], _IN_PLACE
    ),
    "cat": "use tg.concatenate",
    "clamp": "use tg.clip",
    "clone": "use tg.copy",
    "contiguous": "leave it out: layout does not matter here",
    "cpu": 'use t.to("cpu")',
    "cuda": 'use t.to("cuda")',
    "dim": "use t.ndim",
    "div": "use tg.divide",
    "expand": "use tg.broadcast_to",
    "full_like": "use tg.full(t.shape, value)",
    "linspace": "use tg.tensor(np.linspace(...))",
    "manual_seed": "use tg.seed",
    "mul": "use tg.multiply",
    "neg": "use tg.negative",
    "numel": "use t.size",
    "one_hot": "use tg.eye(n)[classes]",
    "permute": "use tg.transpose",
    "pow": "use tg.power",
    "sub": "use tg.subtract",
    "t": "use t.T",
    "unsqueeze": "use tg.expand_dims",
    "zero_grad": "use optimizer.zero_grad(), or t.grad = None",
}

# NumPy's methods of functions, which are functions of their own here.
UFUNC_METHODS = {
    "add.reduce": "use tg.sum",
    "multiply.reduce": "use tg.prod",
    "maximum.reduce": "use tg.max",
    "minimum.reduce": "use tg.min",
    "logaddexp.reduce": "use tg.logsumexp",
    "add.accumulate": "use tg.cumsum",
    "multiply.accumulate": INSTEAD["cumprod"],
    "multiply.outer": "use tg.outer",
}
# Arguments of NumPy's ufuncs, with what is written in their place around a function ``{f}``.
UFUNC_ARGUMENTS = {
    "dtype": "use t.astype(dtype) first, or on the result",
    "out": "its result is a new tensor, y = {f}(...)",
    "where": "use tg.where(mask, {f}(...), x)",
}

ARGUMENTS = {"dim": "axis", "dims": "axis", "keepdim": "keepdims"}  # PyTorch's: ours


def instead_of_method(method: str) -> str:
    """What to write in place of a method of NumPy's functions: ``add.reduce``."""
    function, _, name = method.partition(".")
    if method in UFUNC_METHODS:
        return UFUNC_METHODS[method]
    if name == "outer":
        return f"broadcast, np.{function}(x[:, None], y)"
    return _IN_PLACE if name == "at" else ""


def instead_of_arguments(ours: str, given: Iterable[str]) -> str:
    """What to write in place of arguments that NumPy's function takes and ours, ``tg.<ours>``, does not."""
    f = f"tg.{ours}"
    return "; ".join(
        [f"{f} takes no {name}=: {UFUNC_ARGUMENTS.get(name, 'leave it out').format(f=f)}" for name in given]
    )


def instead(name: str, known: Iterable[str] = ()) -> str:
    """What to write in place of ``name``: as listed above, else the nearest of the ``known`` names, else nothing."""
    if name in INSTEAD:
        return INSTEAD[name]
    import difflib

    near = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    return f"the nearest is tg.{near[0]}" if near else ""
