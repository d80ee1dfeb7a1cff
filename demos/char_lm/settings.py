"""The command line, and what is chosen for the user where he says nothing."""

from __future__ import annotations

import argparse
import math
import os
from typing import Any

from demos.char_lm.model import CELLS, EMBEDDING
from demos.char_lm.text import Trouble

MATRICES = {"rnn": 1, "lstm": 4, "gru": 3, "mrnn": 2}  # of H rows or columns, on either side of a layer
MOST_LAYERS = 100
SHORT = 5.0  # minutes; longer runs get the larger model, which needs dropout

COMMON: dict[str, Any] = {
    "minutes": 1.3,
    "steps": None,
    "layers": 1,
    "cell": "lstm",
    "seq": 64,
    "batch": 32,
    "clip": 1.0,
    "seed": 0,
    "text": None,
    "encoding": "utf-8",
    "prime": "The ",
}
QUICK: dict[str, Any] = {"hidden": 256, "dropout": 0.0, "decay": 0.0, "rate": 1.2e-2, "most": 2500, "evaluations": 12}
LONG: dict[str, Any] = {"hidden": 512, "dropout": 0.5, "decay": 0.02, "rate": 5e-3, "most": 40_000, "evaluations": 40}

_HELP = {
    "minutes": "how long; the number of steps is set from it once, by timing a few (default 1.3)",
    "steps": "how many steps, whatever the time they take",
    "hidden": "units in a layer (256; 512 for runs over 5 minutes)",
    "layers": "recurrent layers (1)",
    "seq": "time steps in a window of truncated backpropagation (64)",
    "batch": "streams side by side (32)",
    "clip": "gradients are clipped to this norm (1)",
    "dropout": "probability that a unit is dropped (0; 0.5 for runs over 5 minutes)",
    "decay": "decoupled weight decay (0; 0.02 for runs over 5 minutes)",
    "seed": "the same seed and number of steps give the same run, bit for bit (0)",
    "text": "a text file of yours (default: pydoc_data.topics, CPython's manual)",
    "encoding": "of that file, any that Python knows (utf-8)",
    "prime": "what the samples go on from ('The ')",
}
_OUT = "where everything goes (out/char_lm); what an earlier run left there is kept in a folder earlier-1, -2, ..."
_KIND: dict[str, Any] = {"minutes": float, "clip": float, "dropout": float, "decay": float}
_WORDS = ("text", "encoding", "prime")


def parse(arguments: list[str]) -> tuple[dict[str, Any], str, bool]:
    """What was said on the command line, and only that; the folder; whether to resume."""
    parser = argparse.ArgumentParser(
        prog="python -m demos char_lm",
        description="Train a character-level recurrent language model and let it write.",
        argument_default=argparse.SUPPRESS,
    )
    for name, text in _HELP.items():
        kind = _KIND.get(name, str if name in _WORDS else int)
        parser.add_argument(f"--{name}", type=kind, help=text, metavar="FILE" if name == "text" else name[0].upper())
    parser.add_argument("--cell", choices=sorted(CELLS), help="the kind of recurrent layer (lstm)")
    parser.add_argument("--resume", action="store_true", default=False, help="go on with the run in --out, bit for bit")
    parser.add_argument("--out", default="out/char_lm", metavar="FOLDER", help=_OUT)
    said = vars(parser.parse_args(arguments))
    out, resume = said.pop("out"), said.pop("resume")
    return said, out, resume


def complete(said: dict[str, Any]) -> dict[str, Any]:
    """All settings: those said, and for the others the defaults that suit the length of the run.

    Raises ``Trouble`` for one that makes no sense."""
    long = said.get("minutes", 0.0) > SHORT or (said.get("steps") or 0) > 10_000
    settings = {**COMMON, **(LONG if long else QUICK), **said}
    for name in ("minutes", "decay"):
        if not math.isfinite(settings[name]):
            raise Trouble(f"--{name} must be a finite number, not {settings[name]}")
    for name in ("minutes", "hidden", "layers", "seq", "batch", "clip"):
        if not settings[name] > 0:
            raise Trouble(f"--{name} must be more than 0, not {settings[name]}")
    if settings["layers"] > MOST_LAYERS:
        raise Trouble(f"--layers must be at most {MOST_LAYERS}, not {settings['layers']}")
    need, there = memory(settings), machine_memory()
    if need > there:
        raise Trouble(
            f"--hidden {settings['hidden']} and --layers {settings['layers']} make a model of {need / 2**30:,.0f} GiB "
            f"with its gradients and Adam's averages, and this machine has {there / 2**30:,.0f}: take smaller ones"
        )
    if settings["steps"] is not None and settings["steps"] < 1:
        raise Trouble(f"--steps must be at least 1, not {settings['steps']}")
    if not 0 <= settings["dropout"] < 1:
        raise Trouble(f"--dropout is a probability below 1, not {settings['dropout']}")
    for name in ("decay", "seed"):
        if settings[name] < 0:
            raise Trouble(f"--{name} must be at least 0, not {settings[name]}")
    settings["prime"] = settings["prime"] or "\n"
    return settings


def memory(settings: dict[str, Any]) -> float:
    """Bytes that the recurrent weights take in training: value, gradient and two averages, of 4 bytes each."""
    H, layers, matrices = settings["hidden"], settings["layers"], MATRICES[settings["cell"]]
    return 16 * matrices * H * (EMBEDDING + H + 2 * H * (layers - 1))


def machine_memory() -> float:
    """Bytes of memory in this machine, infinitely many where it does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return math.inf


def agree(said: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """The settings of the run to be resumed. Raises ``Trouble`` if something else was said now."""
    for name, value in said.items():
        if value != before[name] and not (name == "steps" and value == before["total"]):
            raise Trouble(
                f"--resume: the run was started with --{name} {before[name]}, not {value}: leave the option out to go "
                "on, or --resume to start anew"
            )
    return before
