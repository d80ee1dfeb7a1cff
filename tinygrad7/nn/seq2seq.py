"""``EncoderDecoder``: one recurrent net reads a sequence, another writes one (Cho et al.; Sutskever et al., 2014)."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad7.backend import to_device, to_numpy
from tinygrad7.context import no_grad, step
from tinygrad7.messages import ShapeError
from tinygrad7.nn.linear import Embedding, Linear
from tinygrad7.nn.module import Module
from tinygrad7.nn.recurrent import GRU, LSTM, RNN, Recurrent
from tinygrad7.ops.loss import cross_entropy
from tinygrad7.ops.shape import shape_of
from tinygrad7.random import generator
from tinygrad7.tensor import value_of

CELLS: dict[str, type[Recurrent]] = {"rnn": RNN, "lstm": LSTM, "gru": GRU}


class EncoderDecoder(Module):
    """Sequence to sequence: the encoder's final state is the decoder's first.

    ``logits = model(source, target)``: source (S, B) and target (T, B) integers; logits (T, B, target_size), those of
    step t after the target's tokens before t (teacher forcing). The decoder begins with the token ``end``, and writes
    until it writes ``end`` itself; targets hold it as their last token. ``loss`` counts what stands up to it;
    ``write`` gives the decoder's own sequences. ``cell``: "lstm", "gru" or "rnn"; ``embedding``: the size of the token
    vectors, ``hidden_size`` unless given. Slides "Neural Machine Translation".
    """

    def __init__(
        self,
        source_size: int,
        target_size: int,
        hidden_size: int,
        *,
        end: int,
        embedding: int | None = None,
        cell: str = "lstm",
        num_layers: int = 1,
        dropout: float = 0.0,
        rng: Any = None,
    ) -> None:
        if cell not in CELLS:
            raise ValueError(f"EncoderDecoder: cell must be one of {', '.join(map(repr, CELLS))}, not {cell!r}")
        if not 0 <= end < target_size:
            raise ValueError(f"EncoderDecoder: end must be a target token, 0 to {target_size - 1}, not {end}")
        rng, size = generator(rng), hidden_size if embedding is None else embedding
        options: dict[str, Any] = {"num_layers": num_layers, "dropout": dropout, "rng": rng}
        self.end, self.target_size = end, target_size
        self.source_embedding = Embedding(source_size, size, rng=rng)
        self.encoder = CELLS[cell](size, hidden_size, **options)
        self.target_embedding = Embedding(target_size, size, rng=rng)
        self.decoder = CELLS[cell](size, hidden_size, **options)
        self.readout = Linear(hidden_size, target_size, rng=rng)

    def encode(self, source: Any, lengths: Any = None) -> Any:
        """The encoder's final state after ``source`` (S, B), of which ``lengths`` (B) tokens each are read."""
        return self.encoder(self.source_embedding(source), lengths=lengths)[1]

    def _tokens(self, name: str, value: Any) -> Any:
        shape = shape_of(value)
        if len(shape) != 2:
            raise ShapeError(f"EncoderDecoder: {name} must be integers (T, B), steps first; got {shape}")
        return value

    def forward(self, source: Any, target: Any, *, source_lengths: Any = None) -> Any:
        host, source = _host(self._tokens("target", target)), self._tokens("source", source)
        if host.shape[1] != shape_of(source)[1]:
            raise ShapeError(f"EncoderDecoder: {shape_of(source)[1]} sources but {host.shape[1]} targets")
        before = np.concatenate([np.full((1, host.shape[1]), self.end, host.dtype), host])[: len(host)]
        y, _ = self.decoder(self.target_embedding(self._here(before)), self.encode(source, source_lengths))
        return self.readout(y)

    def loss(self, source: Any, target: Any, *, source_lengths: Any = None) -> Any:
        """Cross-entropy in nats a token, the mean over targets up to and with their first ``end``."""
        host = _host(self._tokens("target", target))
        ended = np.cumsum(host == self.end, axis=0) - (host == self.end) > 0
        logits = self.forward(source, target, source_lengths=source_lengths)
        return cross_entropy(logits, self._here(host), mask=self._here((~ended).astype(logits.dtype)))

    def write(
        self,
        source: Any,
        *,
        source_lengths: Any = None,
        max_steps: int = 100,
        temperature: float = 0.0,
        rng: Any = None,
    ) -> list[np.ndarray]:
        """For each source the sequence that the decoder writes, without ``end``, of at most ``max_steps`` tokens.

        ``temperature`` 0 takes the likeliest token each time; otherwise tokens are drawn from
        softmax(logits / temperature) by ``rng``. Raises ``ValueError`` for a negative temperature."""
        if not temperature >= 0:
            raise ValueError(f"EncoderDecoder.write: temperature must be at least 0, not {temperature}")
        rng, batch = generator(rng), shape_of(self._tokens("source", source))[1]
        written: list[np.ndarray] = []
        token, done = np.full((1, batch), self.end), np.zeros(batch, bool)
        with no_grad():
            state = self.encode(source, source_lengths)
            for t in range(max_steps):
                with step(t):
                    y, state = self.decoder(self.target_embedding(self._here(token)), state)
                    logits = _host(self.readout(y)).astype(np.float64)
                if temperature:  # Gumbel's trick: the largest of logits / temperature + noise is such a draw
                    logits = logits / temperature + rng.gumbel(size=logits.shape)
                token = logits.argmax(axis=-1)
                done |= token[0] == self.end
                if done.all():
                    break
                written.append(np.where(done, self.end, token[0]))
        rows = np.array(written, dtype=np.int64).reshape(len(written), batch)
        return [row[: int((row != self.end).sum())] for row in rows.T]

    def _here(self, host: np.ndarray) -> Any:
        """A host array where the parameters live."""
        return to_device(host, self.readout.weight.device)

    def extra_repr(self) -> str:
        return f"end = {self.end}"


def _host(value: Any) -> np.ndarray:
    return to_numpy(value_of(value))
