"""SGD, RMSprop, Adam and AdamW: chains built from keyword arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from tinygrad7.optim.links import (
    Chain,
    Link,
    add_l1,
    add_l2,
    chain,
    check,
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
from tinygrad7.optim.parameters import groups_of
from tinygrad7.optim.schedules import Number, negative

Kind = TypeVar("Kind", bound=type)
_COMMON = """

    chain: [clip_by_norm] [clip_by_value] [add_l2] [add_l1] {core} [decoupled_decay] scale(−α)

    ``lr``: a number or a schedule. ``clip_norm`` (over all groups together) and ``clip_value`` act on the gradient,
    ``l2`` and ``l1`` add the regulariser's gradient, ``decoupled_decay`` λ multiplies weights by 1 − α λ;
    ``decay_biases=False`` leaves parameters of fewer than two axes (biases, norms) out of all three. A group may
    override everything but ``clip_norm``: ``[{{"params": a}}, {{"params": b, "lr": 0.01}}]``.
    """


class _Readymade(Optimizer):
    """Builds each group's chain from the options, those of the group before those of the optimizer."""

    def _make(self, core: Callable[..., list[Link]], given: dict[str, Any]) -> None:
        """``given``: the constructor's arguments, as ``locals()`` has them."""
        options = {name: value for name, value in given.items() if name not in ("self", "params", "__class__")}
        clip = options.pop("clip_norm")
        first = [clip_by_norm(clip)] if clip is not None else []

        def chain_of(group: dict[str, Any]) -> Chain:
            own = {key: group.pop(key, value) for key, value in options.items()}
            lr = check(type(self).__name__, "lr", own.pop("lr"))
            biases, value = own.pop("decay_biases"), own.pop("clip_value")
            l2, l1, decay = own.pop("l2"), own.pop("l1"), own.pop("decoupled_decay")
            links: list[Link] = [*first]
            links += [clip_by_value(value)] if value is not None else []
            links += [add_l2(l2, biases=biases)] if l2 else []
            links += [add_l1(l1, biases=biases)] if l1 else []
            links += core(**own)
            links += [decoupled_decay(decay, biases=biases)] if decay else []
            return chain(*links, scale(negative(lr)))

        self._build(groups_of(given["params"]), chain_of)


def _documented(core: str) -> Callable[[Kind], Kind]:
    def add(kind: Kind) -> Kind:
        kind.__doc__ = (kind.__doc__ or "") + _COMMON.format(core=core)
        return kind

    return add


@_documented("[momentum | nesterov]")
class SGD(_Readymade):
    """Stochastic gradient descent, with momentum.   p ← μ p + ∂J/∂w      w ← w − α p"""

    def __init__(
        self,
        params: Iterable[Any],
        lr: Number,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        l2: Number = 0.0,
        l1: Number = 0.0,
        decoupled_decay: Number = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        decay_biases: bool = True,
    ) -> None:
        self._make(_sgd, locals())


def _sgd(momentum: float, nesterov: bool) -> list[Link]:
    if nesterov and not momentum:
        raise ValueError("SGD: nesterov=True needs momentum=, for example momentum=0.9")
    return ([_NESTEROV(momentum)] if nesterov else [_MOMENTUM(momentum)]) if momentum else []


_NESTEROV, _MOMENTUM = nesterov, momentum


@_documented("scale_by_rms [momentum]")
class RMSprop(_Readymade):
    """RMSprop (Hinton, 2012).   v ← β v + (1 − β) g²      w ← w − α g / (√v + ε)"""

    def __init__(
        self,
        params: Iterable[Any],
        lr: Number = 0.01,
        *,
        beta: float = 0.99,
        eps: float = 1e-8,
        momentum: float = 0.0,
        l2: Number = 0.0,
        l1: Number = 0.0,
        decoupled_decay: Number = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        decay_biases: bool = True,
    ) -> None:
        self._make(_rmsprop, locals())


def _rmsprop(beta: float, eps: float, momentum: float) -> list[Link]:
    return [scale_by_rms(beta, eps), *([_MOMENTUM(momentum)] if momentum else [])]


@_documented("scale_by_adam")
class Adam(_Readymade):
    """Adam (Kingma and Ba, 2015).   w ← w − α m̂ / (√v̂ + ε)"""

    def __init__(
        self,
        params: Iterable[Any],
        lr: Number = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        l2: Number = 0.0,
        l1: Number = 0.0,
        decoupled_decay: Number = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        decay_biases: bool = True,
    ) -> None:
        self._make(_adam, locals())


def _adam(betas: tuple[float, float], eps: float) -> list[Link]:
    return [scale_by_adam(*betas, eps)]


class AdamW(Adam):
    """Adam with decoupled decay of 0.01 (Loshchilov and Hutter, 2019); otherwise as ``Adam``."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: Number = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        l2: Number = 0.0,
        l1: Number = 0.0,
        decoupled_decay: Number = 0.01,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        decay_biases: bool = True,
    ) -> None:
        self._make(_adam, locals())
