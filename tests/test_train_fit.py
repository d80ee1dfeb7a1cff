"""The training loop: steps, evaluations, schedules, stopping, the bar."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tests.training import X, Y, make, mse, weights
from tinygrad7 import nn, optim
from tinygrad7.data import batches
from tinygrad7.train import Checkpoint, EarlyStopping, evaluate, fit


def test_fit_is_the_loop_written_by_hand() -> None:
    model, optimizer, stream, _ = make()
    history = fit(model, optimizer, stream, mse, steps=12, progress=False)
    model2, optimizer2, stream2, _ = make()
    losses, norms = [], []
    while len(losses) < 12:
        for x, y in stream2:
            optimizer2.zero_grad()
            loss = mse(model2, x, y)
            loss.backward()
            norms.append(optimizer2.step())
            losses.append(loss.item())
            if len(losses) == 12:
                break
    assert list(history.loss) == losses and list(history.grad_norm) == norms and list(history.lr) == [0.02] * 12
    np.testing.assert_array_equal(weights(model), weights(model2))
    assert history.step == 12 and history.epoch == 2


@pytest.mark.host  # feeds NumPy arrays
def test_fit_learns_over_epochs_and_evaluates_after_each() -> None:
    model, optimizer, stream, _ = make()
    test = batches(X, Y, batch=16, training=False)
    history = fit(model, optimizer, stream, mse, epochs=20, validation=test, progress=False)
    assert history.epoch == 20 and history.step == 20 * len(stream)
    assert list(history.evaluated) == [5 * k for k in range(1, 21)]
    assert history.validation[-1] < 0.2 * history.validation[0]
    assert history.validation[-1] == pytest.approx(((model(X).numpy() - Y) ** 2).mean(), rel=1e-5)
    assert "20 epochs" in repr(history)


@pytest.mark.host  # feeds NumPy arrays
def test_evaluation_weighs_batches_by_size_and_puts_modes_back() -> None:
    model, _, _, _ = make(dropout=0.5)
    model[0].eval()
    modes = [m.training for m in model.modules()]
    value = evaluate(model, mse, batches(X, Y, batch=7, training=False))
    assert [m.training for m in model.modules()] == modes
    model.eval()
    assert value == pytest.approx(((model(X).numpy() - Y) ** 2).mean(), rel=1e-5)


def test_when_to_evaluate_and_what_is_called_then() -> None:
    model, optimizer, stream, _ = make()
    seen: list[int] = []
    common: dict[str, Any] = {"progress": False, "on_evaluation": lambda history: seen.append(history.step)}
    fit(model, optimizer, stream, mse, steps=10, validation=lambda m: 1.0, every=4, **common)
    assert seen == [4, 8, 10]
    seen.clear()
    fit(model, optimizer, stream, mse, steps=10, validation=lambda m: 1.0, every=lambda s: s in (1, 10), **common)
    assert seen == [1, 10]


def test_a_schedule_is_the_learning_rate_of_each_step() -> None:
    model, optimizer, stream, _ = make()
    history = fit(model, optimizer, stream, mse, steps=6, schedule=optim.cosine(0.1, 6), progress=False)
    np.testing.assert_allclose(history.lr, [optim.cosine(0.1, 6)(t) for t in range(6)])


def test_without_clipping_the_norm_is_computed() -> None:
    model, _, stream, _ = make()
    optimizer = optim.SGD(list(model.named_parameters()), 0.0)
    history = fit(model, optimizer, stream, mse, steps=1, progress=False)
    expected = np.sqrt(sum(float((p.grad**2).sum()) for p in model.parameters()))
    assert history.grad_norm[0] == pytest.approx(expected, rel=1e-5)


def test_early_stopping_ends_the_run_and_restores_the_best_weights() -> None:
    model, optimizer, stream, _ = make()
    values = iter([3.0, 2.0, 2.5, 2.6, 2.7, 9.0])
    found: list[np.ndarray] = []

    def validation(m: Any) -> float:
        found.append(weights(m))
        return next(values)

    stopping = EarlyStopping(patience=3)
    history = fit(
        model, optimizer, stream, mse, steps=100, validation=validation, every=2, stopping=stopping, progress=False
    )
    assert history.stopped and history.step == 10 and history.best_step == 4 == stopping.best_step
    np.testing.assert_array_equal(weights(model), found[1])


def test_the_best_weights_come_back_also_when_training_ends_first() -> None:
    model, optimizer, stream, _ = make()
    values, found = iter([1.0, 2.0]), []

    def validation(m: Any) -> float:
        found.append(weights(m))
        return next(values)

    history = fit(
        model,
        optimizer,
        stream,
        mse,
        steps=4,
        validation=validation,
        every=2,
        stopping=EarlyStopping(9),
        progress=False,
    )
    assert not history.stopped and history.best_step == 2
    np.testing.assert_array_equal(weights(model), found[0])


def test_the_best_weights_come_back_also_when_training_breaks_off() -> None:
    model, optimizer, stream, _ = make()
    seen: list[np.ndarray] = []

    def validation(model: Any) -> float:
        seen.append(weights(model))
        return [3.0, 1.0, 2.0, 4.0][len(seen) - 1]

    def loss(model: Any, x: Any, y: Any) -> Any:
        return mse(model, x, y) * (float("nan") if len(seen) == 4 else 1.0)

    with pytest.raises(FloatingPointError, match="in step 5"):
        fit(
            model,
            optimizer,
            stream,
            loss,
            steps=9,
            validation=validation,
            every=1,
            stopping=EarlyStopping(),
            progress=False,
        )
    np.testing.assert_array_equal(weights(model), seen[1])


@pytest.mark.host  # feeds NumPy arrays
def test_fit_takes_plain_lists_of_batches() -> None:
    model, optimizer, _, _ = make()
    history = fit(model, optimizer, [(X, Y), (X[:8], Y[:8])], mse, epochs=3, progress=False)
    assert history.step == 6


def test_the_bar_tells_what_it_is_asked_to(capsys: Any) -> None:
    pytest.importorskip("tqdm")
    model, optimizer, stream, _ = make()
    fit(model, optimizer, stream, mse, steps=3, validation=lambda m: 0.5, every=1)
    shown = capsys.readouterr().err
    assert "3/3" in shown and "gradient norm" in shown and "validation 0.5000" in shown
    model, optimizer, stream, _ = make()
    fit(model, optimizer, stream, mse, epochs=1, progress=lambda history: f"at {history.step}")
    assert "at 5" in capsys.readouterr().err
    fit(model, optimizer, stream, mse, steps=3, progress=False)
    assert capsys.readouterr().err == ""


def test_without_tqdm_there_is_no_bar(monkeypatch: Any, capsys: Any) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name == "tqdm":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    model, optimizer, stream, _ = make()
    assert fit(model, optimizer, stream, mse, steps=2).step == 2
    assert capsys.readouterr().err == ""


@pytest.mark.host  # feeds NumPy arrays
def test_fit_says_what_is_wrong() -> None:
    model, optimizer, stream, _ = make()
    test = batches(X, Y, batch=4, training=False)

    def run(data: Any = stream, loss: Any = mse, **options: Any) -> None:
        fit(model, optimizer, data, loss, **{"progress": False, **options})

    with pytest.raises(ValueError, match="either steps= or epochs="):
        run()
    with pytest.raises(ValueError, match="either steps= or epochs="):
        run(steps=1, epochs=1)
    with pytest.raises(ValueError, match="fit: steps must be a whole number of at least 1, not 0"):
        run(steps=0)
    with pytest.raises(ValueError, match="fit: epochs must be a whole number of at least 1, not -1"):
        run(epochs=-1)
    with pytest.raises(ValueError, match="these batches are for evaluation"):
        run(test, steps=1)
    with pytest.raises(ValueError, match="validation= is a training stream"):
        run(steps=1, validation=stream)
    with pytest.raises(ValueError, match="evaluate: this is a training stream"):
        evaluate(model, mse, stream)
    with pytest.raises(ValueError, match="evaluate: there are no batches"):
        evaluate(model, mse, [])
    with pytest.raises(ValueError, match="stopping= watches the validation value"):
        run(steps=1, stopping=EarlyStopping())
    used = EarlyStopping()
    run(steps=1, stopping=used, validation=test)
    with pytest.raises(ValueError, match="has watched another run"):
        run(steps=1, stopping=used, validation=test)
    with pytest.raises(ValueError, match="fit: every must be a whole number of at least 1, not 0"):
        run(steps=1, validation=test, every=0)
    with pytest.raises(TypeError, match=r"call its step\(forward, loss\) in your own loop"):
        fit(model, tg.optim.HessianFree(model.parameters()), stream, mse, steps=1)
    with pytest.raises(ValueError, match="resume=True needs checkpoint="):
        run(steps=1, resume=True)
    with pytest.raises(TypeError, match=r"batches that know their position.* not a list"):
        run([(X, Y)], steps=1, checkpoint=Checkpoint("never.npz"))
    with pytest.raises(ValueError, match="a whole epoch gave no batch"):
        run([], steps=1)
    with pytest.raises(ValueError, match="a whole epoch gave no batch"):
        run(iter([(X, Y)]), steps=2)
    with pytest.raises(FloatingPointError, match="the loss is nan in step 1"):
        run(loss=lambda m, x, y: mse(m, x, y) * float("nan"), steps=1)


def test_10_000_steps_hold_memory_flat() -> None:
    """In the library's own terms: nothing but three numbers a step is kept."""
    import tracemalloc

    class Still:
        """An optimizer that does next to nothing."""

        lr, steps = 0.0, 0

        def zero_grad(self) -> None: ...

        def step(self) -> float:
            return 0.0

    w = tg.tensor(1.0, requires_grad=True)
    model = nn.Sequential(nn.Linear(1, 1, rng=0))
    sizes: list[int] = []
    tracemalloc.start()
    try:
        fit(
            model,
            Still(),
            [(w,)] * 500,
            lambda m, x: x * 2.0,
            steps=10_000,
            validation=lambda m: 1.0,
            every=1_000,
            on_evaluation=lambda history: sizes.append(tracemalloc.get_traced_memory()[0]),
            progress=False,
        )
    finally:
        tracemalloc.stop()
    assert len(sizes) == 10
    assert sizes[-1] - sizes[0] < 500_000
