"""The main job: what it says to texts, settings, checkpoints and machines that it cannot work with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tinygrad7 as tg
from demos.char_lm import main
from demos.char_lm.model import CharLM
from demos.char_lm.settings import complete
from demos.char_lm.text import Trouble, prepare, read
from tests.char_lm import ROOT, options, small_text
from tinygrad7.train import Checkpoint

text = pytest.fixture(scope="module", name="text")(small_text)


def refused(capsys: Any, arguments: list[str], *parts: str) -> None:
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert "char_lm: " in told and "Traceback" not in told and all(part in told for part in parts), told


def test_a_text_that_cannot_be_used(text: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    refused(capsys, options(tmp_path / "none.txt", out), "none.txt: it cannot be read: No such file")
    refused(capsys, options(tmp_path, out), "it cannot be read: Is a directory")
    latin = tmp_path / "latin.txt"
    latin.write_bytes("é".encode("latin-1") + text.read_bytes())
    refused(capsys, options(latin, out), "it is no utf-8 at byte 0", "--encoding latin-1")
    refused(capsys, options(text, out, "--encoding", "utf-17"), "--encoding utf-17: Python knows no such encoding")
    short = tmp_path / "short.txt"
    short.write_text("odd")
    refused(capsys, options(short, out, "--encoding", "utf-16"), "it is no utf-16 at byte 2")
    short.write_text("too short")
    refused(capsys, options(short, out), "9 characters are too few", "needs 33", "smaller --batch and --seq")
    short.write_text("")
    refused(capsys, options(short, out), "0 characters are too few")
    assert not out.exists()
    assert main(options(latin, out, "--encoding", "latin-1", steps=2)) == 0
    content = text.read_text(encoding="utf-8")
    other = tmp_path / "utf16.txt"
    other.write_bytes(content.replace("\n", "\r\n").encode("utf-16"))
    assert read(str(other), "utf-16")[0] == content
    other.write_bytes(content.encode("utf-8-sig"))
    assert read(str(other), "utf-8")[0] == content


def test_characters_that_only_validation_has() -> None:
    corpus = prepare("ab" * 200 + "z" * 21, "a text", least=10)
    assert "z" not in corpus.vocabulary
    assert set(corpus.validation.tolist()) == {corpus.vocabulary.index("\ufffd")}


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"hidden": 0}, "--hidden must be more than 0"),
        ({"minutes": -1.0}, "--minutes must be more than 0"),
        ({"layers": 0}, "--layers must be"),
        ({"seq": 0}, "--seq must be"),
        ({"batch": 0}, "--batch must be"),
        ({"clip": 0.0}, "--clip must be"),
        ({"clip": float("nan")}, "--clip must be"),
        ({"steps": 0}, "--steps must be at least 1"),
        ({"dropout": 1.0}, "--dropout is a probability below 1"),
        ({"decay": -0.1}, "--decay must be at least 0"),
        ({"decay": float("nan")}, "--decay must be a finite number"),
        ({"minutes": float("inf")}, "--minutes must be a finite number"),
        ({"seed": -1}, "--seed must be at least 0"),
        ({"layers": 101}, "--layers must be at most 100, not 101"),
        ({"hidden": 10**6}, "--hidden 1000000 and --layers 1 make a model of 59,6.. GiB with its gradients and Adam's"),
        ({"hidden": 10**11, "layers": 2, "cell": "gru"}, "and this machine has [0-9,]+: take smaller ones"),
    ],
)
def test_settings_that_make_no_sense(said: dict[str, Any], message: str) -> None:
    with pytest.raises(Trouble, match=message):
        complete(said)


def test_a_checkpoint_that_cannot_be_resumed(text: Path, tmp_path: Path, capsys: Any) -> None:
    arguments = options(text, tmp_path, "--resume", steps=3)
    assert main(arguments) == 0
    assert "checkpoint.npz is not there: starting from the beginning" in capsys.readouterr().out
    path = tmp_path / "checkpoint.npz"
    good = path.read_bytes()
    refused(capsys, [*arguments, "--hidden", "13"], "was started with --hidden 12, not 13")
    refused(capsys, [*arguments, "--steps", "4"], "was started with --steps 3, not 4")
    changed = tmp_path / "changed.txt"
    changed.write_text(text.read_text(encoding="utf-8") + "!", encoding="utf-8")
    copy = text.read_bytes()
    try:
        text.write_bytes(changed.read_bytes())
        refused(capsys, arguments, "is not the one that the run was started with")
    finally:
        text.write_bytes(copy)
    for content, reason in (
        (good[:-100], "truncated"),
        (b"hello", "foreign"),
        (good[:3000] + b"?" + good[3001:], "corrupt"),
    ):
        path.write_bytes(content)
        refused(capsys, arguments, reason)
        assert path.read_bytes() == content  # it is not replaced: the user may have a copy, or none
    Checkpoint(path, notes={"another": "program"}).save()
    refused(capsys, arguments, "is a checkpoint, but not of a run of char_lm")
    path.write_bytes(good)
    assert main(arguments) == 0


def test_a_loss_that_is_not_finite(text: Path, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    real = tg.cross_entropy
    monkeypatch.setattr(tg, "cross_entropy", lambda *a, **k: real(*a, **k) * float("nan"))
    refused(capsys, options(text, tmp_path), "the loss is nan in step 1", "clip_norm")


def test_a_model_that_does_not_fit_into_memory(text: Path, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise MemoryError("Unable to allocate 262 TiB")

    monkeypatch.setattr(CharLM, "of", full)
    refused(capsys, options(text, tmp_path), "Unable to allocate 262 TiB; take smaller --hidden")


def test_a_folder_that_cannot_be_made(text: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "file").write_text("")
    refused(capsys, options(text, tmp_path / "file" / "out"), "--out", "Not a directory")


def test_without_matplotlib_the_picture_is_left_out(text: Path, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(options(text, tmp_path, steps=2)) == 0
    assert "loss.png was left out: it needs matplotlib" in capsys.readouterr().out
    assert not (tmp_path / "loss.png").exists()


def test_a_terminal_that_knows_no_unicode(text: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    arguments = [sys.executable, "-m", "demos", "char_lm", *options(text, tmp_path, "--prime", "ünd", steps=2)]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr.decode()
    assert b"\\xfcnd" in done.stdout
