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
        names = list(inspect.signature(f).parameters)[_is_method(f) :][: len(inputs)]
        self.names = names if set(names) == set(inputs) else list(inputs)

    def test(self, named: Callable[..., Any] | None = None, also: Callable[..., Any] | None = None) -> Any:
        """The test, called as ``named``; ``also`` runs after each check."""
        method = named is not None and _is_method(named)

        def check(*instance: Any, **drawn: Any) -> None:
            instance = (drawn.pop("self"),) if method and "self" in drawn else instance
            f = functools.partial(self.f, *instance) if _is_method(self.f) else self.f
            check_at(self.where, f, tuple([drawn[name] for name in self.names]), self.order)
            if also is not None:
                wanted = inspect.signature(also).parameters
                also(*instance, **{name: value for name, value in drawn.items() if name in wanted})

        owner = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)] if method else []
        parameters = owner + [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in self.inputs]
        if named is not None:
            functools.update_wrapper(check, named)
            del check.__wrapped__  # type: ignore[attr-defined]
        check.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        drawn_check = given(**self.inputs)(check)
        if named is not None:
            return drawn_check

        @functools.wraps(drawn_check)
        def run(given: Any = None) -> Any:
            """A test by itself, in a class too (``given`` is its instance), and a decorator (of a function)."""
            return self.test(given, also=given) if inspect.isfunction(given) else drawn_check()

        run.__signature__ = inspect.Signature()  # type: ignore[attr-defined]
        run.hypothesis = drawn_check.hypothesis  # type: ignore[attr-defined]
        return run


def _is_method(f: Callable[..., Any]) -> bool:
    """Whether a function stands in a class, and is called with an instance first."""
    return next(iter(inspect.signature(f).parameters), None) == "self"
