"""Warping images: for training only; what each transform does, and refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad7 as tg
from tinygrad7.data import augment, batches

IMAGES = np.random.default_rng(1).random((6, 8, 8))


def warped(*transforms: Any, images: Any = IMAGES, rng: Any = 0) -> np.ndarray:
    stream = batches(images, batch=len(images), augment=list(transforms), rng=rng)
    (x,) = stream
    order = np.random.default_rng(rng).permutation(len(images))  # the stream's first draw
    restored = np.empty_like(x.numpy())
    restored[order] = x.numpy()
    return restored


def test_evaluation_data_cannot_be_warped() -> None:
    with pytest.raises(ValueError, match="augment= is for training data"):
        batches(IMAGES, batch=2, training=False, augment=[augment.flip()])
    with pytest.raises(ValueError, match="rng= is for training data"):
        batches(IMAGES, batch=2, training=False, rng=1)
    with pytest.raises(ValueError, match="drop_last= is for training data"):
        batches(IMAGES, batch=2, training=False, drop_last=True)
    for transform in (augment.flip(), augment.translate(1), augment.rotate(5), augment.warp(1), augment.noise(0.1)):
        with pytest.raises(TypeError, match=f"{transform.name}: transforms change training data only"):
            transform(IMAGES)
    stream = batches(IMAGES, batch=2, augment=augment.flip())
    with tg.no_grad(), pytest.raises(RuntimeError, match="evaluate on batches"):
        next(iter(stream))
    with tg.no_grad():  # nothing wrong with reading data that is not warped
        next(iter(batches(IMAGES, batch=2)))
    with pytest.raises(TypeError, match="not function"):
        batches(IMAGES, batch=2, augment=[lambda x: x])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="images must be"):
        batches(np.zeros((3, 4)), batch=2, augment=augment.flip())


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("channels", [None, 3])
def test_transforms_keep_shape_and_dtype_and_change_the_values(dtype: str, channels: int | None) -> None:
    shape = (5, 9, 7) if channels is None else (5, channels, 9, 7)
    images = (np.random.default_rng(0).random(shape) * 200).astype(dtype)
    before = images.copy()
    for transform in (
        augment.flip(horizontal=True, vertical=True),
        augment.translate(2),
        augment.rotate(30),
        augment.warp(1.5, 2.0),
        augment.noise(9.0),
    ):
        found = warped(transform, images=images)
        assert found.shape == shape and found.dtype == dtype
        assert (found != images).any()
    np.testing.assert_array_equal(images, before)


def test_transforms_of_size_zero_change_nothing() -> None:
    for transform in (
        augment.flip(p=0),
        augment.translate(0),
        augment.rotate(0),
        augment.warp(0),
        augment.noise(),
    ):
        np.testing.assert_allclose(warped(transform), IMAGES, atol=1e-12)


def test_translate_shifts_whole_images_and_fills() -> None:
    image = np.arange(1.0, 26.0).reshape(1, 5, 5)
    seen = set()
    for seed in range(60):
        found = warped(augment.translate(1, fill=-7.0), images=image, rng=seed)[0]
        padded = np.pad(image[0], 1, constant_values=-7.0)
        shifts = [(i, j) for i in range(3) for j in range(3) if np.array_equal(padded[i : i + 5, j : j + 5], found)]
        assert len(shifts) == 1
        seen.add(shifts[0])
    assert len(seen) == 9


def test_flip_mirrors_about_the_named_axis() -> None:
    both = [(True, False, -1), (False, True, -2)]
    for horizontal, vertical, axis in both:
        found = warped(augment.flip(horizontal=horizontal, vertical=vertical, p=1.0))
        np.testing.assert_array_equal(found, np.flip(IMAGES, axis))
    some = warped(augment.flip(), images=np.arange(400.0).reshape(100, 1, 4))
    mirrored = (some[:, 0, 0] > some[:, 0, 3]).mean()
    assert 0.3 < mirrored < 0.7


def test_rotation_turns_about_the_centre() -> None:
    class quarter(augment.rotate):
        """Always by 90 degrees: the generator is asked for an angle and gives the largest."""

        def _draw(self, images: np.ndarray, rng: Any) -> np.ndarray:
            class Largest:
                @staticmethod
                def uniform(low: float, high: float, size: Any) -> np.ndarray:
                    return np.full(size, high)

            return super()._draw(images, Largest())  # type: ignore[arg-type]

    np.testing.assert_allclose(warped(quarter(90)), np.rot90(IMAGES, axes=(1, 2)), atol=1e-12)
    np.testing.assert_allclose(warped(quarter(180)), IMAGES[:, ::-1, ::-1], atol=1e-12)


@given(strength=st.floats(0.2, 2.0), smoothness=st.floats(1.0, 5.0))
def test_warp_reads_from_displaced_places(strength: float, smoothness: float) -> None:
    """On a ramp, the change of the value is the displacement: it has the strength asked for, and is smooth."""
    ramp = np.broadcast_to(np.arange(64.0), (8, 64, 64)) + 100
    found = warped(augment.warp(strength, smoothness), images=ramp)[:, 12:-12, 12:-12]
    displacement = found - ramp[:, 12:-12, 12:-12]
    assert 0.75 * strength < displacement.std() < 1.25 * strength
    neighbours = np.diff(displacement, axis=2).std()
    assert neighbours < 1.2 * strength / smoothness


def test_noise_has_its_deviation_and_flips_its_share_of_pixels() -> None:
    blank = np.zeros((10, 40, 40))
    assert abs(warped(augment.noise(0.3), images=blank).std() - 0.3) < 0.01
    flipped = warped(augment.noise(flip=0.2, low=0.0, high=1.0), images=blank)
    assert set(np.unique(flipped)) == {0.0, 1.0} and abs(flipped.mean() - 0.2) < 0.02
    bits = warped(augment.noise(flip=0.5), images=blank > 1)
    assert bits.dtype == bool and 0.4 < bits.mean() < 0.6
    bytes_ = warped(augment.noise(10.0), images=np.full((2, 9, 9), 250, np.uint8))
    assert bytes_.max() == 255 and bytes_.min() > 190  # kept in range instead of wrapping round


@pytest.mark.parametrize(("dtype", "high"), [("uint8", 255), ("float32", 1), ("bool", 1)])
def test_a_flipped_pixel_mirrors_the_range_of_its_dtype(dtype: str, high: int) -> None:
    images = (np.random.default_rng(0).random((3, 5, 5)) * (high + 1)).clip(0, high).astype(dtype)
    found = warped(augment.noise(flip=1.0), images=images)
    np.testing.assert_allclose(found, high - images.astype(float), atol=1e-6)
    np.testing.assert_array_equal(warped(augment.flip(p=1.0), images=images), images[..., ::-1])


def test_what_whole_number_pixels_cannot_hold_is_refused() -> None:
    images = np.zeros((2, 4, 4), np.uint8)

    def refused(transform: Any, message: str, dtype: str = "uint8") -> None:
        with pytest.raises(ValueError, match=message):
            batches(images.astype(dtype), batch=2, augment=transform)

    refused(augment.noise(0.1), "noise: std=0.1 is in units of the pixels, and these are uint8: rounding would undo it")
    refused(augment.noise(0.1), "these are bool", "bool")
    refused(augment.noise(flip=0.1), r"noise: flip= of int64 pixels needs low= and high=, the range", "int64")
    batches(images.astype(int), batch=2, augment=augment.noise(flip=0.1, low=0, high=9))
    for make in (augment.translate, augment.rotate, augment.warp):
        for fill in (300, -1, 0.5):
            refused(
                make(1, fill=fill), f"{make.name}: fill={fill} is no uint8 pixel; give one that is, or images as floats"
            )
        batches(images, batch=2, augment=make(1, fill=255))


def test_transforms_refuse_settings_out_of_range() -> None:
    for make, message in (
        (lambda: augment.translate(-1), "translate: pixels must be a whole number of at least 0, not -1"),
        (lambda: augment.translate(1.5), "pixels must be a whole number of at least 0, not 1.5"),
        (lambda: augment.flip(p=1.1), r"flip: p must be a number, 0 <= p <= 1, not 1\.1"),
        (lambda: augment.rotate(181), "rotate: degrees must be a number, 0 <= degrees <= 180, not 181"),
        (lambda: augment.warp(-1), "warp: strength must be a number, 0 <= strength < inf, not -1"),
        (lambda: augment.warp(1, 0), "warp: smoothness must be more than 0"),
        (lambda: augment.warp(float("nan")), "warp: strength must be a number"),
        (lambda: augment.noise(-0.1), "noise: std"),
        (lambda: augment.noise(float("nan")), "noise: std"),
        (lambda: augment.noise(flip=2), "noise: flip must be a number, 0 <= flip <= 1, not 2"),
        (lambda: augment.noise(None), "noise: std must be a number"),
        (lambda: augment.noise(high="1"), "noise: high must be a number"),
        (lambda: augment.rotate(1, fill=None), "rotate: fill must be a number"),
        (lambda: augment.warp(1, fill=None), "warp: fill must be a number"),
        (lambda: augment.translate(1, fill=float("inf")), "translate: fill must be a number"),
    ):
        with pytest.raises(ValueError, match=message):
            make()  # type: ignore[no-untyped-call]
