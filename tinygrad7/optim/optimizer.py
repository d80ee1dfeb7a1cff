"""``Optimizer`` drives chains of gradient transforms over parameters; the ready-made ones are in ``readymade.py``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tinygrad7.backend import Array, to_device, to_numpy, xp
from tinygrad7.optim.flat import Block, Piece
from tinygrad7.optim.links import Chain, Link, Now, check, clip_by_norm, fresh, scale
from tinygrad7.optim.norm import norm_of
from tinygrad7.optim.parameters import check_state, groups_of, named_parameters
from tinygrad7.optim.schedules import Number, negative
from tinygrad7.tensor import Tensor


class Group:
    """Parameters that share a chain. ``lr`` can be read and set."""

    def __init__(self, named: list[tuple[str, Tensor]], rules: Chain) -> None:
        self.names = [name for name, _ in named]
        self.params = [tensor for _, tensor in named]
        self.chain = rules
        # Links between two clip_by_norm are applied piece by piece, in cache; a clip must see every piece first.
        self.stages: list[list[tuple[int, Link]]] = [[]]
        self.clips: list[clip_by_norm] = []
        for i, link in enumerate(rules.links):
            if isinstance(link, clip_by_norm):
                self.clips.append(link)
                self.stages.append([])
            else:
                self.stages[-1].append((i, link))
        self.blocks: list[Block] = []

    def lay_out(self) -> None:
        """Put the parameters into blocks of one dtype, one device and, where a link leaves biases out, one kind."""
        links = self.chain.links
        split = any(not getattr(link, "biases", True) for link in links)
        persistent = any(stage for stage in self.stages[:-1])
        kinds: dict[Any, list[int]] = {}
        for i, tensor in enumerate(self.params):
            kinds.setdefault((tensor.dtype, tensor.device, split and tensor.ndim < 2), []).append(i)
        self.blocks = [
            Block([self.params[i] for i in ids], [self.names[i] for i in ids], [k.keeps for k in links], persistent)
            for ids in kinds.values()
        ]

    def _scale(self) -> scale:
        for link in reversed(self.chain.links):
            if isinstance(link, scale):
                return link
        raise AttributeError(f"{self.chain!r} has no scale(-lr) link, so it has no learning rate")

    @property
    def lr(self) -> Number:
        """The learning rate α of the chain's last ``scale(-α)``: a number or a schedule. Setting it replaces either."""
        return negative(self._scale().factor)

    @lr.setter
    def lr(self, value: Number) -> None:
        self._scale().factor = scale(negative(check("lr", "the rate", value, low=-math.inf))).factor


class Optimizer:
    """Changes parameters along a chain of gradient transforms of your own: ``Optimizer(params, chain(...))``.

    ``params``: tensors, ``(name, tensor)`` pairs, or groups ``{"params": ..., "chain": ...}``. The parameters' values
    move into flat arrays of which the tensors become views; a parameter without gradient is skipped in a step. After a
    step with ``clip_by_norm``, ``grad_norm`` holds the norm before clipping. Raises ``ValueError`` for a parameter
    given twice or no parameter at all, ``TypeError`` for what is no leaf that asked for a gradient.
    """

    def __init__(self, params: Iterable[Any], rules: Chain | Link | None = None) -> None:
        self._build(groups_of(params), lambda group: group.pop("chain", rules))

    def _build(self, groups: list[dict[str, Any]], chain_of: Callable[[dict[str, Any]], Any]) -> None:
        named = named_parameters(groups)
        chains = []
        for group in groups:
            del group["params"]
            rules = chain_of(group)
            if group:
                raise TypeError(f"parameter group: unknown option {', '.join(map(repr, group))}")
            if isinstance(rules, Link):
                rules = Chain([rules])
            if not isinstance(rules, Chain):
                raise TypeError(f"Optimizer: a chain of links is needed, chain(...), got {rules!r}")
            chains.append(rules)
        self.groups = [Group(pairs, rules) for pairs, rules in zip(named, fresh(chains), strict=True)]
        self.steps = 0
        self.grad_norm: float | None = None
        for laid in self.groups:
            laid.lay_out()

    @property
    def params(self) -> list[Tensor]:
        """All parameters, group by group."""
        return [tensor for group in self.groups for tensor in group.params]

    @property
    def lr(self) -> Number:
        """The learning rate (of the first group); setting it sets that of every group."""
        return self.groups[0].lr

    @lr.setter
    def lr(self, value: Number) -> None:
        for group in self.groups:
            group.lr = value

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for group in self.groups:
            for tensor in group.params:
                tensor._node.grad = None  # type: ignore[union-attr]  # leaves all: checked when they were given

    # ---- the step --------------------------------------------------------------------------------------------

    def step(self) -> float | None:
        """One update of every parameter that has a gradient. Returns ``grad_norm`` (None without clip_by_norm).

        Raises ``FloatingPointError`` naming the parameter where clip_by_norm meets a norm that is not finite; nothing
        has been changed then, unless a link before it keeps a history.
        """
        now = Now()
        now.step = self.steps
        read = []
        work: list[tuple[Group, list[Piece]]] = []
        if not all(block.follow() for group in self.groups for block in group.blocks):
            self._move()
        for group in self.groups:
            for block in group.blocks:
                gradients = block.gradients()
                read.append((block, gradients))
                work.append((group, block.pieces(gradients)))
        if self._apply(work, now):
            for block, gradients in read:
                block.stamp(gradients)
        self.steps += 1
        return self.grad_norm

    def _apply(self, work: list[tuple[Group, list[Piece]]], now: Now) -> bool:
        """Take the update of every piece through its chain and add it; False where a clip said to skip the step."""
        factors: dict[int, float] = {}
        depth = max((len(group.stages) for group in self.groups), default=0)
        for k in range(depth):
            for group, pieces in work:
                if k >= len(group.stages):
                    continue
                links, last = group.stages[k], k == len(group.stages) - 1
                factor = factors[id(group.clips[k - 1])] if k else 1.0
                for piece in pieces:
                    block = piece.block
                    now.count, now.vectors, now.xp = block.counts[piece.first] + 1, block.vectors, block.module
                    now.out, now.spare = piece.out, piece.spare
                    u, w = piece.u, piece.w
                    if factor != 1.0:
                        u = now.xp.multiply(u, factor, out=now.out)
                    for i, link in links:
                        u = link.update(u, w, now, *piece.kept[i])
                    if last:
                        w += u
                    piece.u = u
            factors = self._clip([(g.clips[k], pieces) for g, pieces in work if k < len(g.clips)])
            if not all(math.isfinite(factor) for factor in factors.values()):
                return False
        return True

    def _clip(self, work: list[tuple[clip_by_norm, list[Piece]]]) -> dict[int, float]:
        """By link, what it multiplies with; the norm is taken over all the groups that hold the link."""
        together: dict[int, tuple[clip_by_norm, list[Piece]]] = {}
        for link, pieces in work:
            together.setdefault(id(link), (link, []))[1].extend(pieces)
        factors = {}
        for key, (link, pieces) in together.items():
            norm = norm_of([piece.u for piece in pieces])
            finite = math.isfinite(norm)
            if not finite and link.nonfinite == "raise":
                raise FloatingPointError(_not_finite(norm, pieces))
            self.grad_norm = norm
            factors[key] = link.rate(norm) if finite else math.nan
        return factors

    # ---- state -----------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """All that a later run needs to go on bit for bit: flat names, NumPy arrays (copies) and numbers.

        ``steps``; ``counts`` (updates of each parameter); ``lr.0`` ... for each group whose rate is a number;
        ``weight.adam_m`` ... for each parameter.
        """
        state: dict[str, Any] = {"steps": self.steps, "counts": np.zeros(len(self.params), np.int64)}
        for number, group in enumerate(self.groups):
            if any(isinstance(link, scale) for link in group.chain.links) and not callable(group.lr):
                state[f"lr.{number}"] = float(group.lr)
        for place, (block, i) in enumerate(self._places()):
            state["counts"][place] = block.counts[i]
            for key, array in self._kept(block, i):
                state[key] = np.array(to_numpy(array)).reshape(block.tensors[i].shape)
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what ``state_dict`` gave. Raises ``KeyError`` and ``ValueError`` that name what does not fit."""
        check_state(state, self.state_dict())
        self.steps = int(state["steps"])
        for number, group in enumerate(self.groups):
            if f"lr.{number}" in state:
                group.lr = float(state[f"lr.{number}"])
        for place, (block, i) in enumerate(self._places()):
            block.counts[i] = int(state["counts"][place])
            for key, array in self._kept(block, i):
                array[...] = to_device(np.asarray(state[key], array.dtype).reshape(-1), block.device)

    def _places(self) -> list[tuple[Block, int]]:
        """Block and index of every parameter, in the order of ``params``."""
        found = {id(t): (block, i) for g in self.groups for block in g.blocks for i, t in enumerate(block.tensors)}
        return [found[id(tensor)] for tensor in self.params]

    @staticmethod
    def _kept(block: Block, i: int) -> list[tuple[str, Array]]:
        """Name and flat array of everything kept for one parameter."""
        cut = slice(block.starts[i], block.starts[i + 1])
        return [(f"{block.names[i]}.{name}", array[cut]) for name, array in block.kept_by_name()]

    def _move(self) -> None:
        """Parameters have changed dtype or device: lay them out anew and take the state along."""
        state = self.state_dict()
        for group in self.groups:
            group.lay_out()
        self.load_state_dict(state)

    def __repr__(self) -> str:
        lines = [
            f"  {len(group.params)} parameters, {sum(t.size for t in group.params)} numbers: {group.chain!r}"
            for group in self.groups
        ]
        return "\n".join([f"{type(self).__name__}(", *lines, ")"])


def _not_finite(norm: float, pieces: list[Piece]) -> str:
    """Which parameter made the norm non-finite, and how."""
    for piece in pieces:
        block = piece.block
        for i in range(piece.first, piece.last):
            start = 0 if piece.part is not None else block.starts[i] - block.starts[piece.first]
            u = piece.u if piece.part is not None else piece.u[start : start + block.tensors[i].size]
            if not bool(xp(u).isfinite(u).all()):
                nan, inf = int(xp(u).isnan(u).sum()), int(xp(u).isinf(u).sum())
                return (
                    f"clip_by_norm: the norm of the gradient is {norm}: parameter {block.names[i]!r} "
                    f"{block.tensors[i].shape} has {nan} nan and {inf} inf in its gradient; run the step under "
                    "tg.detect_anomaly() to find the op"
                )
    return f"clip_by_norm: the norm of the gradient is {norm}, beyond what a Python float holds"
