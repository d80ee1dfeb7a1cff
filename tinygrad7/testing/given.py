"""``given_gradients``: a property test of a function's derivatives in one line."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis.strategies import SearchStrategy

from tinygrad7.messages import user_line
from tinygrad7.testing.check import check_at


def given_gradients(f: Callable[..., Any] | None = None, *, order: int = 2, **inputs: Any) -> Any:
    """A test that checks the gradients of ``f`` at inputs that Hypothesis draws, one strategy an argument.

    In one line, ``test_product = given_gradients(tg.multiply, x=arrays(), y=arrays((1,)))``: ``f`` is called as
    ``f(x, y)`` in the order written, or by name where it has parameters of these names. As a decorator,
    ``@given_gradients(x=arrays())`` checks the function under it; ``@given_gradients(f, x=arrays())`` checks ``f`` and
    then runs the function under it, which may assert more about the inputs. What that function takes beside the inputs
    comes from pytest: fixtures, parameters. Hypothesis's ``settings`` and ``example`` go above it.
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
        asked = list(inspect.signature(f).parameters.values())[_is_method(f) :]
        named = [p for p in asked if p.name in inputs]
        any_name = any(p.kind is p.VAR_KEYWORD for p in asked)
        known = len(named) == len(inputs) or any_name
        self.names = [p.name for p in named] if known and not any_name else list(inputs)
        first = [p.name for p in asked if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][: len(inputs)]
        self.by_name = known and self.names != first

    def test(self, named: Callable[..., Any] | None = None, also: Callable[..., Any] | None = None) -> Any:
        """The test, called as ``named``; ``also`` runs after each check. What ``named`` takes beside the inputs comes
        from pytest."""
        asked = inspect.signature(named or self.f).parameters
        method = _is_method(named or self.f)
        known = set(self.inputs) <= set(asked)
        beside = [name for name, p in asked.items() if known and name not in self.inputs and _from_pytest(p)]

        signature = _signature([*["self"] * method, *self.inputs, *beside])

        def check(*args: Any, **keywords: Any) -> None:
            drawn = signature.bind(*args, **keywords).arguments
            instance = (drawn.pop("self"),) if method else ()
            fixtures = {name: drawn.pop(name) for name in beside}
            f = self._function(instance, {} if also is not None else fixtures)
            check_at(self.where, f, tuple([drawn[name] for name in self.names]), self.order)
            if also is not None:
                also(*instance, **{name: value for name, value in drawn.items() if name in asked}, **fixtures)

        if named is not None:
            functools.update_wrapper(check, named)
            del check.__wrapped__  # type: ignore[attr-defined]
        check.__signature__ = signature  # type: ignore[attr-defined]
        drawn_check: Any = given(**self.inputs)(check)
        vars(drawn_check)[_SETTINGS] = settings(deadline=None)  # unless others stand above: kinks take their time
        if named is not None:
            return drawn_check

        @functools.wraps(drawn_check)
        def run(*args: Any, **fixtures: Any) -> Any:
            """A test by itself, in a class too (it is given the instance), and a decorator (it is given a function)."""
            if len(args) == 1 and inspect.isfunction(args[0]):
                return self.test(args[0], also=args[0])
            told = {key: value for key, value in vars(run).items() if key.startswith(_TOLD)}
            vars(drawn_check).update(told)  # by ``settings``, ``example`` or ``seed`` above it
            return drawn_check(*args[: int(method)], **fixtures)

        run.__signature__ = _signature(beside)  # type: ignore[attr-defined]
        run.hypothesis = drawn_check.hypothesis  # type: ignore[attr-defined]
        return run

    def _function(self, instance: tuple[Any, ...], fixtures: dict[str, Any]) -> Callable[..., Any]:
        """What is checked, of the drawn inputs alone."""
        f = functools.partial(self.f, *instance) if _is_method(self.f) else self.f
        if not (fixtures or self.by_name):
            return f

        def of_inputs(*values: Any) -> Any:
            return f(**dict(zip(self.names, values, strict=True)), **fixtures)

        of_inputs.__signature__ = _signature(self.names)  # type: ignore[attr-defined]
        return of_inputs


_SETTINGS = "_hypothesis_internal_use_settings"
_TOLD = ("_hypothesis_internal_", "hypothesis_explicit_")  # what Hypothesis notes on a test


def _signature(names: list[str]) -> inspect.Signature:
    return inspect.Signature([inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names])


def _from_pytest(parameter: inspect.Parameter) -> bool:
    """Whether a test's argument is a fixture or a parameter of pytest's: it has a name and no default."""
    by_name = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    return by_name and parameter.default is parameter.empty and parameter.name != "self"


def _is_method(f: Callable[..., Any]) -> bool:
    """Whether a function stands in a class, and is called with an instance first."""
    return next(iter(inspect.signature(f).parameters), None) == "self"
