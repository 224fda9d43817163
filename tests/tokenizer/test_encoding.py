import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend

from plainformer.base import UserError
from plainformer.tokenizer import WordPiece, load_tokenizer
from plainformer.tokenizer.encoding import windows

WORDS = st.sampled_from(["the", "encoder", "walked", "café", "unbelievable", "中"])
TEXT = st.lists(WORDS, max_size=30).map(" ".join)


@pytest.fixture(scope="module")
def backend(wordpiece: WordPiece) -> Backend:
    return Backend.from_str(json.dumps(wordpiece.definition()))


@settings(max_examples=300, deadline=None)
@given(TEXT, TEXT | st.none(), st.integers(5, 40))
def test_truncation_equals_tokenizers(wordpiece, backend, text, pair, length) -> None:
    whole = wordpiece.encode(text, pair)
    mine = wordpiece.encode(text, pair, max_length=length)
    backend.enable_truncation(length)
    other = backend.encode(text, pair)
    assert mine.ids == other.ids
    assert mine.offsets == other.offsets
    assert mine.sequence_ids == other.sequence_ids
    assert len(mine) + mine.dropped == len(whole)


@settings(max_examples=300, deadline=None)
@given(TEXT, TEXT | st.none(), st.integers(0, 6), st.integers(1, 12))
def test_windows_equal_tokenizers(wordpiece, backend, text, pair, stride, more) -> None:
    special = 2 if pair is None else 3 + len(wordpiece.tokens(text))
    length = special + stride + more
    mine = wordpiece.windows(text, pair, max_length=length, stride=stride)
    strategy = "only_first" if pair is None else "only_second"
    backend.enable_truncation(length, stride=stride, strategy=strategy)
    first = backend.encode(text, pair)
    assert [w.ids for w in mine] == [w.ids for w in (first, *first.overflowing)]
    assert [w.offsets for w in mine] == [w.offsets for w in (first, *first.overflowing)]


@given(st.integers(0, 200), st.integers(1, 40), st.integers(0, 39))
def test_windows_cover_every_token(length: int, size: int, stride: int) -> None:
    if stride >= size:
        with pytest.raises(UserError, match=f"stride {stride}"):
            list(windows(length, size, stride))
        return
    cuts = [range(cut.start, cut.stop) for cut in windows(length, size, stride)]
    assert {token for cut in cuts for token in cut} == set(range(length))
    assert all(len(cut) <= size for cut in cuts)
    for one, following in itertools.pairwise(cuts):
        assert one.stop - following.start == stride


@settings(max_examples=100, deadline=None)
@given(st.lists(TEXT | st.tuples(TEXT, TEXT), min_size=1, max_size=6), st.integers(5, 30))
def test_batch_is_its_encodings_padded(wordpiece, texts, length) -> None:
    batch = wordpiece.batch(texts, max_length=length)
    longest = 0
    for row, text in enumerate(texts):
        one = wordpiece.encode(*((text,) if isinstance(text, str) else text), max_length=length)
        size = len(one)
        longest = max(longest, size)
        assert batch["input_ids"][row, :size].tolist() == one.ids
        assert batch["token_type_ids"][row, :size].tolist() == one.type_ids
        assert batch["input_ids"][row, size:].eq(wordpiece.pad_id).all()
        assert batch["attention_mask"][row].sum() == size
        assert batch["attention_mask"][row, :size].all()
    assert batch["input_ids"].shape == (len(texts), longest)


def test_max_length_of_the_model_is_the_default(wordpiece: WordPiece) -> None:
    short = WordPiece(wordpiece.vocabulary, max_length=6)
    assert len(short.encode("the " * 20)) == 6
    assert short.encode("the " * 20).dropped == 16
    assert short.batch(["the " * 20])["input_ids"].shape == (1, 6)
    assert len(short.encode("the " * 20, max_length=9)) == 9


@pytest.mark.parametrize(("pair", "length"), [(None, 2), ("b", 3), (None, 0)])
def test_no_room_is_an_error(wordpiece: WordPiece, pair: str | None, length: int) -> None:
    with pytest.raises(UserError, match=f"max_length {length} is too short"):
        wordpiece.encode("the", pair, max_length=length)
    with pytest.raises(UserError, match=f"max_length {length} is too short"):
        wordpiece.batch(["the" if pair is None else ("the", pair)], max_length=length)


def test_a_question_that_fills_the_window_is_an_error(wordpiece: WordPiece) -> None:
    with pytest.raises(UserError, match="leaves no room"):
        wordpiece.windows("the " * 10, "encoder", max_length=12)


def test_a_bare_string_is_no_batch(wordpiece: WordPiece) -> None:
    with pytest.raises(UserError, match=r"texts must be a list: write \[text\]"):
        wordpiece.batch("the encoder")


@pytest.mark.parametrize("names", [None, ["input_ids", "attention_mask"]])
def test_token_types_are_given_where_the_folder_says_so(wordpiece, names, tmp_path) -> None:
    """A model is fed what `transformers` feeds it, before and after saving."""
    transformers = pytest.importorskip("transformers")
    wordpiece.save(tmp_path / "a")
    path = tmp_path / "a" / "tokenizer_config.json"
    if names is not None:
        path.write_text(json.dumps(json.loads(path.read_text()) | {"model_input_names": names}))
    ours = load_tokenizer(tmp_path / "a")
    ours.save(tmp_path / "b")
    for folder in ("a", "b"):
        theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / folder)
        found = theirs([("the cat", "eats")], return_tensors="pt")
        batch = load_tokenizer(tmp_path / folder).batch([("the cat", "eats")])
        assert batch["input_ids"].equal(found["input_ids"])
        assert ("token_type_ids" in found) == (names is None)
        expected = found.get("token_type_ids", batch["input_ids"] * 0)
        assert batch["token_type_ids"].equal(expected)
