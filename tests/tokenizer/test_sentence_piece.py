import re
import unicodedata
from pathlib import Path

import pytest
import sentencepiece as library
from hypothesis import given, settings
from transformers import AutoTokenizer

from plainformer.base import UserError
from plainformer.base.words import HAN
from plainformer.tokenizer import SPECIAL_TOKENS, SentencePiece, load_tokenizer
from tests.tokenizer.hostile import hostile

SPACE = "▁"


def is_han(character: str) -> bool:
    """As BERT has it, and 々 〆 〇."""
    code = ord(character)
    return (
        0x3005 <= code <= 0x3007
        or 0x3400 <= code <= 0x4DBF
        or 0x4E00 <= code <= 0x9FFF
        or 0xF900 <= code <= 0xFAFF
        or 0x20000 <= code < 0x3FFFE
    )


@settings(max_examples=400, deadline=None)
@given(hostile)
def test_offsets_are_the_source(sentencepiece: SentencePiece, text: str) -> None:
    tokens = sentencepiece.tokens(text)
    reached = 0
    for id, (start, end) in zip(tokens.ids, tokens.offsets, strict=True):
        token, source = sentencepiece.token(id), text[start:end]
        normal = sentencepiece._processor.normalize(source).replace(SPACE, "")
        assert 0 <= start <= end <= len(text)
        assert start >= reached or source.strip()  # tokens of one character share it
        reached = max(reached, start)
        if id in sentencepiece.special_ids:
            assert token == source
        elif sentencepiece._is_byte[id]:
            byte = int(token[1:-1], 16)
            assert byte in normal.encode() or unicodedata.normalize("NFC", text) != text
        else:
            assert token.replace(SPACE, "") in normal
        assert not token.startswith(SPACE) or not source.strip() or not source[0].isspace()


@settings(max_examples=200, deadline=None)
@given(hostile)
def test_ids_equal_the_library_and_words_group_them(sentencepiece, text: str) -> None:
    tokens = sentencepiece.tokens(text)
    words = sentencepiece.words(text)
    assert [id for word in words for id in word] == tokens.ids
    assert [i for i, word in enumerate(words) for _ in word] == tokens.word_ids
    if not any(special in text for special in SPECIAL_TOKENS.values()):
        ids = sentencepiece._processor.encode(text)
        following = (
            sentencepiece._processor.decode(ids[i + 1 : i + 5])[:1] for i in range(len(ids))
        )
        assert tokens.ids == [
            id
            for id, character in zip(ids, following, strict=True)
            if sentencepiece.token(id) != SPACE or not character or not is_han(character)
        ]
        assert sentencepiece.unk_id not in tokens.ids


@settings(max_examples=100, deadline=None)
@given(hostile)
def test_decoding_gives_the_normalised_text(sentencepiece, text: str) -> None:
    for special in SPECIAL_TOKENS.values():
        text = text.replace(special, "")
    normal = sentencepiece._processor.normalize(text).replace(SPACE, " ")
    normal = re.sub(f" (?=[{HAN}])", "", normal)
    assert sentencepiece.decode(sentencepiece.encode(text).ids) == normal.removeprefix(" ")


def test_sources_of_ligatures_bytes_and_spaces(sentencepiece: SentencePiece) -> None:
    text = "  the ﬁ 😀 [MASK]"
    tokens = sentencepiece.tokens(text)
    assert tokens.offsets[0][0] == 2
    in_ligature = [o for o in tokens.offsets if o[0] == 6]
    assert in_ligature[-2:] == [(6, 7)] * 2
    assert tokens.offsets[-5:] == [(8, 9)] * 4 + [(10, 16)]
    assert sentencepiece.tokens("😀").offsets == [(0, 0)] + [(0, 1)] * 4


def test_words_without_spaces(sentencepiece: SentencePiece) -> None:
    ids = sentencepiece.tokens("unbelievable walker。我龘们!")
    words = [
        "".join(map(sentencepiece.token, word))
        for word in sentencepiece.words("unbelievable walker。我龘们!")
    ]
    assert words[:2] == [f"{SPACE}unbelievable", f"{SPACE}walker"]
    assert words[2:] == ["。", "我", "<0xE9><0xBE><0x98>", "们", "!"]
    assert len(words) == ids.word_ids[-1] + 1


def test_saved_folder_encodes_identically(sentencepiece, texts, tmp_path: Path) -> None:
    sentencepiece.save(tmp_path)
    again = load_tokenizer(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert isinstance(again, SentencePiece)
    assert again.fingerprint() == sentencepiece.fingerprint()
    assert theirs.mask_token_id == again.mask_id
    inside = ["中[MASK]文 [MASK] [MASK] 的[MASK]th", "[MASK]the  [MASK] ", "  th[MASK]\u3000e"]
    for text in [*texts, *inside, "the [MASK] ﬁ 中文龘 😀  x\n\n", "", " "]:
        mine = sentencepiece.encode(text, "its pair")
        other = theirs(text, "its pair")
        assert again.encode(text, "its pair") == mine
        assert other["input_ids"] == mine.ids
        assert other["token_type_ids"] == mine.type_ids


def test_a_text_goes_on_behind_a_mask(sentencepiece: SentencePiece) -> None:
    def pieces(text: str) -> list[str]:
        return [sentencepiece.token(id) for id in sentencepiece.tokens(text).ids]

    whole, first = pieces("我们"), pieces("我")
    assert pieces("我[MASK]们") == [*first, "[MASK]", *whole[len(first) :]]
    assert pieces("我 [MASK] the") == [*first, "[MASK]", *pieces("the")]
    assert sentencepiece.tokens("我[MASK]们").offsets[-1] == (7, 8)


def test_lone_surrogate_is_refused(sentencepiece: SentencePiece) -> None:
    for call in (sentencepiece.encode, sentencepiece.words):
        with pytest.raises(UserError, match="lone surrogate at character 4"):
            call("the \ud800")


def test_foreign_and_broken_models_are_refused(texts, tmp_path: Path) -> None:
    library.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_prefix=str(tmp_path / "tokenizer"),
        vocab_size=200,
        minloglevel=2,
    )
    with pytest.raises(UserError, match=r"lacks \[PAD\], \[UNK\]"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(b"garbage")
    with pytest.raises(UserError, match="not a SentencePiece model"):
        load_tokenizer(tmp_path)
