"""Several predictions made one: ensembles and dropout masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad7 as tg
from tests.training import X
from tinygrad7 import nn
from tinygrad7.train import Ensemble, mc_predict


@pytest.mark.host  # feeds NumPy arrays
@given(seed=st.integers(0, 50), members=st.integers(1, 5))
def test_an_ensemble_never_loses_more_than_its_members_do_on_average(seed: int, members: int) -> None:
    """For convex losses, on any data (lecture, "Ensembles")."""
    rng = np.random.default_rng(seed)
    models = [nn.Sequential(nn.Linear(3, 4, rng=rng), nn.Tanh(), nn.Linear(4, 3, rng=rng)) for _ in range(members)]
    x, t = rng.standard_normal((6, 3)), rng.integers(3, size=6)
    together = Ensemble(models, link=tg.softmax)(x).numpy()
    separate = [tg.softmax(m(x)).numpy() for m in models]
    np.testing.assert_allclose(together, np.mean(separate, axis=0), atol=1e-6)
    rows = np.arange(6)
    for loss in (lambda p: -np.log(p[rows, t]).mean(), lambda p: ((p - np.eye(3)[t]) ** 2).mean()):
        assert loss(together) <= np.mean([loss(p) for p in separate]) + 1e-6
    np.testing.assert_allclose(
        Ensemble(models).predict(x).std.numpy(), np.std([m(x).numpy() for m in models], axis=0), atol=1e-5
    )


def test_an_ensemble_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no models"):
        Ensemble([])


@pytest.mark.host  # feeds NumPy arrays
def test_mc_predict_switches_dropout_on_and_nothing_else() -> None:
    norm = nn.BatchNorm1d(4)
    first, second = nn.Dropout(0.5, rng=0), nn.Dropout(0.3, rng=1)
    model = nn.Sequential(nn.Linear(3, 4, rng=0), norm, first, nn.Linear(4, 2, rng=1), second)
    model.eval()
    second.train()
    running = model.state_dict()
    found = mc_predict(model, X, samples=400)
    assert [m.training for m in model.modules()] == [False, False, False, False, False, True]
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, running[name])  # batch norm learned nothing from it
    assert not found.mean.requires_grad and found.std.numpy().mean() > 0.05
    model.eval()
    error = np.abs(found.mean.numpy() - model(X).numpy())  # this net is linear: weight scaling is exact for the mean
    assert (error < 5 * found.std.numpy() / np.sqrt(400) + 1e-6).all()


@pytest.mark.host  # feeds NumPy arrays
def test_mc_predict_finds_dropout_inside_recurrent_layers_and_survives_errors() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            self.recurrent = nn.GRU(3, 4, 2, dropout=0.5, rng=0)

        def forward(self, x: Any) -> Any:
            if not self.recurrent.training or self.training:
                raise RuntimeError("wrong modes")
            return self.recurrent(x)[0]

    net = Net()
    net.eval()
    assert mc_predict(net, X[None], samples=5).std.numpy().max() > 0
    assert not net.recurrent.training
    net.train()
    net.forward = lambda x: 1 / 0  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        mc_predict(net, X)
    assert net.training and net.recurrent.training


def test_a_rate_may_be_a_numpy_number() -> None:
    found = mc_predict(nn.Dropout(np.float32(0.5), rng=0), tg.tensor(X), samples=5)  # type: ignore[arg-type]
    assert found.std.numpy().max() > 0


def test_mc_predict_refuses_a_model_without_dropout() -> None:
    with pytest.warns(UserWarning, match="num_layers is 1"):
        single = nn.LSTM(3, 2, dropout=0.5, rng=0)
    for model in (nn.Sequential(nn.Linear(3, 1), nn.Dropout(0.0)), single):
        with pytest.raises(ValueError, match=r"no dropout \(that of a recurrent net stands between its layers, so one"):
            mc_predict(model, X, link=lambda output: output[0])
    with pytest.raises(ValueError, match="mc_predict: samples must be a whole number of at least 1, not 0"):
        mc_predict(nn.Dropout(0.5), X, samples=0)
    with pytest.raises(TypeError, match="output is a tuple has no average: give link="):
        mc_predict(nn.LSTM(3, 2, 2, dropout=0.5, rng=0), tg.tensor(X[None]), samples=2)
