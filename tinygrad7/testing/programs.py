"""Random programs: directed graphs of registered ops that run with this package's ops and in plain NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tinygrad7.backend import to_device, writable_array
from tinygrad7.domains import Pick, Shape
from tinygrad7.op import REGISTRY
from tinygrad7.ops.activation import sigmoid
from tinygrad7.tensor import Tensor
from tinygrad7.testing import plain
from tinygrad7.testing.picks import draw_call, op_of

# Left out of programs: ``transfer`` answers for a device, which is that of the data here. Programs often stretch one
# number, and rounding decides the slope of ``std`` where all elements are equal but for it, and the value of ``sign``
# where their difference is 0 but for it.
OUTSIDE = frozenset({"transfer", "std", "sign"})


def fit(x: Any, shape: Shape) -> Any:
    """The elements of ``x`` in ``shape``, repeated from the start if there are too few, or cut off."""
    count = math.prod(shape)
    return x.reshape(-1)[np.arange(count) % math.prod(x.shape)].reshape(shape)


@dataclass(frozen=True)
class Operand:
    """A variable as an op receives it: brought to a shape (None: as it is), then into an interval (None: as it is)."""

    variable: int
    shape: Shape | None = None
    interval: tuple[float, float] | None = None

    def value(self, variables: list[Any], squash: Callable[[Any], Any]) -> Any:
        x = variables[self.variable]
        x = x if self.shape is None else fit(x, self.shape)
        return x if self.interval is None else self.interval[0] + (self.interval[1] - self.interval[0]) * squash(x)

    def __str__(self) -> str:
        text = f"v{self.variable}" if self.shape is None else f"fit(v{self.variable}, {self.shape})"
        low, high = self.interval or (0.0, 0.0)
        return text if self.interval is None else f"({low} + {round(high - low, 12)} * sigmoid({text}))"


@dataclass(frozen=True)
class Step:
    """One line: the op's name, its arguments (an ``Operand`` wherever a variable stands), how many results it has."""

    op: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: int | None  # None: one, not in a tuple

    def call(self, f: Callable[..., Any], variables: list[Any], squash: Callable[[Any], Any], place: Any) -> list[Any]:
        args = [a.value(variables, squash) if isinstance(a, Operand) else place(a) for a in self.args]
        y = f(*args, **{name: place(value) for name, value in self.kwargs.items()})
        return list(y) if self.results is not None else [y]


@dataclass
class Program:
    """A function of ``inputs`` made of ops: call it with tensors, ``numpy()`` with arrays, ``print`` it.

    Its outputs are the variables that no step uses. ``broken`` marks a program whose last step does not fit its
    operands: it must raise, with tensors as in NumPy.
    """

    inputs: list[np.ndarray]
    steps: list[Step] = field(default_factory=list)
    broken: bool = False

    @property
    def outputs(self) -> list[int]:
        used = {a.variable for step in self.steps for a in step.args if isinstance(a, Operand)}
        count = len(self.inputs) + sum(1 if step.results is None else step.results for step in self.steps)
        return [i for i in range(count) if i not in used]

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        """Run with this package's ops, on tensors or on arrays."""
        device = next((x.device for x in inputs if isinstance(x, Tensor)), "cpu")

        def place(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple([place(v) for v in value])
            return to_device(value, device) if isinstance(value, np.ndarray) else value

        return self._run(list(inputs), lambda name: REGISTRY[name].call, sigmoid, place)

    def numpy(self, *inputs: Any) -> tuple[Any, ...]:
        """Run in plain NumPy (``tinygrad7.testing.plain``); an op that NumPy lacks runs its forward on arrays."""
        return self._run(
            list(inputs), lambda name: plain.plain(name) or REGISTRY[name].call, plain.sigmoid, lambda a: a
        )

    def _run(self, variables: list[Any], find: Any, squash: Any, place: Any) -> tuple[Any, ...]:
        for step in self.steps:
            variables += step.call(find(step.op), variables, squash, place)
        return tuple([variables[i] for i in self.outputs])

    def __str__(self) -> str:
        """Source text: a Python function of the inputs, in which every op has its registered name."""
        lines = [f"def program({', '.join(f'v{i}' for i in range(len(self.inputs)))}):"]
        lines += [f"    # v{i}: {x.shape} {x.dtype}" for i, x in enumerate(self.inputs)]
        count = len(self.inputs)
        for step in self.steps:
            names = [f"v{i}" for i in range(count, count + (1 if step.results is None else step.results))]
            count += len(names)
            left = names[0] if step.results is None else "".join(f"{name}, " for name in names).rstrip() or "()"
            given = [str(a) if isinstance(a, Operand) else _text(a) for a in step.args]
            given += [f"{key}={_text(value)}" for key, value in step.kwargs.items()]
            lines.append(f"    {left} = {step.op}({', '.join(given)})")
        return "\n".join([*lines, f"    return {''.join(f'v{i}, ' for i in self.outputs)}".rstrip()])

    __repr__ = __str__


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"array({value.tolist()}, dtype='{value.dtype}')"
    if isinstance(value, np.generic):
        return _text(value.item())
    if isinstance(value, tuple):
        return f"({''.join(_text(v) + ', ' for v in value)})"
    return f"dtype('{value}')" if isinstance(value, np.dtype) else "inf" if value == math.inf else repr(value)


# ---- drawing one -------------------------------------------------------------------------------------------------


class _Noting:
    """A pick that notes from which interval each array was drawn."""

    def __init__(self, pick: Pick) -> None:
        self.pick = pick
        self.intervals: dict[int, tuple[float, float]] = {}
        self.kept: list[np.ndarray] = []  # so that no id is used twice

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pick, name)

    def array(self, shape: Shape, low: float = -3.0, high: float = 3.0, **keywords: Any) -> np.ndarray:
        x = self.pick.array(shape, low, high, **keywords)
        self.kept.append(x)
        self.intervals[id(x)] = (low, high)
        return x


def composable(outside: frozenset[str] = OUTSIDE) -> list[str]:
    """The ops that can stand in a program: those of this package that have a domain and a derivative."""
    return [
        name
        for name, op in REGISTRY.items()
        if op.module.startswith("tinygrad7.")
        and op.domain is not None
        and (op.rules or op.joint)
        and name not in outside
    ]


def draw_program(
    pick: Pick, *, ops: list[str] | None = None, max_inputs: int = 3, max_steps: int = 6, broken: bool = False
) -> Program:
    """A program, and inputs for it. With ``broken``, a step may be given operands that do not fit."""
    names = composable() if ops is None else [op_of(name).name for name in ops]
    program = Program([pick.array(pick.shape(0, 2, 1, 3), -2, 2) for _ in range(pick.integer(1, max_inputs))])
    values: list[Any] = list(program.inputs)

    def decide(pick: Pick) -> tuple[Step, bool] | None:
        """The next step, or None for the end: decided together, so that a step can be dropped when examples shrink."""
        more = pick.choice([False, True, True, True])
        if program.steps and not more:
            return None
        unfit = broken and pick.choice([False] * 7 + [True])
        return _draw_step(pick, pick.choice(names), values, unfit), unfit

    while len(program.steps) < max_steps:
        decided = pick.together(decide)
        if decided is None:
            break
        step, unfit = decided
        program.steps.append(step)
        with np.errstate(all="ignore"):
            try:
                made = step.call(plain.plain(step.op) or REGISTRY[step.op].call, values, plain.sigmoid, lambda a: a)
            except Exception:
                if not unfit:
                    raise
                program.broken = True
                break
        values += made
        program.steps[-1] = replace(step, results=None if step.results is None else len(made))
    return program


def _draw_step(pick: Pick, name: str, values: list[Any], unfit: bool) -> Step:
    """A call from the op's domain, with variables in the place of the arrays that it drew."""
    op = REGISTRY[name]
    noting = _Noting(pick)
    args, kwargs = draw_call(op, noting)
    results = None if op.outputs is None else len(op.call(*args, **kwargs))
    given: list[Any] = list(args)
    full = [i for i, v in enumerate(values) if np.size(v)]
    for i in op.places(len(args)):
        if isinstance(args[i], np.ndarray) and args[i].dtype.kind == "f":
            k = full[pick.integer(0, len(full) - 1)]
            shape = None if unfit or np.shape(values[k]) == args[i].shape else args[i].shape
            interval = noting.intervals.get(id(args[i]), (-100.0, 100.0))
            value = writable_array(values[k])
            inside = bool(((value >= interval[0]) & (value <= interval[1])).all())
            given[i] = Operand(k, shape, None if inside else interval)
    return Step(name, tuple(given), kwargs, results)
