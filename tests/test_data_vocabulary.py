"""Text as whole numbers and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad7.data import Vocabulary


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
    with pytest.raises(ValueError, match="Vocabulary: size must be a whole number of at least 1, not -1"):
        Vocabulary.of("abc", size=-1)
    with pytest.raises(TypeError, match="the text is bytes, not str"):
        Vocabulary.of(b"abc")  # type: ignore[arg-type]
