"""Several predictions made one: an ensemble of models, or one model under many dropout masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any, NamedTuple

from tinygrad7.context import no_grad
from tinygrad7.nn.recurrent import Recurrent
from tinygrad7.ops.shape import stack
from tinygrad7.settings import check_whole
from tinygrad7.tensor import Tensor


class Prediction(NamedTuple):
    """The mean of several predictions, and their standard deviation, elementwise."""

    mean: Tensor
    std: Tensor


class Ensemble:
    """The average of what ``models`` predict.   y = (1/N) Σ φ(yᵢ)

    ``link`` φ turns an output into the prediction that is averaged, such as ``tg.softmax`` for classifiers. For a
    convex loss the average never loses more than its members do on average (lecture, "Ensembles"; Jensen). Members run
    in evaluation mode, nothing is recorded. Raises ``ValueError`` for no models."""

    def __init__(self, models: Sequence[Any], *, link: Callable[[Any], Any] | None = None) -> None:
        self.models, self.link = list(models), link
        if not self.models:
            raise ValueError("Ensemble: no models; give at least one")

    def predict(self, *inputs: Any) -> Prediction:
        """Mean and spread of the members' predictions."""
        found = []
        for model in self.models:
            with _modes(model, lambda module: False), no_grad():
                y = model(*inputs)
                found.append(y if self.link is None else self.link(y))
        return _summary(found)

    def __call__(self, *inputs: Any) -> Tensor:
        """The mean of the members' predictions."""
        return self.predict(*inputs).mean


def mc_predict(model: Any, *inputs: Any, samples: int = 100, link: Callable[[Any], Any] | None = None) -> Prediction:
    """Predictions averaged over ``samples`` dropout masks, the lecture's "most principled thing to do" at test time.

    Dropout is on, and only dropout: every other module runs in evaluation mode. Afterwards each module has the mode it
    had before, also when the model raises. ``link`` as in ``Ensemble``. Masks come from the layers' own generators
    (``tg.seed`` where they have none). Raises ``ValueError`` for a model without dropout, or samples < 1."""
    check_whole("mc_predict", samples=samples)
    if not any(_drops(module) for module in model.modules()):
        raise ValueError(
            "mc_predict: the model has no dropout (that of a recurrent net stands between its layers, so one layer "
            "has none), and all samples would be equal: add a Dropout, or call the model in eval() mode"
        )
    found = []
    with _modes(model, _drops), no_grad():
        for _ in range(samples):
            y = model(*inputs)
            found.append(y if link is None else link(y))
    return _summary(found)


def _drops(module: Any) -> bool:
    """Whether a module draws a dropout mask: a ``Dropout``, or one with dropout inside, such as a deep ``LSTM``."""
    if isinstance(module, Recurrent) and module.num_layers == 1:
        return False
    rates = [getattr(module, name, 0.0) for name in ("rho", "dropout")]
    return any(isinstance(rate, Real) and float(rate) > 0 for rate in rates)


@contextmanager
def _modes(model: Any, training: Callable[[Any], bool]) -> Iterator[None]:
    """Every module in the mode that ``training`` says, and afterwards in its own."""
    before = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in before:
            module.training = training(module)
        yield
    finally:
        for module, mode in before:
            module.training = mode


def _summary(predictions: list[Tensor]) -> Prediction:
    if isinstance(predictions[0], tuple | list | dict):
        raise TypeError(
            f"a model whose output is a {type(predictions[0]).__name__} has no average: give link=, which picks or "
            "makes the prediction, such as lambda output: output[0]"
        )
    with no_grad():
        together = stack(predictions)
        return Prediction(together.mean(axis=0), together.std(axis=0))
