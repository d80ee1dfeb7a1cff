"""Text as whole numbers: characters or words, with unknown and end tokens."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tinygrad7.settings import check_whole

_WORD = re.compile(r" ?\w+| ?[^\w\s]|\s")  # a word takes the space before it along: joined, tokens give the text back
_LEVELS = ("characters", "words")


class Vocabulary:
    """Tokens and their indices, made from a text by ``Vocabulary.of`` or from a list of tokens.

    ``unknown`` stands for every token that is not in the list, ``end`` ends a text; both are indices of their own,
    after the tokens. Raises ``ValueError`` for an unknown level, a token given twice or longer than a character."""

    def __init__(
        self, tokens: Iterable[str], *, level: str = "characters", unknown: str | None = None, end: str | None = None
    ) -> None:
        if level not in _LEVELS:
            raise ValueError(f"Vocabulary: level must be 'characters' or 'words', not {level!r}")
        self.level, self.unknown, self.end = level, unknown, end
        special = [token for token in (unknown, end) if token is not None]
        self.tokens = [*tokens, *special]
        self._index = {token: i for i, token in enumerate(self.tokens)}
        if not self.tokens:
            raise ValueError("Vocabulary: no tokens; make one from a text with Vocabulary.of(text)")
        if len(self._index) != len(self.tokens):
            twice = next(token for token, n in Counter(self.tokens).items() if n > 1)
            raise ValueError(f"Vocabulary: the token {twice!r} is there twice")
        if level == "characters":
            plain = self.tokens[: len(self.tokens) - len(special)]
            long = [token for token in plain if len(token) != 1]
            if long:
                raise ValueError(f"Vocabulary: {long[0]!r} is no single character; for words use level='words'")
            self._table = self._make_table(plain)

    @classmethod
    def of(
        cls,
        text: str,
        *,
        level: str = "characters",
        unknown: str | None = None,
        end: str | None = None,
        size: int | None = None,
        least: int = 1,
    ) -> Vocabulary:
        """The vocabulary of ``text``: characters by code point, words by falling count.

        ``size`` keeps that many of the most frequent tokens, ``least`` those met so often or more."""
        if not isinstance(text, str):
            raise TypeError(f"Vocabulary: the text is {type(text).__name__}, not str; decode bytes first")
        check_whole("Vocabulary", size=1 if size is None else size)
        counts = Counter(_split(text, level))
        for special in (unknown, end):
            counts.pop(special or "", None)
        kept = sorted((token for token, n in counts.items() if n >= least), key=lambda token: (-counts[token], token))
        kept = kept[:size] if size is not None else kept
        if not kept:
            raise ValueError(
                f"Vocabulary: the text ({len(text)} characters) leaves no token, least={least}, size={size}"
            )
        return cls(sorted(kept) if level == "characters" else kept, level=level, unknown=unknown, end=end)

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self._index

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return self.state_dict() == other.state_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        extra = "".join(
            f", {name}={token!r}" for name, token in (("unknown", self.unknown), ("end", self.end)) if token
        )
        return f"Vocabulary({len(self)} {self.level}{extra})"

    def index(self, token: str) -> int:
        """The index of one token; that of ``unknown`` for one that is not in the list.

        Raises ``KeyError`` where there is no unknown token."""
        found = self._index.get(token, self._index.get(self.unknown) if self.unknown is not None else None)
        if found is None:
            raise KeyError(
                f"Vocabulary: no token {token!r}, and no unknown token to stand for it: make it with unknown='�'"
            )
        return found

    def encode(self, text: str, *, end: bool = False) -> np.ndarray:
        """The indices of ``text``, int64, one a token; with ``end``, then that of the end token.

        Raises ``ValueError`` for a token that is not in the list where there is no unknown token."""
        if end and self.end is None:
            raise ValueError("Vocabulary: encode(end=True) needs an end token: make it with end='<end>'")
        if self.level == "characters":
            codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
            indices = self._table[np.minimum(codes, len(self._table) - 1)]
        else:
            missing = -1 if self.unknown is None else self._index[self.unknown]
            indices = np.array([self._index.get(token, missing) for token in _split(text, "words")], dtype=np.int64)
        if indices.size and indices.min() < 0:
            where = int(np.argmax(indices < 0))
            token = text[where] if self.level == "characters" else _split(text, "words")[where]
            raise ValueError(
                f"Vocabulary: {token!r} (token {where} of the text) is not among the {len(self)} tokens: "
                "make the vocabulary of a text that holds it, or with unknown='�'"
            )
        return np.append(indices, self._index[self.end]) if end and self.end is not None else indices

    def decode(self, indices: Any) -> str:
        """The text of ``indices``; it stops at the end token. Raises ``IndexError`` for an index out of range."""
        wanted = np.asarray(indices).ravel().tolist()
        bad = [i for i in wanted if not 0 <= i < len(self)]
        if bad:
            raise IndexError(f"Vocabulary: index {bad[0]} is out of range, there are {len(self)} tokens")
        if self.end is not None and self._index[self.end] in wanted:
            wanted = wanted[: wanted.index(self._index[self.end])]
        return "".join([self.tokens[i] for i in wanted])

    def state_dict(self) -> dict[str, Any]:
        """What ``from_state_dict`` makes an equal vocabulary of; plain strings, fit for JSON."""
        special = sum(token is not None for token in (self.unknown, self.end))
        plain = self.tokens[: len(self.tokens) - special]
        return {"tokens": plain, "level": self.level, "unknown": self.unknown, "end": self.end}

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> Vocabulary:
        return cls(state["tokens"], level=state["level"], unknown=state["unknown"], end=state["end"])

    def _make_table(self, plain: Sequence[str]) -> np.ndarray:
        """Code point → index, in one look-up; the last entry stands for all code points beyond."""
        missing = -1 if self.unknown is None else self._index[self.unknown]
        table = np.full(max([ord(token) for token in plain], default=0) + 2, missing, dtype=np.int64)
        for i, token in enumerate(plain):
            table[ord(token)] = i
        return table


def _split(text: str, level: str) -> Sequence[str]:
    if level not in _LEVELS:
        raise ValueError(f"Vocabulary: level must be 'characters' or 'words', not {level!r}")
    return text if level == "characters" else _WORD.findall(text)
