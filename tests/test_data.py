"""Streams of batches, windows for truncated backpropagation, vocabularies, warping, bagging."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad7 as tg
from tinygrad7.data import Vocabulary, augment, bagging, batches, bptt_batches


def numbers(stream: Any) -> list[list[int]]:
    return [x.numpy().ravel().tolist() for x in stream]


# ---- batches -----------------------------------------------------------------------------------------------------


@given(n=st.integers(1, 40), batch=st.integers(1, 12), drop_last=st.booleans(), seed=st.integers(0, 99))
def test_a_training_epoch_gives_every_example_once(n: int, batch: int, drop_last: bool, seed: int) -> None:
    if drop_last and batch > n:
        return
    stream = batches(np.arange(n), -np.arange(n), batch=batch, rng=seed, drop_last=drop_last)
    found = [(x.numpy(), y.numpy()) for x, y in stream]
    assert len(found) == len(stream)
    assert all((x == -y).all() for x, y in found)
    seen = sorted(np.concatenate([x for x, _ in found]).tolist())
    assert seen == list(range(n)) if not drop_last else len(seen) == n // batch * batch == len(set(seen))
    assert all(len(x) == batch for x, _ in found[:-1])


def test_shuffled_anew_each_epoch_and_alike_from_the_same_seed() -> None:
    first, second = batches(np.arange(50), batch=7, rng=3), batches(np.arange(50), batch=7, rng=3)
    one, two = numbers(first), numbers(first)
    assert one != two
    assert [one, two] == [numbers(second), numbers(second)]
    tg.seed(5)
    from_seed = numbers(batches(np.arange(50), batch=7))
    tg.seed(5)
    assert numbers(batches(np.arange(50), batch=7)) == from_seed


def test_evaluation_streams_keep_the_order_and_start_again() -> None:
    stream = batches(np.arange(10), batch=4, training=False)
    for x in stream:
        assert x.numpy().tolist() == [0, 1, 2, 3]
        break
    assert numbers(stream) == numbers(stream) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@given(stop=st.integers(0, 9), seed=st.integers(0, 9))
def test_a_stream_goes_on_where_its_state_was_taken(stop: int, seed: int) -> None:
    images = np.random.default_rng(0).random((11, 4, 4)).astype(np.float32)

    def make() -> Any:
        return batches(images, batch=3, augment=[augment.translate(1), augment.noise(0.1)], rng=seed)

    def endless(stream: Any) -> Any:
        while True:
            yield from stream

    whole = make()
    walk = endless(whole)
    for _ in range(stop):
        next(walk)
    state = whole.state_dict()
    rest = [next(walk).numpy() for _ in range(5)]
    other = make()
    other.load_state_dict(state)
    again = endless(other)
    for expected in rest:
        np.testing.assert_array_equal(next(again).numpy(), expected)


def test_batches_refuse_what_makes_no_batch() -> None:
    x = np.zeros((4, 2))
    with pytest.raises(ValueError, match="no arrays"):
        batches(batch=2)
    with pytest.raises(ValueError, match="4 and 3 examples"):
        batches(x, x[:3], batch=2)
    with pytest.raises(ValueError, match="every batch would be empty"):
        batches(x[:0], batch=2)
    with pytest.raises(ValueError, match="at least 1, not 0"):
        batches(x, batch=0)
    with pytest.raises(ValueError, match=r"not 2\.5"):
        batches(x, batch=2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="fill no batch of 5"):
        batches(x, batch=5, drop_last=True)
    with pytest.raises(TypeError, match="argument 1 is list"):
        batches(x, [1, 2, 3, 4], batch=2)
    with pytest.raises(TypeError, match="needs a gradient"):
        batches(tg.tensor(x, requires_grad=True), batch=2)
    with pytest.raises(ValueError, match="belongs to 3 examples"):
        other = batches(x[:3], batch=1)
        next(iter(other))
        batches(x, batch=2).load_state_dict(other.state_dict())


# ---- warping is for training only --------------------------------------------------------------------------------

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


def test_transforms_refuse_settings_out_of_range() -> None:
    for make, message in (
        (lambda: augment.translate(-1), "translate: pixels"),
        (lambda: augment.translate(1.5), "whole number"),
        (lambda: augment.flip(p=1.1), "flip: p is a probability"),
        (lambda: augment.rotate(181), "rotate: degrees"),
        (lambda: augment.warp(-1), "warp: needs strength"),
        (lambda: augment.warp(1, 0), "smoothness > 0"),
        (lambda: augment.warp(float("nan")), "warp: needs strength"),
        (lambda: augment.noise(-0.1), "noise: std"),
        (lambda: augment.noise(float("nan")), "noise: std"),
        (lambda: augment.noise(flip=2), "noise: flip is a probability"),
    ):
        with pytest.raises(ValueError, match=message):
            make()  # type: ignore[no-untyped-call]


# ---- windows for truncated backpropagation -----------------------------------------------------------------------


def counter(x: Any, state: Any) -> tuple[Any, Any]:
    """A "model" whose output is every input so far, added up: its state shows whether it was carried."""
    outputs, total = [], tg.zeros(x.shape[1:]) if state is None else state
    for t in range(len(x)):
        total = total + x[t]
        outputs.append(total)
    return tg.stack(outputs), total


@given(n=st.integers(2, 90), batch=st.integers(1, 4), k1=st.integers(1, 7), more=st.integers(0, 9))
def test_every_target_comes_once_with_the_state_of_its_whole_past(n: int, batch: int, k1: int, more: int) -> None:
    """Whatever k1 and k2: as far as values go, truncation is invisible."""
    if n < batch + 1:
        return
    sequence = np.arange(1, n + 1)
    windows = bptt_batches(sequence, batch=batch, k1=k1, k2=k1 + more)
    steps = (n - 1) // batch
    for _ in range(2):  # epochs are alike
        outputs, targets, count = [], [], 0
        for x, y in windows:
            assert len(x) <= k1 + more and len(y) <= k1
            found = windows.unroll(counter, x)
            assert found.shape == y.shape
            outputs.append(found.numpy())
            targets.append(y.numpy())
            count += 1
        assert count == len(windows)
        streams = sequence[: steps * batch].reshape(batch, steps).T
        np.testing.assert_array_equal(np.concatenate(outputs), np.cumsum(streams, axis=0))
        np.testing.assert_array_equal(np.concatenate(targets), streams + 1)
        assert windows.state is None and windows.position == 0
    assert windows.epoch == 2


def test_the_gradient_goes_back_over_k2_steps_and_no_further() -> None:
    """h_t = w h_{t−1} + x_t: the error at the end of a window, against the truncated sum computed by hand."""
    sequence = np.random.default_rng(0).integers(1, 5, size=24)
    value = 0.7
    for k1, k2 in ((4, 4), (3, 6), (2, 7), (1, 5)):
        w = tg.tensor(np.float64(value), requires_grad=True)

        def model(x: Any, h: Any, w: Any = w) -> tuple[Any, Any]:
            outputs = []
            for t in range(len(x)):
                h = w * (0.0 if h is None else h) + x[t]
                outputs.append(h)
            return tg.stack(outputs), h

        windows = bptt_batches(sequence, batch=1, k1=k1, k2=k2)
        end = 0
        for x, y in windows:
            end += len(y)
            w.grad = None
            windows.unroll(model, x)[-1].sum().backward()
            start = max(0, end - len(y) + k1 - k2)
            hidden = [0.0]
            for a in sequence:
                hidden.append(value * hidden[-1] + a)
            # ∂h_end/∂w = Σ_{s in window} w^{end−1−s} h_s, the window's initial h being a constant
            expected = sum(value ** (end - 1 - s) * hidden[s] for s in range(start, end))
            np.testing.assert_allclose(w.grad, expected, rtol=1e-12)


def test_windows_do_not_hold_the_graph_of_the_past() -> None:
    w = tg.tensor(1.0, requires_grad=True)
    windows = bptt_batches(np.ones(40, int), batch=2, k1=4)
    for x, _ in windows:
        out = windows.unroll(lambda x, h: ((x * w), (x * w).sum(axis=0) + (0.0 if h is None else h)), x)
        assert not windows.state.requires_grad
        assert out.requires_grad
        out.sum().backward()


@given(stop=st.integers(0, 14), shift=st.booleans())
def test_windows_go_on_where_their_state_was_taken(stop: int, shift: bool) -> None:
    def make() -> Any:
        return bptt_batches(np.arange(60), batch=2, k1=5, k2=8, shift=shift, rng=3)

    def endless(windows: Any) -> Any:
        while True:
            for x, y in windows:
                yield windows.unroll(counter, x).numpy(), y.numpy()

    one = make()
    walk = endless(one)
    for _ in range(stop):
        next(walk)
    two = make()
    two.load_state_dict(one.state_dict())
    again = endless(two)
    for _ in range(9):
        for a, b in zip(next(walk), next(again), strict=True):
            np.testing.assert_array_equal(a, b)


def test_shifted_epochs_start_elsewhere() -> None:
    windows = bptt_batches(np.arange(100), batch=1, k1=10, shift=True, rng=0)
    starts = set()
    for _ in range(40):
        starts.add(int(next(iter(windows))[0].numpy()[0, 0]))
        for _ in windows:
            pass
    assert starts <= set(range(10)) and len(starts) > 5


def test_restart_goes_back_to_the_beginning() -> None:
    windows = bptt_batches(np.arange(20), batch=1, k1=4)
    x, _ = next(iter(windows))
    windows.unroll(counter, x)
    windows.restart()
    assert windows.state is None
    assert numbers(x for x, _ in windows)[0] == [0, 1, 2, 3]


def test_windows_refuse_what_cannot_be_cut() -> None:
    text = np.arange(10)
    with pytest.raises(ValueError, match="1-d array of indices"):
        bptt_batches(text.reshape(2, 5), batch=1, k1=1)
    with pytest.raises(ValueError, match="not list"):
        bptt_batches([1, 2, 3], batch=1, k1=1)
    with pytest.raises(ValueError, match="batch must be a whole number"):
        bptt_batches(text, batch=0, k1=1)
    with pytest.raises(ValueError, match="k1 must be a whole number"):
        bptt_batches(text, batch=1, k1=0)
    with pytest.raises(ValueError, match=r"k2 \(3\) must be at least k1 \(4\)"):
        bptt_batches(text, batch=1, k1=4, k2=3)
    with pytest.raises(ValueError, match="10 elements are too few for 10 streams"):
        bptt_batches(text, batch=10, k1=1)
    with pytest.raises(ValueError, match="a sequence of 10 elements, this one has 9"):
        bptt_batches(text[:9], batch=1, k1=1).load_state_dict(bptt_batches(text, batch=1, k1=1).state_dict())
    with pytest.raises(ValueError, match="belongs to 1 streams, batch=2 was asked for"):
        bptt_batches(text, batch=2, k1=1).load_state_dict(bptt_batches(text, batch=1, k1=1).state_dict())


# ---- vocabulary --------------------------------------------------------------------------------------------------


@given(text=st.text(min_size=1, max_size=60), level=st.sampled_from(["characters", "words"]))
def test_decoding_gives_the_text_back(text: str, level: str) -> None:
    vocabulary = Vocabulary.of(text, level=level)
    indices = vocabulary.encode(text)
    assert indices.dtype == np.int64
    assert vocabulary.decode(indices) == text
    assert [vocabulary.tokens[i] for i in indices] == [
        vocabulary.tokens[vocabulary.index(vocabulary.tokens[i])] for i in indices
    ]
    assert Vocabulary.from_state_dict(vocabulary.state_dict()) == vocabulary


@given(
    known=st.text(min_size=1, max_size=20), other=st.text(max_size=20), level=st.sampled_from(["characters", "words"])
)
def test_unknown_and_end_tokens(known: str, other: str, level: str) -> None:
    vocabulary = Vocabulary.of(known, level=level, unknown="\ufffd", end="<end>")
    indices = vocabulary.encode(other, end=True)
    assert indices.max() < len(vocabulary) and indices[-1] == vocabulary.index("<end>")
    decoded = vocabulary.decode(np.append(indices, 0))  # nothing after the end is read
    if level == "characters":
        assert decoded == "".join(c if c in known else "\ufffd" for c in other)


def test_no_other_character_is_taken_for_a_known_one() -> None:
    vocabulary = Vocabulary.of("abc", unknown="?")
    others = "".join(chr(code) for code in range(1000) if chr(code) not in "abc") + "\U0010ffff"
    assert set(vocabulary.encode(others).tolist()) == {3}


def test_words_take_their_space_along_and_stand_by_frequency() -> None:
    vocabulary = Vocabulary.of("the cat, the dog and the end.\n", level="words", size=3)
    assert vocabulary.tokens[0] == " the"
    assert len(vocabulary) == 3
    assert Vocabulary.of("aabbc", least=2).tokens == ["a", "b"]
    assert "b" in Vocabulary.of("aabbc") and "z" not in Vocabulary.of("aabbc")
    assert repr(Vocabulary.of("ab", unknown="?")) == "Vocabulary(3 characters, unknown='?')"


def test_a_vocabulary_says_what_is_wrong() -> None:
    vocabulary = Vocabulary.of("abc")
    with pytest.raises(ValueError, match=r"'d' \(token 2 of the text\) is not among the 3 tokens"):
        vocabulary.encode("abd")
    with pytest.raises(ValueError, match=r"' dog' \(token 1 of the text\)"):
        Vocabulary.of("the cat", level="words").encode("the dog")
    with pytest.raises(ValueError, match="needs an end token"):
        vocabulary.encode("a", end=True)
    with pytest.raises(IndexError, match="index 3 is out of range, there are 3"):
        vocabulary.decode([0, 3])
    with pytest.raises(KeyError, match="no token 'z'"):
        vocabulary.index("z")
    with pytest.raises(ValueError, match="level must be"):
        Vocabulary.of("a", level="bytes")
    with pytest.raises(ValueError, match="level must be"):
        Vocabulary("a", level="bytes")
    with pytest.raises(ValueError, match="'a' is there twice"):
        Vocabulary(["a", "b", "a"])
    with pytest.raises(ValueError, match="'ab' is no single character"):
        Vocabulary(["ab"])
    with pytest.raises(ValueError, match="no tokens"):
        Vocabulary([])
    with pytest.raises(ValueError, match=r"the text \(0 characters\) leaves no token"):
        Vocabulary.of("")
    with pytest.raises(ValueError, match="size must be at least 1 token, not -1"):
        Vocabulary.of("abc", size=-1)
    with pytest.raises(TypeError, match="the text is bytes, not str"):
        Vocabulary.of(b"abc")  # type: ignore[arg-type]


# ---- bagging -----------------------------------------------------------------------------------------------------


def test_bags_are_drawn_with_replacement_and_know_what_they_left_out() -> None:
    x, y = np.arange(1000), -np.arange(1000)
    bags = bagging(x, y, members=5, rng=0)
    assert len(bags) == 5
    for bag in bags:
        np.testing.assert_array_equal(bag.arrays[0], -bag.arrays[1])
        np.testing.assert_array_equal(bag.arrays[0], bag.chosen)
        assert sorted({*bag.chosen.tolist(), *bag.left_out.tolist()}) == list(range(1000))
        assert not set(bag.chosen.tolist()) & set(bag.left_out.tolist())
        assert abs(len(bag.left_out) / 1000 - np.exp(-1)) < 0.05
    assert not np.array_equal(bags[0].chosen, bags[1].chosen)
    np.testing.assert_array_equal(bagging(x, members=1, rng=0)[0].chosen, bags[0].chosen)


def test_bagging_refuses_what_gives_no_bag() -> None:
    with pytest.raises(ValueError, match=r"got lengths \[\]"):
        bagging(members=2)
    with pytest.raises(ValueError, match=r"got lengths \[2, 3\]"):
        bagging(np.zeros(2), np.zeros(3), members=2)
    with pytest.raises(ValueError, match=r"got lengths \[0\]"):
        bagging(np.zeros(0), members=2)
    with pytest.raises(ValueError, match="members must be at least 1, not 0"):
        bagging(np.zeros(2), members=0)
