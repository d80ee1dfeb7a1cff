"""Reading the text, and cutting it into training and validation."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinygrad7.data import Vocabulary

UNKNOWN = "\ufffd"


class Trouble(Exception):
    """What the user is told instead of a traceback."""


class Corpus(NamedTuple):
    """A text as indices: ``training``, the first 95 %, ``validation``, the rest."""

    name: str
    digest: str
    vocabulary: Vocabulary
    training: np.ndarray
    validation: np.ndarray


def read(path: str | None, encoding: str) -> tuple[str, str]:
    """The text of ``path``, or CPython's own manual, and its name. Raises ``Trouble`` where there is none to read."""
    if path is None:
        from pydoc_data import topics

        return "".join(topics.topics.values()), "pydoc_data.topics"
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise Trouble(f"--text {path}: it cannot be read: {error.strerror}") from error
    try:
        text = content.decode(encoding)
    except LookupError as error:
        raise Trouble(
            f"--encoding {encoding}: Python knows no such encoding; try utf-8, latin-1, cp1252, utf-16"
        ) from error
    except UnicodeError as error:
        where = f" at byte {error.start}" if isinstance(error, UnicodeDecodeError) else ""
        raise Trouble(
            f"--text {path}: it is no {encoding}{where}: name its encoding, for example --encoding latin-1"
        ) from error
    return text.removeprefix("\ufeff").replace("\r\n", "\n"), path


def prepare(text: str, name: str, least: int) -> Corpus:
    """``text`` cut in two. Characters that only validation has become the unknown character.

    Raises ``Trouble`` if training has fewer than ``least`` characters."""
    cut = len(text) - len(text) // 20
    if cut < least or cut == len(text):
        raise Trouble(
            f"{name}: {len(text):,} characters are too few: the first 95 % are for training, which needs {least:,} for "
            "one window; give a longer text, or smaller --batch and --seq"
        )
    vocabulary = Vocabulary.of(text[:cut], unknown=UNKNOWN)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return Corpus(name, digest, vocabulary, vocabulary.encode(text[:cut]), vocabulary.encode(text[cut:]))
