"""The main job killed or interrupted at any moment: it goes on, bit for bit."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from demos.char_lm import main
from demos.char_lm import run as char_run
from tests.char_lm import ROOT, command, contents, options, small_text, undisturbed
from tinygrad7.train import Checkpoint

text = pytest.fixture(scope="module", name="text")(small_text)
whole = pytest.fixture(scope="module", name="whole")(undisturbed)


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
