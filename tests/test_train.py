"""The training loop, early stopping, checkpoints, ensembles, MC dropout."""

from __future__ import annotations

import builtins
import io
import os
import signal
import subprocess
import sys
import textwrap
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad7 as tg
from tinygrad7 import nn, optim
from tinygrad7.data import batches
from tinygrad7.train import (
    Checkpoint,
    CheckpointError,
    EarlyStopping,
    Ensemble,
    History,
    evaluate,
    fit,
    mc_predict,
    write_atomically,
)

DRAW = np.random.default_rng(0)
X = DRAW.standard_normal((40, 3)).astype(np.float32)
Y = (X @ np.array([[1.0], [-2.0], [0.5]]) + 0.3).astype(np.float32)


def mse(model: Any, x: Any, y: Any) -> Any:
    return tg.mse_loss(model(x), y)


def make(seed: int = 0, dropout: float = 0.0) -> tuple[Any, Any, Any, np.random.Generator]:
    """A model, its optimizer, a training stream and the generator of its dropout."""
    rng = np.random.default_rng(seed)
    model = nn.Sequential(nn.Linear(3, 8, rng=rng), nn.Tanh(), nn.Dropout(dropout, rng=rng), nn.Linear(8, 1, rng=rng))
    optimizer = optim.Adam(list(model.named_parameters()), 0.02, clip_norm=1.0)
    return model, optimizer, batches(X, Y, batch=8, rng=seed), rng


def weights(model: Any) -> np.ndarray:
    return np.concatenate([a.ravel() for a in model.state_dict().values()])


# ---- fit ---------------------------------------------------------------------------------------------------------


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
    with pytest.raises(ValueError, match="steps must be at least 1, not 0"):
        run(steps=0)
    with pytest.raises(ValueError, match="epochs must be at least 1, not -1"):
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
    with pytest.raises(ValueError, match="every must be at least 1 step, not 0"):
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


# ---- early stopping ----------------------------------------------------------------------------------------------


@given(
    values=st.lists(st.floats(-5, 5, width=16), min_size=1, max_size=25),
    patience=st.integers(1, 4),
    min_delta=st.sampled_from([0.0, 0.5]),
    mode=st.sampled_from(["min", "max"]),
)
def test_stopping_follows_its_definition(values: list[float], patience: int, min_delta: float, mode: str) -> None:
    stopping = EarlyStopping(patience, min_delta=min_delta, mode=mode)
    sign, best, since = (1 if mode == "min" else -1), np.inf, 0
    for value in values:
        improved = best - sign * value > min_delta
        best, since = (sign * value, 0) if improved else (best, since + 1)
        assert stopping.update(value) == (since >= patience)
        assert stopping.best == sign * best


def test_smoothing_watches_the_average_of_a_noisy_curve() -> None:
    rng = np.random.default_rng(0)
    falling = np.linspace(2, 1, 60) + 0.15 * rng.standard_normal(60)
    rough, smooth = EarlyStopping(5), EarlyStopping(5, smoothing=0.9)
    assert True in [rough.update(v) for v in falling]
    assert True not in [smooth.update(v) for v in falling]
    constant = EarlyStopping(1, smoothing=0.9, min_delta=1e-9)
    constant.update(4.0)
    assert constant.best == pytest.approx(4.0)  # unbiased from the start
    constant.update(2.0)
    assert constant.best == pytest.approx((0.9 * 4 + 2) / 1.9)


def test_stopping_goes_on_from_its_state() -> None:
    model, _, _, _ = make()
    one, two = EarlyStopping(3, smoothing=0.5), EarlyStopping(3, smoothing=0.5)
    for value in (3.0, 1.0, 2.0):
        one.update(value, model)
    best = weights(model)
    two.load_state_dict(one.state_dict())
    assert [two.update(v, model) for v in (4.0, 5.0)] == [one.update(v, model) for v in (4.0, 5.0)] == [False, True]
    next(model.parameters()).assign(np.zeros((8, 3)))
    two.restore(model)
    np.testing.assert_array_equal(weights(model), best)


def test_stopping_says_what_is_wrong() -> None:
    for options, message in (
        ({"patience": 0}, "patience must be at least 1"),
        ({"min_delta": -1}, "min_delta must be at least 0"),
        ({"smoothing": 1.0}, "smoothing must lie in"),
        ({"mode": "lowest"}, "mode must be 'min' or 'max'"),
    ):
        with pytest.raises(ValueError, match=message):
            EarlyStopping(**options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="validation value is nan"):
        EarlyStopping().update(float("nan"))
    with pytest.raises(ValueError, match="is inf, which no smoothing would ever forget"):
        EarlyStopping(smoothing=0.5).update(float("inf"))
    with pytest.raises(RuntimeError, match="no weights to restore"):
        EarlyStopping().restore(None)


# ---- checkpoints -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_resumed_run_is_the_run(tmp_path: Path, suffix: str) -> None:
    """Broken off after any step, from another process's objects: the same weights, history, stopping, bit for bit."""
    values = [5.0, 4.0, 4.5, 3.0, 3.5, 3.2, 3.1, 2.9]

    def run(path: Path, steps: int, resume: bool, seed: int) -> tuple[np.ndarray, History, bytes]:
        model, optimizer, stream, rng = make(seed, dropout=0.3)
        history = fit(
            model,
            optimizer,
            stream,
            lambda m, x, y: mse(m, x + tg.normal(x.shape) * 0.01, y),
            steps=steps,
            validation=lambda m: values[optimizer.steps // 3 - 1],
            every=3,
            stopping=EarlyStopping(2),
            checkpoint=Checkpoint(path, dropout=rng, notes={"made by": "a test"}),
            resume=resume,
            save_seconds=0.0,
            progress=False,
        )
        return weights(model), history, path.read_bytes()

    tg.seed(1)
    whole = run(tmp_path / f"whole{suffix}", 24, False, 0)
    assert whole[1].stopped and whole[1].best_step == 12
    for at in (1, 3, 5, 6, 10, 16):
        path = tmp_path / f"{at}{suffix}"
        tg.seed(1)
        with pytest.raises(ZeroDivisionError):  # the run dies in the middle of a step
            with pytest.MonkeyPatch.context() as patch:
                count = iter(range(100))
                step = optim.Adam.step
                patch.setattr(
                    optim.Adam, "step", lambda self, n=count, s=step, at=at: 1 / 0 if next(n) == at else s(self)
                )  # type: ignore[misc]
                run(path, 24, False, 0)
        tg.seed(99)
        again = run(path, 24, True, 7)
        np.testing.assert_array_equal(again[0], whole[0])
        assert again[1].state_dict().keys() == whole[1].state_dict().keys()
        assert list(again[1].loss) == list(whole[1].loss) and list(again[1].validation) == list(whole[1].validation)
        assert again[2] == whole[2]


def test_what_a_checkpoint_keeps(tmp_path: Path) -> None:
    class Part:
        value: Any = None

        def state_dict(self) -> Any:
            return self.value

        def load_state_dict(self, state: Any) -> None:
            self.value = state

    part, rng = Part(), np.random.default_rng(5)
    part.value = {
        "a": [1, 2.5, "é\n", None, True],
        "b": (np.arange(6).reshape(2, 3), np.float32(2), np.zeros((0, 3), np.uint8)),
        "c/d": {"": np.array("x") == "x"},
        "huge": 2**127 + 1,
        "inf": float("inf"),
    }
    for name in ("a.npz", "b.safetensors"):
        Checkpoint(tmp_path / name, part=part, rng=rng, notes={"step": 3, "w": np.ones(2)}).save()
        other, rng2 = Part(), np.random.default_rng(6)
        checkpoint = Checkpoint(tmp_path / name, part=other, rng=rng2)
        assert checkpoint.read_notes()["step"] == 3 and other.value is None
        assert checkpoint.load()["w"].tolist() == [1, 1]
        assert other.value["a"] == part.value["a"] and other.value["huge"] == 2**127 + 1
        assert isinstance(other.value["b"], tuple) and other.value["inf"] == float("inf")
        for x, y in zip(other.value["b"], part.value["b"], strict=True):
            np.testing.assert_array_equal(x, y)
            assert x.dtype == y.dtype and np.shape(x) == np.shape(y)
        assert rng2.random() == np.random.default_rng(5).random()
    assert np.load(tmp_path / "a.npz", allow_pickle=False)["parts/part/b/0"].tolist() == [[0, 1, 2], [3, 4, 5]]
    before = (tmp_path / "a.npz").read_bytes()
    Checkpoint(tmp_path / "a.npz", part=part, rng=rng, notes={"step": 3, "w": np.ones(2)}).save()
    assert (tmp_path / "a.npz").read_bytes() == before  # no clock in it


def good(path: Path) -> tuple[Checkpoint, Any, bytes]:
    model, optimizer, _, _ = make()
    checkpoint = Checkpoint(path, model=model, optimizer=optimizer)
    checkpoint.save()
    return checkpoint, model, path.read_bytes()


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@given(share=st.floats(0, 1), flip=st.integers(1, 255), cut=st.booleans())
def test_no_damage_goes_unnoticed(suffix: str, share: float, flip: int, cut: bool, tmp_path_factory: Any) -> None:
    """Cut anywhere, or any byte changed: refused, or (in bytes that carry nothing) the very same state."""
    path = tmp_path_factory.mktemp("damage") / f"run{suffix}"
    checkpoint, model, content = good(path)
    before, place = weights(model), min(int(share * len(content)), len(content) - 1)
    damaged = content[:place] if cut else content[:place] + bytes([content[place] ^ flip]) + content[place + 1 :]
    path.write_bytes(damaged)
    for p in model.parameters():
        p.assign(p.numpy() + 1)
    try:
        checkpoint.load()
    except CheckpointError as error:
        assert str(error).startswith(f"{path}: it is ") or "its header" in str(error)
        np.testing.assert_array_equal(weights(model), before + 1)
    else:
        assert not cut
        np.testing.assert_array_equal(weights(model), before)


def test_a_bad_checkpoint_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    checkpoint, model, content = good(path)

    def refused(content: bytes | None, message: str, name: Path = path) -> None:
        if content is not None:
            name.write_bytes(content)
        with pytest.raises(CheckpointError, match=message):
            Checkpoint(name, model=model).load()

    refused(None, "there is no such file", tmp_path / "none.npz")
    (tmp_path / "folder.npz").mkdir()
    refused(None, "cannot be read", tmp_path / "folder.npz")
    refused(b"", "foreign: it is empty")
    refused(b"hello", "foreign: no .npz file starts like this")
    refused(content[: len(content) // 2], "it is truncated")
    inside = content.index(weights(model)[:4].tobytes())
    refused(content[:inside] + bytes([content[inside] ^ 1]) + content[inside + 1 :], "it is corrupt: Bad CRC-32")
    other = io.BytesIO()
    np.savez(other, weights=np.ones(3))
    refused(other.getvalue(), r"foreign: an archive of weights.npy, without tinygrad7.json")

    def rewritten(change: Any) -> bytes:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        change(members)
        new = io.BytesIO()
        with zipfile.ZipFile(new, "w") as archive:
            for name, member in members.items():
                archive.writestr(name, member)
        return new.getvalue()

    def header(old: bytes, new: bytes) -> Any:
        return lambda m: m.update({"tinygrad7.json": m["tinygrad7.json"].replace(old, new, 1)})

    def swapped(members: dict[str, bytes]) -> None:
        first, second = [name for name in members if name.startswith("parts/model") and "weight" in name]
        members[first], members[second] = members[second], members[first]

    refused(rewritten(header(b"tinygrad7 checkpoint", b"another")), "names the format 'another'")
    refused(rewritten(header(b'"version": 1', b'"version": 2')), "it has version 2, this package reads version 1")
    refused(rewritten(header(b"{", b"[")), "it is corrupt")
    refused(rewritten(swapped), "the digest of its content is not the one that was written")
    pickled = io.BytesIO()
    np.lib.format.write_array(pickled, np.array([print], dtype=object), allow_pickle=True)
    name = next(n for n in zipfile.ZipFile(io.BytesIO(content)).namelist() if "weight" in n)
    refused(rewritten(lambda m: m.update({name: pickled.getvalue()})), "Object arrays cannot be loaded")
    refused(content, "it holds model, optimizer, but model are to be loaded")
    tensors = tmp_path / "run.safetensors"
    refused(b"hello", "truncated, corrupt or foreign", tensors)
    import safetensors.numpy

    refused(safetensors.numpy.save({"a": np.ones(2)}), "foreign: safetensors without tinygrad7.json", tensors)
    path.write_bytes(content)
    checkpoint.load()


def test_a_state_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    small = nn.Linear(2, 2, rng=0)
    optimizer = optim.Adam(list(small.named_parameters()), 0.1)
    Checkpoint(path, first=small, second=small, optimizer=optimizer).save()
    large, alike = nn.Linear(3, 2, rng=1), nn.Linear(2, 2, rng=2)
    before = weights(alike)
    with pytest.raises(CheckpointError, match=r"its second does not fit, nothing was changed: .*'weight' has shape"):
        Checkpoint(path, first=alike, second=large, optimizer=optimizer).load()
    np.testing.assert_array_equal(weights(alike), before)
    other = optim.SGD(list(alike.named_parameters()), 0.1)
    with pytest.raises(
        CheckpointError, match="its optimizer does not fit, nothing was changed: optimizer state: missing"
    ):
        Checkpoint(path, first=alike, second=alike, optimizer=other).load()
    np.testing.assert_array_equal(weights(alike), before)


def test_the_good_file_stays_when_writing_fails(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "run.npz"
    checkpoint, model, content = good(path)
    next(model.parameters()).assign(np.zeros((8, 3)))

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, full)
            with pytest.raises(OSError, match="No space left"):
                checkpoint.save()
        assert path.read_bytes() == content
        assert sorted(p.name for p in tmp_path.iterdir()) == ["run.npz"]
    checkpoint.save()
    assert path.read_bytes() != content


def test_content_reaches_the_disk_before_the_name(tmp_path: Path, monkeypatch: Any) -> None:
    """The order that makes it safe: write, fsync the file, rename, fsync the folder."""
    calls: list[str] = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, name=name, real=real: (calls.append(name), real(*a))[1])
    write_atomically(tmp_path / "file", b"content")
    assert calls == ["fsync", "replace", "fsync"] and (tmp_path / "file").read_bytes() == b"content"


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_arrays_keep_apart_and_come_back_whatever_their_keys_and_byte_order(tmp_path: Path, suffix: str) -> None:
    notes = {"a/b": np.ones(2), "a": {"b": np.zeros(2)}, "big": np.array([1.5, 2.0], ">f4")}
    checkpoint = Checkpoint(tmp_path / f"run{suffix}", notes=notes)
    checkpoint.save()
    found = checkpoint.load()
    np.testing.assert_array_equal(found["a/b"], [1, 1])
    np.testing.assert_array_equal(found["a"]["b"], [0, 0])
    np.testing.assert_array_equal(found["big"], [1.5, 2.0])


def test_checkpoint_says_what_is_wrong_with_its_parts(tmp_path: Path, monkeypatch: Any) -> None:
    with pytest.raises(ValueError, match=r"'run.pt' must end in .npz or .safetensors"):
        Checkpoint("run.pt")
    with pytest.raises(TypeError, match="part 'x' is a int"):
        Checkpoint("run.npz", x=3)

    class Odd:
        def state_dict(self) -> Any:
            return {"deep": [set()]}

        def load_state_dict(self, state: Any) -> None: ...

    with pytest.raises(TypeError, match="parts/odd/deep/0 is a set"):
        Checkpoint(tmp_path / "run.npz", odd=Odd()).save()
    with pytest.raises(TypeError, match="notes/a is an array of Python objects"):
        Checkpoint(tmp_path / "run.npz", notes={"a": np.array([None])}).save()
    assert not list(tmp_path.iterdir())
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(ImportError, match=r"pip install safetensors; or use \.npz"):
        Checkpoint(tmp_path / "run.safetensors")


# ---- Ctrl-C ------------------------------------------------------------------------------------------------------


@pytest.mark.host
def test_ctrl_c_ends_the_step_saves_and_is_raised(tmp_path: Path) -> None:
    def run(path: Path, resume: bool, interrupt: int = 0) -> np.ndarray:
        model, optimizer, stream, _ = make()

        def loss(m: Any, x: Any, y: Any) -> Any:
            if optimizer.steps + 1 == interrupt:
                os.kill(os.getpid(), signal.SIGINT)
            return mse(m, x, y)

        checkpoint = Checkpoint(path)
        fit(model, optimizer, stream, loss, steps=9, checkpoint=checkpoint, resume=resume, progress=False)
        return weights(model)

    handler = signal.getsignal(signal.SIGINT)
    whole = run(tmp_path / "a.npz", False)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b.npz", False, interrupt=4)
    assert signal.getsignal(signal.SIGINT) is handler
    model, optimizer, stream, _ = make()
    history = History()
    parts = {"model": model, "optimizer": optimizer, "batches": stream, "history": history}
    Checkpoint(tmp_path / "b.npz", **parts, random=np.random.default_rng()).load()
    assert history.step == optimizer.steps == 4  # the step at hand was finished
    np.testing.assert_array_equal(run(tmp_path / "b.npz", True), whole)


@pytest.mark.host
def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    model, optimizer, stream, _ = make()

    def loss(m: Any, x: Any, y: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the second one was not heard")

    with pytest.raises(KeyboardInterrupt):
        fit(model, optimizer, stream, loss, steps=2, checkpoint=Checkpoint(tmp_path / "a.npz"), progress=False)


@pytest.mark.host  # feeds NumPy arrays
def test_fit_runs_outside_the_main_thread(tmp_path: Path) -> None:
    model, optimizer, stream, _ = make()
    found: list[Any] = []
    checkpoint = Checkpoint(tmp_path / "a.npz")
    thread = threading.Thread(
        target=lambda: found.append(fit(model, optimizer, stream, mse, steps=3, checkpoint=checkpoint, progress=False))
    )
    thread.start()
    thread.join()
    assert found[0].step == 3


@pytest.mark.host
def test_two_processes_may_save_to_one_file(tmp_path: Path) -> None:
    """Two runs in one folder by mistake: what is found is what one of them wrote, and neither fails."""
    path = tmp_path / "run.npz"
    program = textwrap.dedent(
        f"""
        import sys
        import numpy as np
        from tinygrad7.train import Checkpoint
        checkpoint = Checkpoint({str(path)!r}, notes={{"array": np.full(400_000, int(sys.argv[1]))}})
        checkpoint.save()
        print("begun", flush=True)
        for _ in range(60):
            checkpoint.save()
        """
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(k)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for k in range(2)
    ]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == b"begun\n"
    while any(process.poll() is None for process in processes):
        assert Checkpoint(path).load()["array"].std() == 0
    assert [process.communicate()[1] for process in processes] == [b"", b""]
    assert [p.name for p in tmp_path.iterdir()] == ["run.npz"]


def test_what_a_killed_process_left_is_cleared_in_time(tmp_path: Path) -> None:
    old, young, other = (tmp_path / name for name in (".run.npz.1.partial", ".run.npz.2.partial", ".run.npz.3.copy"))
    for file in (old, young, other):
        file.write_bytes(b"half")
    for file in (old, other):
        os.utime(file, (0, 0))
    write_atomically(tmp_path / "run.npz", b"whole")
    assert not old.exists() and young.exists() and other.exists()


@pytest.mark.host
def test_killed_at_any_moment_the_file_is_whole(tmp_path: Path) -> None:
    """SIGKILL while a process does nothing but save: what is found can be read, and is one of the states saved."""
    path = tmp_path / "run.npz"
    program = textwrap.dedent(
        f"""
        import numpy as np
        from tinygrad7.train import Checkpoint
        checkpoint = Checkpoint({str(path)!r})
        for k in range(10**9):
            checkpoint.notes = {{"k": k, "array": np.full(200_000, k)}}
            checkpoint.save()
            if k == 0:
                print("begun", flush=True)
        """
    )
    before = -1
    for wait in (0.01, 0.05, 0.023):
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == b"begun\n"
        threading.Event().wait(wait)
        process.kill()
        process.communicate()
        notes = Checkpoint(path).load()
        assert (notes["array"] == notes["k"]).all()
        before = max(before, notes["k"])
    assert before > 0


# ---- several predictions as one ----------------------------------------------------------------------------------


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


def test_mc_predict_refuses_a_model_without_dropout() -> None:
    with pytest.raises(ValueError, match="the model has no dropout"):
        mc_predict(nn.Sequential(nn.Linear(3, 1), nn.Dropout(0.0)), X)
    with pytest.raises(ValueError, match="samples must be at least 1"):
        mc_predict(nn.Dropout(0.5), X, samples=0)
    with pytest.raises(TypeError, match="output is a tuple has no average: give link="):
        mc_predict(nn.LSTM(3, 2, 2, dropout=0.5, rng=0), tg.tensor(X[None]), samples=2)
