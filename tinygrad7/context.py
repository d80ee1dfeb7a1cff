"""What holds for the code that runs now: recording or not, scope and time step, device, default dtype.

All of it is one immutable object in one context variable, so an op reads it once; every thread and every asyncio
task has its own.
"""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import AsyncGenerator, Callable, Generator
from contextvars import ContextVar
from typing import Any, TypeVar

import numpy as np

from tinygrad7.backend import check_device

F = TypeVar("F", bound=Callable[..., Any])


class Scope:
    """An immutable chain of names, from the innermost block outwards. It holds no module, tensor or array.

    ``kind`` is "scope", "module", "step", "backward" (ops that a recorded walk made) or "line" (the user's source line,
    under ``detect_anomaly``); ``step`` the innermost time step; ``detail`` what a module says of itself; ``bad`` that
    ``detect_anomaly`` stopped here.
    """

    __slots__ = ("parent", "name", "index", "kind", "detail", "step", "bad")

    def __init__(
        self,
        parent: Scope | None,
        name: str,
        index: int | None = None,
        kind: str = "scope",
        detail: str = "",
        bad: bool = False,
    ) -> None:
        self.parent, self.name, self.index, self.kind, self.detail, self.bad = parent, name, index, kind, detail, bad
        self.step: int | None = index if kind == "step" else (parent.step if parent is not None else None)

    @property
    def label(self) -> str:
        """The name as drawings and tapes write it: ``rnn``, ``blocks[3]``, ``t=4``."""
        if self.index is None:
            return self.name
        return f"{self.name}={self.index}" if self.kind == "step" else f"{self.name}[{self.index}]"


def chain(scope: Scope | None) -> tuple[Scope, ...]:
    """The links of ``scope`` from the outermost to the innermost, without source lines."""
    links: list[Scope] = []
    while scope is not None:
        if scope.kind != "line":
            links.append(scope)
        scope = scope.parent
    return tuple(reversed(links))


def path(scope: Scope | None) -> tuple[str, ...]:
    """The names of ``scope`` from the outermost to the innermost: ``("rnn", "t=4")``."""
    return tuple(link.label for link in chain(scope))


class State:
    """One moment's settings. Never changed: ``replace`` makes the next one.

    It knows the block that made it and the state around that, so a block itself remembers nothing: one object serves
    any number of threads, tasks and nested uses."""

    __slots__ = ("recording", "scope", "device", "dtype", "watch", "depth", "generators", "block", "around")

    recording: bool  # are ops put on the tape?
    scope: Scope | None
    device: str  # of new tensors
    dtype: np.dtype  # of tensors made from Python floats
    watch: bool  # detect_anomaly
    depth: int  # how many functional transforms are tracing
    generators: dict[int, tuple[np.random.Generator, Any]] | None  # states at first use, while checkpoint looks
    block: Any  # the ``Setting`` or ``scope`` that made this state
    around: State | None  # what holds again when ``block`` is left

    def replace(self, **changes: Any) -> State:
        new = State()
        for slot in State.__slots__:
            setattr(new, slot, changes[slot] if slot in changes else getattr(self, slot))
        return new

    def without(self, block: Any) -> State:
        """The state when ``block`` is left. What was entered inside it and is not left yet stays."""
        inside: list[State] = []
        state: State | None = self
        while state is not None and state.block is not block:
            inside.append(state)
            state = state.around
        if state is None or state.around is None:  # it was entered elsewhere: in another task, say
            return self
        below = state.around
        for state in reversed(inside):
            below = below.replace(**state._own(), block=state.block, around=below)
        return below

    def altered(self, **changes: Any) -> State:
        """The state with changes that outlast the blocks around it, up to one that makes such a change itself."""
        inside, state = [self], self
        while state.around is not None and not changes.keys() & state._own().keys():
            state = state.around
            inside.append(state)
        below = state.around
        for state in reversed(inside):
            below = state.replace(**changes, around=below)
        assert below is not None
        return below

    def _own(self) -> dict[str, Any]:
        """What the block changed, as it is now."""
        return {name: getattr(self, name) for name in self.block.changes} if self.block is not None else {}


_start = State()
_start.recording, _start.scope, _start.device, _start.dtype = True, None, "cpu", np.dtype(np.float32)
_start.watch, _start.depth, _start.generators = False, 0, None
_start.block = _start.around = None
STATE: ContextVar[State] = ContextVar("tinygrad7", default=_start)


class Setting:
    """A context manager and decorator (functions, generators, coroutines) that changes fields of the state."""

    __slots__ = ("changes",)

    def __init__(self, **changes: Any) -> None:
        self.changes = changes

    def __enter__(self) -> Any:
        before = STATE.get()
        STATE.set(before.replace(**self.changes, block=self, around=before))
        return None

    def __exit__(self, *exception: object) -> None:
        STATE.set(STATE.get().without(self))

    def __call__(self, f: F) -> F:
        if inspect.isgeneratorfunction(f):
            return self._wrap_generator(f)  # type: ignore[no-any-return]
        if inspect.isasyncgenfunction(f):
            return self._wrap_async_generator(f)  # type: ignore[no-any-return]
        if inspect.iscoroutinefunction(f):

            @functools.wraps(f)
            async def wrapped_async(*args: Any, **kwargs: Any) -> Any:
                with Setting(**self.changes):
                    return await f(*args, **kwargs)

            return wrapped_async  # type: ignore[return-value]

        @functools.wraps(f)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with Setting(**self.changes):
                return f(*args, **kwargs)

        return wrapped  # type: ignore[return-value]

    def _wrap_generator(self, f: Any) -> Any:
        """The setting holds while the generator runs, not while it waits for its consumer."""

        @functools.wraps(f)
        def wrapped(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            generator = f(*args, **kwargs)
            resume, value = generator.send, None
            try:
                while True:
                    with Setting(**self.changes):
                        try:
                            item = resume(value)
                        except StopIteration as stop:
                            return stop.value
                    try:
                        resume, value = generator.send, (yield item)
                    except GeneratorExit:
                        raise
                    except BaseException as error:
                        resume, value = generator.throw, error
            finally:
                with Setting(**self.changes):
                    generator.close()

        return wrapped

    def _wrap_async_generator(self, f: Any) -> Any:
        """As ``_wrap_generator``, for ``async def`` with ``yield``."""

        @functools.wraps(f)
        async def wrapped(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            generator = f(*args, **kwargs)
            resume, value = generator.asend, None
            try:
                while True:
                    with Setting(**self.changes):
                        try:
                            item = await resume(value)
                        except StopAsyncIteration:
                            return
                    try:
                        resume, value = generator.asend, (yield item)
                    except GeneratorExit:
                        raise
                    except BaseException as error:
                        resume, value = generator.athrow, error
            finally:
                with Setting(**self.changes):
                    await generator.aclose()

        return wrapped


class _Switch(Setting):
    """A setting without arguments, whose decorator may stand without parentheses: ``@no_grad``."""

    __slots__ = ()

    def __new__(cls, f: Callable[..., Any] | None = None) -> Any:
        return super().__new__(cls) if f is None else cls()(f)


class no_grad(_Switch):
    """Nothing is recorded inside: ``with no_grad(): ...`` or ``@no_grad()`` on a function or generator function."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(recording=False)


class enable_grad(_Switch):
    """Recording is on again inside, for use within ``no_grad``."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(recording=True)


class detect_anomaly(_Switch):
    """Stop at the first op, forward or backward, whose result is not finite while its inputs were.

    The ``AnomalyError`` names the op, the scope and time step, statistics of every operand and the user's line.
    """

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(watch=True)


class device(Setting):
    """New tensors live on ``name`` ('cpu', 'cuda', 'cuda:1') inside. Raises ``DeviceError`` where it is not there."""

    __slots__ = ()

    def __init__(self, name: str) -> None:
        super().__init__(device=check_device(name))


class default_dtype(Setting):
    """Tensors made from Python floats have this dtype from now on, or inside ``with default_dtype(...)`` only.

    Per thread, as every setting. Raises ``TypeError`` for a dtype that is not float16, float32 or float64.
    """

    __slots__ = ("before",)

    def __init__(self, dtype: Any) -> None:
        dtype = check_dtype(dtype)
        if dtype.kind != "f":
            raise TypeError(f"default_dtype: {dtype} is no floating dtype: use float16, float32 or float64")
        super().__init__(dtype=dtype)
        now = STATE.get()
        self.before: np.dtype | None = now.dtype
        STATE.set(now.altered(dtype=dtype))

    def __enter__(self) -> Any:
        now, before = STATE.get(), self.before
        self.before = None  # it holds since it was made, so leaving this block goes back to what was before that
        around = now if before is None else now.altered(dtype=before)
        STATE.set(now.replace(**self.changes, block=self, around=around))
        return None

    def __call__(self, f: F) -> F:
        if self.before is not None:
            STATE.set(STATE.get().altered(dtype=self.before))
        return super().__call__(f)


def check_dtype(dtype: Any) -> np.dtype:
    """``dtype`` as a ``numpy.dtype`` of this machine's byte order; ``TypeError`` for one that tensors cannot have."""
    try:
        found = np.dtype(dtype)
    except TypeError:
        raise TypeError(f"{dtype!r} is no dtype: use 'float32', 'float64', numpy.int64, ...") from None
    if found.kind not in "fiub" or found.itemsize > 8:
        raise TypeError(f"a tensor cannot have dtype {found}: use float16, float32, float64, an integer or bool")
    return found.newbyteorder("=")  # type: ignore[no-any-return]


class scope:
    """Ops recorded inside stand under this name in tapes, drawings and messages: ``with scope("encoder"): ...``."""

    __slots__ = ("arguments",)
    changes = ("scope",)

    def __init__(self, name: str, index: int | None = None, *, kind: str = "scope", detail: str = "") -> None:
        self.arguments = (name, index, kind, detail)

    def __enter__(self) -> None:  # a Setting would do; with every slot of State filled by hand a block costs half
        before = STATE.get()
        during = State()
        during.recording, during.device, during.dtype = before.recording, before.device, before.dtype
        during.watch, during.depth, during.generators = before.watch, before.depth, before.generators
        during.scope, during.block, during.around = Scope(before.scope, *self.arguments), self, before
        STATE.set(during)

    def __exit__(self, *exception: object) -> None:
        now = STATE.get()
        STATE.set(now.around if now.block is self else now.without(self))  # type: ignore[arg-type]


class step(scope):
    """Ops recorded inside belong to time step ``t``, an integer: ``with step(t): h = cell(x[t], h)``."""

    __slots__ = ()

    def __init__(self, t: int) -> None:
        if not hasattr(t, "__index__"):
            raise TypeError(f"step: a time step is an integer, not {t!r}; a place with a name is tg.scope(name)")
        super().__init__("t", operator.index(t), kind="step")
