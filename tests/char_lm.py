"""The main job on a small text: options, the folder it leaves, and the run that others are held against."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
TINY = ["--hidden", "12", "--batch", "4", "--seq", "8", "--dropout", "0.2", "--layers", "2"]
FILES = ["checkpoint.npz", "loss.png", "metrics.csv", "model.npz", "samples.txt"]


def small_text(tmp_path_factory: Any) -> Path:
    path: Path = tmp_path_factory.mktemp("text") / "text.txt"
    words = np.random.default_rng(0).choice(["the ", "cat ", "sat.\n", "on ", "a ", "mat, ", "ünder "], size=600)
    path.write_text("".join(words), encoding="utf-8")
    return path


def options(text: Path, out: Path, *more: str, steps: int = 24) -> list[str]:
    return [*TINY, "--text", str(text), "--steps", str(steps), "--out", str(out), *more]


def contents(out: Path) -> dict[str, str]:
    """Every file of the run's folder by its digest."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(out.iterdir()) if p.name in FILES}


def undisturbed(text: Path, tmp_path_factory: Any) -> dict[str, str]:
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
