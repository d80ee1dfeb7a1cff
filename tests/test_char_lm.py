"""The main job: what it prints and leaves, and that nothing that happens to it changes what it would have done."""

from __future__ import annotations

import csv
import gc
import hashlib
import os
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import tinygrad7 as tg
from demos.__main__ import main as demos
from demos.char_lm import main
from demos.char_lm import run as char_run
from demos.char_lm.model import CharLM, bits, validate, write
from demos.char_lm.settings import complete
from demos.char_lm.text import Trouble, prepare, read
from tinygrad7 import nn, optim
from tinygrad7.data import Vocabulary, bptt_batches
from tinygrad7.train import Checkpoint, fit

ROOT = Path(__file__).parent.parent
TINY = ["--hidden", "12", "--batch", "4", "--seq", "8", "--dropout", "0.2", "--layers", "2"]
FILES = ["checkpoint.npz", "loss.png", "metrics.csv", "model.npz", "samples.txt"]


@pytest.fixture(scope="module")
def text(tmp_path_factory: Any) -> Path:
    path: Path = tmp_path_factory.mktemp("text") / "text.txt"
    words = np.random.default_rng(0).choice(["the ", "cat ", "sat.\n", "on ", "a ", "mat, ", "ünder "], size=600)
    path.write_text("".join(words), encoding="utf-8")
    return path


def options(text: Path, out: Path, *more: str, steps: int = 24) -> list[str]:
    return [*TINY, "--text", str(text), "--steps", str(steps), "--out", str(out), *more]


def contents(out: Path) -> dict[str, str]:
    """Every file of the run's folder by its digest."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(out.iterdir()) if p.name in FILES}


@pytest.fixture(scope="module")
def whole(text: Path, tmp_path_factory: Any) -> dict[str, str]:
    """What an undisturbed run leaves."""
    out = tmp_path_factory.mktemp("whole")
    assert subprocess.run(command(options(text, out), ""), cwd=ROOT, capture_output=True).returncode == 0
    return contents(out)


def command(arguments: list[str], trouble: str) -> list[str]:
    """The demo in a process of its own, in which ``trouble`` is done first; saving after every step, not drawing."""
    program = (
        "import os, signal, sys\n"
        "from demos.char_lm import run\n"
        "run.SAVE_SECONDS = -1.0\n"
        "run.outputs.draw_step = lambda *a: ''\n"
        f"{trouble}\n"
        "sys.exit(run.main(sys.argv[1:]))"
    )
    return [sys.executable, "-c", program, *arguments]


# ---- what a run gives --------------------------------------------------------------------------------------------


def test_a_run_prints_and_leaves_what_it_promises(text: Path, tmp_path: Path, capsys: Any) -> None:
    assert main(options(text, tmp_path, "--prime", "the cat", "--seed", "3")) == 0
    told = capsys.readouterr()
    corpus = prepare(*read(str(text), "utf-8"), least=1)
    size = len(text.read_text(encoding="utf-8"))
    assert f"{size:,} characters" in told.out and f"vocabulary  {len(corpus.vocabulary)}" in told.out
    assert f"training {len(corpus.training):,}, validation {len(corpus.validation):,}" in told.out
    for word in ("bits/char", "‖g‖", "chars/s", "24/24"):
        assert word in told.err
    assert (
        told.out.count("--- temperature 0.5\nthe cat")
        == told.out.count("validation 0") + told.out.count(": validation ")
        > 5
    )
    assert set(FILES) <= {p.name for p in tmp_path.iterdir()}
    with open(tmp_path / "metrics.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert table[-1]["step"] == "24" and table[-1]["characters"] == str(24 * 4 * 8)
    best = min(float(row["validation_bits_per_character"]) for row in table)
    assert float(told.out.split("\nvalidation ")[-1].split(" bits/char")[0]) == pytest.approx(best, abs=6e-5)
    drawn = (tmp_path / "unrolled.svg").read_text(encoding="utf-8")
    assert all(f"t = {t}" in drawn for t in range(4)) and "t = 4" not in drawn and "embedding.weight" in drawn
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    samples = (tmp_path / "samples.txt").read_text(encoding="utf-8")
    assert samples.count("--- temperature") == 3 * len(table) and "the cat" in samples
    # model.npz holds the best weights: they give the figure again
    model = CharLM(len(corpus.vocabulary), 12, layers=2, dropout=0.2)
    notes = Checkpoint(tmp_path / "model.npz", model=model).load()
    assert notes["settings"]["prime"] == "the cat"
    assert Vocabulary.from_state_dict(notes["vocabulary"]) == corpus.vocabulary
    assert bits(validate(model, corpus.training, corpus.validation)) == pytest.approx(best, abs=1e-5)


@pytest.mark.host
def test_the_same_seed_is_the_same_run_and_another_is_not(text: Path, tmp_path: Path, whole: dict[str, str]) -> None:
    char_run.main(options(text, tmp_path / "again"))
    assert contents(tmp_path / "again") == whole
    char_run.main(options(text, tmp_path / "other", "--seed", "1"))
    found = contents(tmp_path / "other")
    assert all(found[name] != whole[name] for name in FILES)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru", "mrnn"])
def test_every_cell_learns(cell: str, text: Path, tmp_path: Path) -> None:
    assert main([*options(text, tmp_path, steps=60), "--cell", cell, "--layers", "1"]) == 0
    with open(tmp_path / "metrics.csv", newline="") as file:
        values = [float(row["validation_bits_per_character"]) for row in csv.DictReader(file)]
    assert values[-1] < values[0] - 0.5


def test_minutes_become_a_number_of_steps_once(text: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "run"
    arguments = [*TINY, "--text", str(text), "--minutes", "0.02", "--out", str(out)]
    assert main(arguments) == 0
    total = Checkpoint(out / "checkpoint.npz").read_notes()["settings"]["total"]
    assert total >= 1 and f"run         {total:,} steps" in capsys.readouterr().out
    before = contents(out)
    assert main([*arguments, "--resume"]) == 0  # a finished run has nothing left to do
    assert contents(out) == before
    assert main([*TINY, "--text", str(text), "--steps", str(total), "--out", str(tmp_path / "steps")]) == 0
    assert contents(tmp_path / "steps")["samples.txt"] == before["samples.txt"]


def test_what_is_chosen_for_the_user() -> None:
    quick, long = complete({}), complete({"minutes": 20.0})
    assert (quick["hidden"], quick["dropout"], quick["seq"], quick["batch"]) == (256, 0.0, 64, 32)
    assert long["hidden"] == 512 and long["dropout"] > 0 and long["decay"] > 0
    assert complete({"minutes": 20.0, "dropout": 0.0, "hidden": 9})["hidden"] == 9
    assert quick["minutes"] < 2 and complete({"prime": ""})["prime"] == "\n"


def test_the_default_text_and_split() -> None:
    from pydoc_data import topics

    corpus = prepare(*read(None, "utf-8"), least=1)
    whole = "".join(topics.topics.values())
    assert corpus.name == "pydoc_data.topics"
    assert corpus.vocabulary.decode(corpus.training) == whole[: len(corpus.training)]
    assert len(corpus.training) + len(corpus.validation) == len(whole)
    assert abs(len(corpus.validation) / len(whole) - 0.05) < 0.001


@pytest.mark.host
def test_10_000_steps_hold_memory_flat_and_time_level() -> None:
    model = CharLM(20, 6, dropout=0.1, rng=0)
    windows = bptt_batches(np.random.default_rng(0).integers(20, size=2000), batch=2, k1=4, shift=True, rng=0)
    process, sizes, times = psutil.Process(), [], []

    def look(_: Any) -> float:
        sizes.append(process.memory_info().rss)
        times.append(time.process_time())
        return 1.0

    fit(
        model,
        optim.Adam(list(model.named_parameters()), 1e-3, clip_norm=1.0),
        windows,
        lambda m, x, y: tg.cross_entropy(windows.unroll(m, x), y),
        steps=10_000,
        validation=look,
        every=500,
        progress=False,
    )
    assert sizes[-1] - sizes[1] < 2_000_000
    spent = np.diff(times)
    assert np.median(spent[-8:]) < 1.5 * np.median(spent[:8])


@pytest.mark.host
def test_checkpointed_over_segments_memory_grows_as_the_root_of_the_length() -> None:
    """√T segments of √T steps: four times the steps take twice the memory, not four times; the gradient is the same."""
    lstm = nn.LSTM(8, 16, rng=0)

    def peak(x: Any, segments: int) -> tuple[int, np.ndarray]:
        lstm.zero_grad()
        gc.collect()
        tracemalloc.start()
        state = (np.zeros((1, 4, 16), np.float32),) * 2
        for part in np.split(x, segments):
            if segments > 1:
                state = tg.checkpoint(lambda s, part=part: lstm(part, s)[1], state)
            else:
                state = lstm(part, state)[1]
        (state[0] ** 2).sum().backward()
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest, np.concatenate([p.grad.ravel() for p in lstm.parameters()])

    plain, rooted = [], []
    for T, root in ((256, 16), (1024, 32), (4096, 64)):
        x = np.random.default_rng(0).standard_normal((T, 4, 8)).astype(np.float32)
        (whole, g), (parts, h) = peak(x, 1), peak(x, root)
        np.testing.assert_allclose(h, g, rtol=2e-3, atol=1e-6)
        plain.append(whole)
        rooted.append(parts)
    assert plain[2] > 3 * plain[1]
    assert rooted[2] < 2.4 * rooted[1] and rooted[1] < 2.4 * rooted[0] and rooted[2] < plain[2] / 8


# ---- validation and samples --------------------------------------------------------------------------------------


def test_validation_counts_every_character_once_with_its_past() -> None:
    rng = np.random.default_rng(0)
    model = CharLM(7, 5, dropout=0.5, rng=1)
    for before, text, streams in ((100, 900, 4), (64, 257, 3), (3, 40, 8), (1, 1, 2)):
        ids = rng.integers(7, size=before + text)
        found = validate(model, ids[:before], ids[before:], streams=streams, steps=50)
        assert model.training
        model.eval()
        logits, _ = model(ids[:-1, None])
        exact = tg.cross_entropy(logits[before - 1 :], ids[before:, None]).item()
        model.train()
        assert found == pytest.approx(exact, abs=2e-3)


def test_samples_follow_the_model_and_the_temperature() -> None:
    vocabulary = Vocabulary.of("abc", unknown="\ufffd")
    model = CharLM(4, 6, rng=0)
    state = model.state_dict()
    state["readout.weight"] = np.zeros_like(state["readout.weight"])
    state["readout.bias"] = np.log([0.5, 0.3, 0.2, 1e6]).astype(np.float32)  # the unknown character is likeliest
    model.load_state_dict(state)
    one, cold = write(model, vocabulary, "xa", 3000, [1.0, 0.05], np.random.default_rng(0))
    assert set(cold) == {"a"} and set(one) == {"a", "b", "c"}
    assert [one.count(c) / 3000 for c in "abc"] == pytest.approx([0.5, 0.3, 0.2], abs=0.04)
    assert write(model, vocabulary, "xa", 50, [1.0], 5) == write(model, vocabulary, "xa", 50, [1.0], 5)
    assert model.training


# ---- whatever happens --------------------------------------------------------------------------------------------

KILL = {
    "in a step": "from tinygrad7 import optim; s = optim.Adam.step\n"
    "optim.Adam.step = lambda self: os.kill(os.getpid(), 9) if self.steps == 13 else s(self)",
    "before the first step": "from tinygrad7 import optim\noptim.Adam.step = lambda self: os.kill(os.getpid(), 9)",
    "before the first save": "run.Checkpoint.save = lambda self: os.kill(os.getpid(), 9)",
    "between writing and renaming": "r, n = os.replace, iter(range(99))\n"
    "os.replace = lambda *a: os.kill(os.getpid(), 9) if next(n) == 19 else r(*a)",
    "in an evaluation": "v, n = run.validate, iter(range(99))\n"
    "run.validate = lambda *a: os.kill(os.getpid(), 9) if next(n) == 4 else v(*a)",
    "after training": "run.outputs.plot = lambda *a: os.kill(os.getpid(), 9)",
}


@pytest.mark.host
@pytest.mark.parametrize("moment", KILL)
def test_killed_it_goes_on_bit_for_bit(moment: str, text: Path, tmp_path: Path, whole: dict[str, str]) -> None:
    arguments = options(text, tmp_path, "--resume")
    killed = subprocess.run(command(arguments, KILL[moment]), cwd=ROOT, capture_output=True)
    assert killed.returncode == -9, killed.stderr.decode()
    finished = subprocess.run(command(arguments, ""), cwd=ROOT, capture_output=True)
    assert finished.returncode == 0, finished.stderr.decode()
    assert contents(tmp_path) == whole


@pytest.mark.host
def test_killed_again_and_again_by_the_clock(text: Path, tmp_path: Path, whole: dict[str, str]) -> None:
    for wait in (0.9, 1.1, 1.3, 60):
        process = subprocess.Popen(
            command(options(text, tmp_path, "--resume"), ""), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        try:
            process.communicate(timeout=wait)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
    assert process.returncode == 0
    assert contents(tmp_path) == whole


@pytest.mark.host
def test_ctrl_c_saves_and_says_how_to_go_on(text: Path, tmp_path: Path, whole: dict[str, str]) -> None:
    trouble = (
        "from tinygrad7 import optim; s = optim.Adam.step\n"
        "def step(self):\n"
        "    if self.steps == 9: os.kill(os.getpid(), signal.SIGINT)\n"
        "    return s(self)\n"
        "optim.Adam.step = step\n"
        "run.SAVE_SECONDS = 1e9"
    )
    stopped = subprocess.run(command(options(text, tmp_path), trouble), cwd=ROOT, capture_output=True)
    told = stopped.stdout.decode()
    assert stopped.returncode == 130
    assert f"everything is saved, go on with: python -m demos char_lm --resume --out {tmp_path}" in told
    history = Checkpoint(tmp_path / "checkpoint.npz")._read()["parts"]["history"]
    assert len(history["loss"]) == 10  # the step at hand was finished
    assert main(["--resume", "--out", str(tmp_path)]) == 0  # as it said: the settings come from the checkpoint
    assert contents(tmp_path) == whole


def test_ctrl_c_before_anything_is_saved(text: Path, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(char_run.Run, "length", interrupt)
    (tmp_path / "checkpoint.npz").write_bytes(b"of another run")
    assert main(options(text, tmp_path)) == 130
    assert "nothing had begun yet" in capsys.readouterr().out


# ---- what it says to bad input -----------------------------------------------------------------------------------


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


# ---- the dispatcher ----------------------------------------------------------------------------------------------


def test_the_demos_are_listed_and_found(capsys: Any) -> None:
    assert demos([]) == 0
    told = capsys.readouterr().out
    assert "char_lm" in told and "Train a character-level recurrent language model" in told
    assert demos(["char_ml"]) == 2
    assert "there is no demo 'char_ml'; is 'char_lm' meant?" in capsys.readouterr().err
    assert demos(["xyzzy"]) == 2
    with pytest.raises(SystemExit) as ended:
        demos(["char_lm", "--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    flags = "minutes steps hidden layers cell seq batch clip dropout decay seed resume text encoding prime out"
    assert all(f"--{flag}" in told for flag in flags.split(" "))
