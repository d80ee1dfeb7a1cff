"""Checkpoints: what they keep, and that nothing damaged or foreign is taken for one."""

from __future__ import annotations

import io
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad7 as tg
from tests.training import make, mse, weights
from tinygrad7 import nn, optim
from tinygrad7.train import (
    Checkpoint,
    CheckpointError,
    EarlyStopping,
    History,
    fit,
    write_atomically,
)


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
