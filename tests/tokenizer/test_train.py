import random
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plainformer.base import UserError
from plainformer.base.words import cut_at_spaces
from plainformer.tokenizer import SPECIAL_TOKENS, join_pieces, train, train_tokenizer, wordpiece

KINDS = ["wordpiece", "unigram", "bpe"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lowercase", [True, False])
def test_vocabulary_is_as_large_as_asked(texts, kind, lowercase) -> None:
    tokenizer = train_tokenizer(texts, kind=kind, vocab_size=400, lowercase=lowercase)
    assert tokenizer.vocab_size == 400
    assert [tokenizer.token(id) for id in range(5)] == list(SPECIAL_TOKENS.values())
    assert len({tokenizer.token(id) for id in range(400)}) == 400
    assert (tokenizer.words("The") == tokenizer.words("the")) == lowercase
    assert tokenizer.unk_id not in tokenizer.encode("the encoder 我们").ids


@pytest.mark.parametrize("kind", KINDS)
def test_too_large_names_the_largest_that_works(kind) -> None:
    texts = ["hello world, this is a small test of a small text"] * 3
    with pytest.raises(UserError, match="largest possible is") as error:
        train_tokenizer(texts, kind=kind, vocab_size=5000)
    largest = int(str(error.value).split("possible is ")[1].split(";")[0])
    assert train_tokenizer(texts, kind=kind, vocab_size=largest).vocab_size == largest


@pytest.mark.parametrize("kind", KINDS)
def test_bad_input_is_a_user_error(kind) -> None:
    with pytest.raises(UserError, match="too small"):
        train_tokenizer(["hello world"], kind=kind, vocab_size=8)
    for texts in ([], ["", " \n"]):
        with pytest.raises(UserError, match="empty"):
            train_tokenizer(texts, kind=kind, vocab_size=300)
    with pytest.raises(UserError, match="lone surrogate at character 1"):
        train_tokenizer(["a\ud800"], kind=kind, vocab_size=300)


@pytest.mark.parametrize("kind", KINDS)
def test_a_reader_keeps_its_own_error(kind) -> None:
    def texts() -> Iterator[str]:
        yield "hello"
        raise UserError("file.txt, line 2: not text")

    with pytest.raises(UserError, match=r"^file.txt, line 2: not text$"):
        train_tokenizer(texts(), kind=kind, vocab_size=300)


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_long_text_is_learned_from_a_sample(kind, texts, monkeypatch) -> None:
    whole = train_tokenizer(texts, kind=kind, vocab_size=360).fingerprint()
    size = sum(map(len, texts))
    prints, kept = [], list[int]()
    sample = train._sample

    def remembered(sentences: Iterator[str]) -> list[str]:
        found = sample(sentences)
        kept.append(sum(map(len, found)))
        return found

    monkeypatch.setattr(train, "_sample", remembered)
    for most in (2 * size, size // 2, size // 2):
        monkeypatch.setattr(train, "SAMPLED", most)
        prints.append(train_tokenizer(texts, kind=kind, vocab_size=360).fingerprint())
    assert prints[0] == whole != prints[1] == prints[2]
    assert size // 5 < kept[1] <= size // 2


DROPPED = ["\u200b", "\x01", "\ufeff", "\0", "\u200b \u200c\u200e", "\x7f\x02"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", DROPPED, ids=ascii)
def test_text_of_which_nothing_is_left_is_empty(kind, text) -> None:
    with pytest.raises(UserError, match=r"^the texts to train a tokenizer on are empty$"):
        train_tokenizer([text] * 3, kind=kind, vocab_size=300)


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.parametrize("reserved", ["▅", "\ufdd0", "\0"], ids=ascii)
def test_a_text_with_a_reserved_character_is_learned_from(kind, reserved) -> None:
    text = "walking {} walked walker 我们 transformer"
    with_it, without = (
        train_tokenizer([text.format(sign)] * 40, kind=kind, vocab_size=280)
        for sign in (reserved, " ")
    )
    assert with_it.fingerprint() == without.fingerprint()
    assert with_it.unk_id not in with_it.tokens(reserved).ids


@pytest.mark.parametrize("kind", ["wordpiece", "unigram"])
def test_a_line_of_any_length_is_learned_from(texts, kind) -> None:
    words = [word for text in texts for word in text.split() if word.isascii()]
    line = " ".join(random.Random(0).choices(words, k=180_000))
    assert len(line) > 1 << 20
    tokenizer = train_tokenizer([line], kind=kind, vocab_size=360)
    assert len(tokenizer.tokens("transformer")) < len("transformer")


def test_of_more_words_than_fit_the_frequent_ones_are_learned_from(monkeypatch) -> None:
    monkeypatch.setattr(wordpiece, "MAX_COUNTED_WORDS", 200)
    monkeypatch.setattr(train, "MERGED_WORDS", 50)
    rare = ["".join(letters) for letters in product("abcdefgh", repeat=4)]
    texts = [f"{word} walking walked" for word in rare]
    counted = wordpiece.count_words(texts, lowercase=True)
    assert len(counted) <= 203
    assert counted["walking"] == counted["walked"] == len(rare)
    tokenizer = train_tokenizer(texts, vocab_size=42)
    assert [len(tokenizer.tokens(word)) for word in ("walking", "walked")] == [1, 1]


@given(st.text(st.sampled_from("aB é我。，《》「」！（）\u3000\t.")))
def test_the_counted_words_are_those_of_the_tokenizer(text) -> None:
    vocabulary = [*SPECIAL_TOKENS.values(), *"abe我。，《》「」！（）.", "##a", "##b", "##e"]
    tokenizer = wordpiece.WordPiece(vocabulary)
    words = Counter(join_pieces(tokenizer, word) for word in tokenizer.words(text))
    assert wordpiece.count_words([text], lowercase=True) == words


@given(st.text(st.sampled_from("ab 我")), st.integers(1, 9))
def test_parts_are_the_text_and_end_before_spaces(text, longest) -> None:
    cut = list(cut_at_spaces(text, longest))
    assert "".join(cut) == text and all(len(part) <= longest for part in cut)
    for before, after in pairwise(cut):
        assert after.startswith(" ") or " " not in before[1:]


@pytest.mark.parametrize("longest", [13, 40])
def test_parts_have_the_tokens_of_the_whole(wordpiece, sentencepiece, texts, longest) -> None:
    text = " ".join(text for text in texts[:40] if text.isascii())
    for tokenizer in (wordpiece, sentencepiece):
        apart = [id for part in cut_at_spaces(text, longest) for id in tokenizer.tokens(part).ids]
        assert apart == tokenizer.tokens(text).ids
