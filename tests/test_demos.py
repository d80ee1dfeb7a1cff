"""The dispatcher of the demos."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from demos.__main__ import main as demos

ROOT = Path(__file__).parent.parent


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


@pytest.mark.host
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize(
    "said", [[], ["char_lm", "--hidden", "4", "--steps", "9", "--out"]], ids=["the list", "char_lm"]
)
def test_when_the_output_is_not_read_a_demo_ends_quietly(said: list[str], both: bool, tmp_path: Path) -> None:
    """What ``| head -0`` does, with the errors in the pipe too or apart."""
    process = subprocess.Popen(
        [sys.executable, "-m", "demos", *said, *([str(tmp_path)] if said else [])],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if both else subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    told = b"" if both or process.stderr is None else process.stderr.read()
    assert process.wait() == 141
    assert b"rror" not in told and b"char_lm: " not in told, told.decode()
