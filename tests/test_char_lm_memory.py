"""Long runs and long sequences: memory and time do not grow with them."""

from __future__ import annotations

import gc
import time
import tracemalloc
from typing import Any

import numpy as np
import psutil
import pytest

import tinygrad7 as tg
from demos.char_lm.model import CharLM
from tinygrad7 import nn, optim
from tinygrad7.data import bptt_batches
from tinygrad7.train import fit


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
    assert spent[-8:].min() < 1.5 * spent[:8].min()  # the least: a busy machine only adds


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
