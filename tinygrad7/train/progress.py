"""A progress bar where tqdm is installed, quiet where it is not; and Ctrl-C that waits for the end of a step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from tinygrad7.train.history import History


class Bar:
    """Progress over ``total`` steps, with a text made from the history. Shows nothing without tqdm."""

    def __init__(self, total: int | None, history: History, shown: bool | Callable[[History], str]) -> None:
        self.history, self.tell = history, shown if callable(shown) else _tell
        self._bar: Any = None
        if shown:
            try:
                from tqdm import tqdm
            except ImportError:
                return
            self._bar = tqdm(total=total, initial=history.step, unit="step", dynamic_ncols=True, mininterval=0.25)

    def __enter__(self) -> Bar:
        return self

    def advance(self) -> None:
        """One step further."""
        if self._bar is not None:
            self._bar.set_postfix_str(self.tell(self.history), refresh=False)
            self._bar.update()

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()


def _tell(history: History) -> str:
    found = f"loss {history.recent():.4f}, gradient norm {history.grad_norm[-1]:.3g}"
    return found + (f", validation {history.validation[-1]:.4f}" if history.validation else "")


class Interruption:
    """While it holds, Ctrl-C is noted (``asked``) so that the step at hand ends; a second Ctrl-C interrupts at once.

    Does nothing if not ``wanted``, and outside the main thread, where Python allows no signal handlers."""

    def __init__(self, wanted: bool = True) -> None:
        self.wanted, self.asked = wanted, False
        self._before: Any = None

    def __enter__(self) -> Interruption:
        if self.wanted and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __exit__(self, *exception: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
