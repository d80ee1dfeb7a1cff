"""The main job: what it prints and leaves, what is chosen for the user, how it reads and writes."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from demos.char_lm import main
from demos.char_lm import run as char_run
from demos.char_lm.model import CharLM, bits, validate, write
from demos.char_lm.settings import complete
from demos.char_lm.text import prepare, read
from tests.char_lm import FILES, TINY, contents, options, small_text, undisturbed
from tinygrad7.data import Vocabulary
from tinygrad7.train import Checkpoint

text = pytest.fixture(scope="module", name="text")(small_text)
whole = pytest.fixture(scope="module", name="whole")(undisturbed)


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


def test_a_second_run_keeps_the_first(text: Path, tmp_path: Path, capsys: Any) -> None:
    """The same command once more, without --resume: nothing of the first run is lost, and it can be resumed yet."""
    (tmp_path / "notes.txt").write_text("mine")
    assert main(options(text, tmp_path, steps=3)) == 0
    assert "kept" not in capsys.readouterr().out
    first = contents(tmp_path)
    assert main(options(text, tmp_path, "--seed", "1", steps=2)) == 0
    assert f"kept        the run that was in {tmp_path} is in {tmp_path / 'earlier-1'} now" in capsys.readouterr().out
    assert contents(tmp_path / "earlier-1") == first and (tmp_path / "earlier-1" / "unrolled.svg").exists()
    second = contents(tmp_path)
    assert all(second[name] != first[name] for name in FILES)
    assert main(["--text", str(tmp_path / "none.txt"), "--out", str(tmp_path)]) == 2  # a run that does not begin
    assert contents(tmp_path) == second
    assert main(options(text, tmp_path, steps=1)) == 0
    assert contents(tmp_path / "earlier-2") == second and (tmp_path / "notes.txt").read_text() == "mine"
    assert main(["--resume", "--out", str(tmp_path / "earlier-1")]) == 0
    assert contents(tmp_path / "earlier-1") == first


def test_what_is_chosen_for_the_user() -> None:
    quick, long = complete({}), complete({"minutes": 20.0})
    assert (quick["hidden"], quick["dropout"], quick["seq"], quick["batch"]) == (256, 0.0, 64, 32)
    assert long["hidden"] == 512 and long["dropout"] > 0 and long["decay"] > 0
    assert complete({"minutes": 20.0, "dropout": 0.0, "hidden": 9})["hidden"] == 9
    assert quick["minutes"] < 2 and complete({"prime": ""})["prime"] == "\n"


@pytest.mark.filterwarnings("error")
def test_a_single_layer_has_dropout_around_it_and_two_between_them_too() -> None:
    one, two = (CharLM(9, 5, layers=layers, dropout=0.5, rng=0) for layers in (1, 2))
    assert [m.recurrent.dropout for m in (one, two)] == [0.0, 0.5] and one.drop.rho == two.drop.rho == 0.5


def test_the_default_text_and_split() -> None:
    from pydoc_data import topics

    corpus = prepare(*read(None, "utf-8"), least=1)
    whole = "".join(topics.topics.values())
    assert corpus.name == "pydoc_data.topics"
    assert corpus.vocabulary.decode(corpus.training) == whole[: len(corpus.training)]
    assert len(corpus.training) + len(corpus.validation) == len(whole)
    assert abs(len(corpus.validation) / len(whole) - 0.05) < 0.001


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
