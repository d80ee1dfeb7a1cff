"""``given_gradients``: a property test of a function's derivatives in one line."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis.strategies import SearchStrategy

from tinygrad7.messages import user_line
from tinygrad7.testing.check import check_at


def given_gradients(f: Callable[..., Any] | None = None, *, order: int = 2, **inputs: Any) -> Any:
    """A test that checks the gradients of ``f`` at inputs that Hypothesis draws, one strategy an argument.

    In one line, ``test_product = given_gradients(tg.multiply, x=arrays(), y=arrays((1,)))``: ``f`` is called as
    ``f(x, y)`` in the order written, or by name where the names are those of its first parameters. As a decorator,
    ``@given_gradients(x=arrays())`` checks the function under it; ``@given_gradients(f, x=arrays())`` checks ``f`` and
    then runs the function under it, which may assert more about the inputs. Hypothesis's ``settings`` and ``example``
    go above it.
    """
    if not inputs:
        raise TypeError("given_gradients: give a strategy for each input, as in given_gradients(f, x=arrays())")
    for name, strategy in inputs.items():
        if not isinstance(strategy, SearchStrategy):
            kind = type(strategy).__name__
            raise TypeError(f"given_gradients: {name}= must be a strategy, such as strategies.arrays(), not a {kind}")
    return _Unnamed(f, order, inputs).test() if f is not None else lambda g: _Unnamed(g, order, inputs).test(g)


class _Unnamed:
    """What a test checks; its name is that of the function under the decorator, or of the variable in pytest."""

    def __init__(self, f: Callable[..., Any], order: int, inputs: dict[str, Any]) -> None:
        self.f, self.order, self.inputs = f, order, inputs
        self.where = user_line()
        names = list(inspect.signature(f).parameters)[: len(inputs)]
        self.names = names if set(names) == set(inputs) else list(inputs)

    def test(self, named: Callable[..., Any] | None = None, also: Callable[..., Any] | None = None) -> Any:
        def check(**drawn: Any) -> None:
            check_at(self.where, self.f, tuple([drawn[name] for name in self.names]), self.order)
            if also is not None:
                wanted = inspect.signature(also).parameters
                also(**{name: value for name, value in drawn.items() if name in wanted})

        names = list(self.inputs)
        parameters = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names]
        check.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        if named is not None:
            functools.update_wrapper(check, named)
            check.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
            del check.__wrapped__  # type: ignore[attr-defined]
        drawn_check = given(**self.inputs)(check)
        if named is not None:
            return drawn_check

        @functools.wraps(drawn_check)
        def run(function: Callable[..., Any] | None = None) -> Any:
            return drawn_check() if function is None else self.test(function, also=function)

        run.__signature__ = inspect.Signature()  # type: ignore[attr-defined]
        run.hypothesis = drawn_check.hypothesis  # type: ignore[attr-defined]
        return run
