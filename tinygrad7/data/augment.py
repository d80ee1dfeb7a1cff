"""Warping images, for training only: translate, flip, rotate, warp (elastic), noise.

A transform does nothing by itself. It can only be handed to a training stream, ``tg.data.batches(images, labels,
augment=[...], rng=...)``, which draws from its generator anew for every batch; evaluation streams refuse it, a warped
stream refuses to be read where nothing is recorded, and ``tg.train.fit`` refuses one as validation data.

Images are ``(N, H, W)`` or ``(N, C, H, W)``; dtype and shape stay. Which of these leaves the label right depends on
the task: flipping is for objects, not for handwritten digits (lecture, "Data Augmentation").
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad7.settings import check_number, check_whole


class Transform:
    """A random change to a batch of images, drawn by the training stream that owns it."""

    least_axes = 3
    name = "transform"

    def __call__(self, *_: Any) -> Any:
        raise TypeError(
            f"{self.name}: transforms change training data only, so they are not called: hand them to "
            f"tg.data.batches(images, labels, batch=..., augment=[tg.data.augment.{self.name}(...)], rng=...)"
        )

    def _check(self, images: np.ndarray) -> None:
        if not 3 <= images.ndim <= 4:
            raise ValueError(
                f"{self.name}: images must be (N, H, W) or (N, C, H, W); this array has shape {images.shape}"
            )
        fill = getattr(self, "fill", 0)
        if images.dtype.kind in "iu" and _as(np.asarray(fill, np.float64), images.dtype) != fill:
            raise ValueError(
                f"{self.name}: fill={fill} is no {images.dtype} pixel; give one that is, or images as floats"
            )

    def _draw(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The changed images, a new array of the same shape and dtype."""
        raise NotImplementedError


class translate(Transform):
    """Shift every image by whole pixels, uniformly up to ``pixels`` along each axis; ``fill`` comes in at the edges."""

    name = "translate"

    def __init__(self, pixels: int, *, fill: float = 0.0) -> None:
        check_whole("translate", 0, pixels=pixels)
        check_number("translate", -np.inf, fill=fill)
        self.pixels, self.fill = int(pixels), fill

    def _draw(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        n, (height, width) = len(images), images.shape[-2:]
        shift = rng.integers(-self.pixels, self.pixels + 1, size=(2, n))
        rows = np.arange(height) - shift[0, :, None]
        columns = np.arange(width) - shift[1, :, None]
        inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
        flat = rows.clip(0, height - 1)[:, :, None] * width + columns.clip(0, width - 1)[:, None, :]
        return np.where(_spread(inside, images), _gather(images, flat), np.asarray(self.fill, images.dtype))


class flip(Transform):
    """Mirror each image, left to right and (or) top to bottom, each with probability ``p``."""

    name = "flip"

    def __init__(self, *, horizontal: bool = True, vertical: bool = False, p: float = 0.5) -> None:
        check_number("flip", most=1, p=p)
        self.horizontal, self.vertical, self.p = horizontal, vertical, p

    def _draw(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        for wanted, axis in ((self.horizontal, -1), (self.vertical, -2)):
            if wanted:
                chosen = rng.random(len(images)) < self.p
                images = np.where(chosen.reshape(-1, *[1] * (images.ndim - 1)), np.flip(images, axis), images)
        return images


class rotate(Transform):
    """Turn each image about its centre by an angle uniform in ±``degrees``; bilinear, ``fill`` from outside."""

    name = "rotate"

    def __init__(self, degrees: float, *, fill: float = 0.0) -> None:
        check_number("rotate", most=180, degrees=degrees)
        check_number("rotate", -np.inf, fill=fill)
        self.degrees, self.fill = degrees, fill

    def _draw(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        height, width = images.shape[-2:]
        angle = np.deg2rad(rng.uniform(-self.degrees, self.degrees, size=(len(images), 1, 1)))
        down, right = np.arange(height)[:, None] - (height - 1) / 2, np.arange(width) - (width - 1) / 2
        rows = np.cos(angle) * down + np.sin(angle) * right + (height - 1) / 2
        columns = np.cos(angle) * right - np.sin(angle) * down + (width - 1) / 2
        return _sample(images, rows, columns, self.fill)


class warp(Transform):
    """Smooth elastic warp (Simard, Steinkraus and Platt, 2003).

    Every pixel is read from a place displaced by a Gaussian random field: standard deviation ``strength`` pixels
    along each axis, smoothed over ``smoothness`` pixels; ``fill`` from outside."""

    name = "warp"

    def __init__(self, strength: float, smoothness: float = 4.0, *, fill: float = 0.0) -> None:
        check_number("warp", strength=strength, smoothness=smoothness)
        check_number("warp", -np.inf, fill=fill)
        if not smoothness:
            raise ValueError("warp: smoothness must be more than 0 pixels")
        self.strength, self.smoothness, self.fill = strength, smoothness, fill

    def _draw(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        n, (height, width) = len(images), images.shape[-2:]
        smooth_rows, smooth_columns = self._smoothing(height), self._smoothing(width)
        field = self.strength * (smooth_rows @ rng.standard_normal((2, n, height, width)) @ smooth_columns.T)
        return _sample(images, np.arange(height)[:, None] + field[0], np.arange(width) + field[1], self.fill)

    def _smoothing(self, n: int) -> np.ndarray:
        """A Gaussian filter as a matrix; rows of norm 1, so that white noise keeps variance 1 at every pixel."""
        kernel = np.exp(-0.5 * ((np.arange(n)[:, None] - np.arange(n)) / self.smoothness) ** 2)
        found: np.ndarray = kernel / np.linalg.norm(kernel, axis=1, keepdims=True)
        return found


class noise(Transform):
    """Gaussian noise of standard deviation ``std``; then a pixel v becomes low + high − v with probability ``flip``.

    ``std`` is in units of the pixels, which for uint8 run from 0 to 255. So do ``low`` and ``high`` there, if they are
    not given; they are 0 and 1 for floats and bool, and must be given for other whole numbers."""

    name = "noise"

    def __init__(
        self, std: float = 0.0, *, flip: float = 0.0, low: float | None = None, high: float | None = None
    ) -> None:
        check_number("noise", std=std)
        check_number("noise", most=1, flip=flip)
        check_number("noise", -np.inf, low=0 if low is None else low, high=0 if high is None else high)
        self.std, self.flip, self.low, self.high = std, flip, low, high

    def _check(self, images: np.ndarray) -> None:
        super()._check(images)
        if 0 < self.std < 0.25 and images.dtype.kind in "iub":
            raise ValueError(
                f"noise: std={self.std} is in units of the pixels, and these are {images.dtype}: rounding would undo "
                "it; give a larger one, such as 0.1 * 255 for bytes, or images as floats"
            )
        if self.flip and (self.low is None or self.high is None) and images.dtype not in _HIGHEST:
            raise ValueError(f"noise: flip= of {images.dtype} pixels needs low= and high=, the range that they have")

    def _draw(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        values = images + self.std * rng.standard_normal(images.shape)
        if self.flip:
            low = 0 if self.low is None else self.low
            high = _HIGHEST[images.dtype] if self.high is None else self.high
            values = np.where(rng.random(images.shape) < self.flip, low + high - values, values)
        return _as(values, images.dtype)


_HIGHEST = {
    np.dtype(kind): 255 if kind == "uint8" else 1 for kind in ("uint8", "bool", "float16", "float32", "float64")
}


def _as(values: np.ndarray, dtype: Any) -> np.ndarray:
    """``values`` in ``dtype``; whole-number pixels are rounded and kept in their range."""
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        values = values.round().clip(limits.min, limits.max)
    elif dtype.kind == "b":
        values = values > 0.5
    return values.astype(dtype)


def _spread(per_pixel: np.ndarray, images: np.ndarray) -> np.ndarray:
    """``(N, H, W)`` beside images that may have channels."""
    return per_pixel if images.ndim == 3 else per_pixel[:, None]


def _gather(images: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """The pixels at ``flat`` (N, H, W) of each image, for every channel."""
    n = len(images)
    pixels = images.reshape(n, -1, images.shape[-2] * images.shape[-1])
    return np.take_along_axis(pixels, flat.reshape(n, 1, -1), axis=2).reshape(images.shape)


def _sample(images: np.ndarray, rows: np.ndarray, columns: np.ndarray, fill: float) -> np.ndarray:
    """The images read at real coordinates ``(N, H, W)``, bilinearly between the four pixels around."""
    height, width = images.shape[-2:]
    top, left = np.floor(rows), np.floor(columns)
    below, beside = rows - top, columns - left
    total: Any = 0.0
    for i, j, weight in (
        (top, left, (1 - below) * (1 - beside)),
        (top, left + 1, (1 - below) * beside),
        (top + 1, left, below * (1 - beside)),
        (top + 1, left + 1, below * beside),
    ):
        inside = (i >= 0) & (i < height) & (j >= 0) & (j < width)
        flat = (i.clip(0, height - 1) * width + j.clip(0, width - 1)).astype(np.intp)
        total = total + _spread(weight, images) * np.where(_spread(inside, images), _gather(images, flat), fill)
    return _as(total, images.dtype)
