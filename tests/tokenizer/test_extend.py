"""A vocabulary that grew: new words are one token, all others as before, and `transformers` agrees.

Of each kind of tokenizer that loads here, and of the tokenizers that are trained here.
"""

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from plainformer.base import UserError
from plainformer.tokenizer import (
    SentencePiece,
    Tokenizer,
    WordPiece,
    added_words,
    extend,
    load_tokenizer,
    split_words,
    train_tokenizer,
)
from plainformer.tokenizer.extend import MIN_COUNT
from tests.tokenizer.conftest import sentences
from tests.tokenizer.hostile import hostile
from tests.tokenizer.test_families import FAMILIES

transformers = pytest.importorskip("transformers")
NEW = ["photosynthesis", "mitochondria", "transpiration"]
SENTENCES = sentences(40)


def biology(count: int = 60) -> list[str]:
    """Sentences of which the vocabularies of the tests know all but some words."""
    chance = random.Random(1)
    return [f"the {chance.choice(NEW)} of {chance.choice(NEW)} travel back" for _ in range(count)]


GROWN = ["bert, uncased", "mpnet", "roberta", "modernbert", "albert", "xlm-roberta, precompiled"]


@pytest.fixture(scope="module", params=[*GROWN, "ours, unigram"])
def grown(request: Any, tmp_path_factory: Any) -> tuple[Tokenizer, list[str], Tokenizer, Path]:
    """A tokenizer, the words it learned, what it became, and the folder where that is saved."""
    folder = tmp_path_factory.mktemp("tokenizer")
    if request.param in FAMILIES:
        FAMILIES[request.param]().save_pretrained(folder / "old")
    else:
        train_tokenizer(sentences(), kind="unigram", vocab_size=420).save(folder / "old")
    old = load_tokenizer(folder / "old")
    words = split_words(old, biology(), 3)
    extend(old, words).save(folder / "new")
    return old, words, load_tokenizer(folder / "new"), folder / "new"


def test_the_words_that_cost_most_are_one_token_each(grown: Any) -> None:
    old, words, new, _ = grown
    assert new.vocab_size == old.vocab_size + 3
    for word in NEW:
        (id,) = new.words(f"the {word} of")[1]
        assert new.token(id) in words and id >= old.vocab_size
        assert new.decode([id]).strip() == word
        assert len(old.words(f"the {word} of")[1]) > 1


def test_old_pieces_keep_their_ids(grown: Any) -> None:
    old, _, new, _ = grown
    assert [new.token(i) for i in range(old.vocab_size)] == [
        old.token(i) for i in range(old.vocab_size)
    ]
    assert new.special_ids == old.special_ids
    assert new.special_tokens == old.special_tokens
    assert new.max_length == old.max_length


@settings(max_examples=15, deadline=None)
@given(st.lists(hostile | st.sampled_from(SENTENCES), max_size=3).map(" ".join))
def test_text_without_new_words_is_encoded_as_before(grown: Any, text: str) -> None:
    old, _, new, _ = grown
    assert new.tokens(text) == old.tokens(text)
    assert new.words(text) == old.words(text)
    assert new.encode(text, text) == old.encode(text, text)


@settings(max_examples=15, deadline=None)
@example("the photosynthesis <0x41> of 龘")
@given(st.lists(hostile | st.sampled_from([*NEW, *SENTENCES]), max_size=4).map(" ".join))
def test_transformers_gives_the_same_ids(grown: Any, text: str) -> None:
    old, _, new, folder = grown

    def is_same(ours: Tokenizer, folder: Path) -> bool:
        return ours.encode(text, max_length=10**9).ids == reopened(folder)([text])["input_ids"][0]

    if isinstance(new, SentencePiece) and not is_same(old, folder.parent / "old"):
        return  # where the two differ, they did before
    assert is_same(new, folder)


def reopened(folder: Path, seen: dict[Path, Any] = {}) -> Any:  # noqa: B006
    if folder not in seen:
        seen[folder] = transformers.AutoTokenizer.from_pretrained(folder)
    return seen[folder]


def test_it_is_known_for_an_extension(grown: Any) -> None:
    old, words, new, _ = grown
    assert added_words(old, new) == words
    assert added_words(old, old) == []
    for other in (extend(old, words[:1]), old, train_tokenizer(biology(), vocab_size=60)):
        with pytest.raises(UserError, match="neither the same tokenizer nor an extension"):
            added_words(new, other)
    for word, fault in ((words[0], "is in the vocabulary already"), ("##ly", "not a whole word")):
        with pytest.raises(UserError, match=fault):
            extend(new, [word])


def test_a_new_word_is_spelled_as_it_was_split(grown: Any) -> None:
    old, words, new, _ = grown
    for word in words:
        assert new.spell(word) == [new.id(word)]
        text = " " + new.decode([new.id(word)]).strip()
        assert old.spell(word) == list(old.words(text)[0])


def test_words_are_chosen_by_the_tokens_they_cost() -> None:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    old = WordPiece([*special, "a", "b", "##a", "##b", "##aa"])
    texts = ["abab " * 6 + "baa " * 9 + "aaaaaaa " * (MIN_COUNT - 1) + "a 1111 文! " * 20]
    # abab: 6 · 3; baa: 9 · 1; 文: 20 times unknown; the others are too rare, no word, or whole.
    assert split_words(old, texts, 10) == ["文", "abab", "baa"]
    assert split_words(old, texts, 1) == ["文"]


def test_unknown_characters_become_words() -> None:
    old = train_tokenizer(["plain text of plain words"] * 20, vocab_size=40)
    new = extend(old, split_words(old, ["文字 plain"] * 9, 5))
    assert [list(word) for word in old.words("文字")] == [[old.unk_id]] * 2
    assert [new.token(id) for word in new.words("文字") for id in word] == ["字", "文"][::-1]


@pytest.mark.parametrize("kind", ["ours", "xlm-roberta, precompiled"])
def test_what_unigram_cannot_spell_is_no_word(kind: str, tmp_path: Path) -> None:
    if kind == "ours":
        old: Tokenizer = train_tokenizer(sentences(), kind="unigram", vocab_size=420)
    else:
        FAMILIES[kind]().save_pretrained(tmp_path)
        old = load_tokenizer(tmp_path)
    assert old.words("walkŧed")[0] != old.words("walkd")[0]
    assert split_words(old, ["walkŧed back"] * 9, 5) in ([], ["▁back"])


def test_wordpiece_takes_a_new_word_where_another_begins_with_it() -> None:
    old = train_tokenizer(sentences(), vocab_size=300)
    new = extend(old, ["stomata"])
    assert [new.token(id) for id in new.words("stomatal")[0]] == ["stomata", "##l"]


def test_bpe_does_not(tmp_path: Path) -> None:
    FAMILIES["modernbert"]().save_pretrained(tmp_path)
    old = load_tokenizer(tmp_path)
    new = extend(old, ["Ġstomata"])
    assert new.words(" stomatal") == old.words(" stomatal")
    assert len(new.words(" stomata")[0]) == 1


def test_a_sentencepiece_bpe_is_refused(tmp_path: Path) -> None:
    old = train_tokenizer(sentences(), kind="bpe", vocab_size=420)
    with pytest.raises(UserError, match="words cannot be added to SentencePiece's BPE"):
        extend(old, split_words(old, biology(), 2))


def test_an_extended_tokenizer_has_no_token_types_where_the_old_one_had_none() -> None:
    old = train_tokenizer(sentences(), vocab_size=300)
    old.drop_token_types()
    new = extend(old, ["photosynthesis"])
    assert set(new.encode("the cat", "the dog").type_ids) == {0}
    assert new.config() == old.config()
