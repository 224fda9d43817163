"""The tokenizers of the families, as `transformers` saves them: ours give what theirs give.

Ids, type ids, masks, word ids and offsets of one text and of a pair; offsets without the white
space before a token, which Hugging Face leaves in for some (`Tokens` says so).
"""

import base64
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import (
    AddedToken,
    Regex,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from tokenizers import Tokenizer as Backend

from plainformer.base import UserError
from plainformer.tokenizer import HuggingFace, Tokenizer, WordPiece, load_tokenizer, train_tokenizer
from plainformer.tokenizer.encoding import trim
from tests.tokenizer.conftest import sentences
from tests.tokenizer.hostile import has_plain_words, hostile

transformers = pytest.importorskip("transformers")
TEXTS = sentences()
SPECIALS = st.sampled_from(["<mask>", " <mask>", "[MASK] ", "</s>", "<s>", "[CLS]", "  ", "   a"])
TEXT = st.lists(hostile | SPECIALS, max_size=3).map("".join)
NO_LIMIT = 10**9
LONG = ["x" * 100_000, "e\u0301" * 1000, "我" * 3000, "\u0301" * 500, "\x00" * 1000, " " * 5000]


def byte_level(special: list[str]) -> dict[str, Any]:
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(TEXTS, trainer)
    model: dict[str, Any] = json.loads(backend.to_str())["model"]
    return model


def unigram(special: list[str], normalizer: Any, last: list[str]) -> list[tuple[str, float]]:
    backend = Backend(models.Unigram())
    backend.normalizer = normalizer
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=400, show_progress=False)
    backend.train_from_iterator(TEXTS, trainer)
    pieces = json.loads(backend.to_str())["model"]["vocab"]
    return [*((s, 0.0) for s in special), *map(tuple, pieces), *((s, 0.0) for s in last)]


def wordpiece_vocabulary() -> dict[str, int]:
    return dict(trained_vocabulary())


@cache
def trained_vocabulary() -> dict[str, int]:
    trained = train_tokenizer(TEXTS, vocab_size=300)
    return {trained.token(id): id for id in range(trained.vocab_size)}


def roberta() -> Any:
    model = byte_level(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    return transformers.RobertaTokenizer(
        vocab=model["vocab"], merges=[tuple(merge) for merge in model["merges"]]
    )


def modernbert() -> Any:
    special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    backend = Backend(models.BPE())
    definition = json.loads(backend.to_str()) | {"model": byte_level(special)}
    backend = Backend.from_str(json.dumps(definition))
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]", [("[CLS]", 1), ("[SEP]", 2)]
    )
    # ModernBERT has runs of spaces as tokens, and a mask that takes the space before it.
    backend.add_tokens([AddedToken(" " * count, normalized=True) for count in (4, 3, 2)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        mask_token=AddedToken("[MASK]", lstrip=True, special=True),
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        model_max_length=8192,
        model_input_names=["input_ids", "attention_mask"],
    )


def albert() -> Any:
    folded = normalizers.Sequence(
        [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )
    special = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
    return transformers.AlbertTokenizer(vocab=unigram(special, folded, []))


def xlm_roberta() -> Any:
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    vocabulary = unigram(special, normalizers.NFKC(), ["<mask>"])
    return transformers.XLMRobertaTokenizer(vocab=vocabulary)


def xlm_roberta_precompiled() -> Any:
    """With the table of characters that a SentencePiece model brings."""
    made = train_tokenizer(TEXTS, kind="unigram", vocab_size=420).definition()["normalizer"]
    table = base64.b64decode(made["normalizers"][0]["precompiled_charsmap"])
    tokenizer = xlm_roberta()
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Precompiled(table), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer,
        **{name: str(token) for name, token in tokenizer.special_tokens_map.items()},
    )


def mpnet() -> Any:
    names = dict(zip(["[PAD]", "[CLS]", "[SEP]", "[MASK]"], ["<pad>", "<s>", "</s>", "<mask>"]))  # noqa: B905
    vocabulary = {names.get(token, token): id for token, id in wordpiece_vocabulary().items()}
    return transformers.MPNetTokenizer(vocab=vocabulary)


FAMILIES: dict[str, Callable[[], Any]] = {
    "bert, uncased": lambda: transformers.BertTokenizer(vocab=wordpiece_vocabulary()),
    "bert, cased": lambda: transformers.BertTokenizer(
        vocab=wordpiece_vocabulary(), do_lower_case=False
    ),
    "bert, Chinese characters in words": lambda: transformers.BertTokenizer(
        vocab=wordpiece_vocabulary(), tokenize_chinese_chars=False, strip_accents=False
    ),
    "distilbert": lambda: transformers.DistilBertTokenizer(vocab=wordpiece_vocabulary()),
    "electra": lambda: transformers.ElectraTokenizer(vocab=wordpiece_vocabulary()),
    "mpnet": mpnet,
    "roberta": roberta,
    "modernbert": modernbert,
    "albert": albert,
    "xlm-roberta": xlm_roberta,
    "xlm-roberta, precompiled": xlm_roberta_precompiled,
}
OURS_ALONE = ("bert", "distilbert", "electra")
"""of these the tokens are made here, of the others by `tokenizers`"""


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: Any, tmp_path_factory: Any) -> tuple[Tokenizer, Any, Path, str]:
    folder = tmp_path_factory.mktemp("tokenizer")
    FAMILIES[request.param]().save_pretrained(folder)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    return load_tokenizer(folder), theirs, folder, request.param


def assert_same(ours: Tokenizer, theirs: Any, text: str, pair: str | None) -> None:
    mine = ours.encode(text, pair, max_length=NO_LIMIT)
    # As lists: called with two strings, transformers forgets a pair that is empty.
    other = theirs([text], None if pair is None else [pair], return_token_type_ids=True)
    encoding = other.encodings[0]
    assert mine.ids == other["input_ids"][0]
    assert mine.type_ids == [type_ * ours.gives_token_types for type_ in other["token_type_ids"][0]]
    assert mine.special_tokens_mask == encoding.special_tokens_mask
    if has_plain_words(text) and has_plain_words(pair or ""):  # for others see test_scripts.py
        assert mine.word_ids == encoding.word_ids
    assert mine.sequence_ids == encoding.sequence_ids
    sources = [text if number != 1 else pair or "" for number in encoding.sequence_ids]
    assert mine.offsets == [
        trim(source, start, end) if start < end else (start, end)
        for source, (start, end) in zip(sources, encoding.offsets, strict=True)
    ]


def test_which_are_made_here(family: Any) -> None:
    ours, theirs, _, name = family
    assert isinstance(ours, WordPiece if name.startswith(OURS_ALONE) else HuggingFace)
    for role in ("pad", "unk", "cls", "sep", "mask"):
        assert getattr(ours, f"{role}_id") == getattr(theirs, f"{role}_token_id")
    assert ours.vocab_size == len(theirs)
    assert ours.max_length == (8192 if name == "modernbert" else None)


def test_real_text_and_pairs(family: Any) -> None:
    ours, theirs, _, _ = family
    for text, pair in zip(TEXTS[::7], TEXTS[1::7], strict=False):
        assert_same(ours, theirs, text, None)
        assert_same(ours, theirs, text, pair)


@settings(max_examples=40, deadline=None)
@given(TEXT, TEXT)
def test_hostile_text_and_pairs(family: Any, text: str, pair: str) -> None:
    ours, theirs, _, _ = family
    assert_same(ours, theirs, text, None)
    assert_same(ours, theirs, text, pair)


@pytest.mark.parametrize("text", LONG, ids=[repr(text[:2]) for text in LONG])
def test_words_without_end(family: Any, text: str) -> None:
    ours, theirs, _, _ = family
    assert_same(ours, theirs, "", text)


def test_truncation(family: Any) -> None:
    ours, theirs, _, _ = family
    for text, pair in zip(TEXTS[::40], TEXTS[1::40], strict=False):
        mine = ours.encode(text, pair, max_length=12)
        assert mine.ids == theirs(text, pair, truncation=True, max_length=12)["input_ids"]


def test_a_lone_surrogate_is_refused(family: Any) -> None:
    ours, _, _, _ = family
    for call in (ours.encode, ours.tokens, ours.words, lambda text: ours.batch([text])):
        with pytest.raises(UserError, match="lone surrogate at character 2"):
            call("ab\udc80")


def test_saved_here_it_opens_there(family: Any, tmp_path: Path) -> None:
    ours, theirs, _, _ = family
    ours.save(tmp_path)
    opened = transformers.AutoTokenizer.from_pretrained(tmp_path)
    again = load_tokenizer(tmp_path)
    assert again.fingerprint() == ours.fingerprint()
    for role in ("pad", "unk", "cls", "sep", "mask"):
        assert getattr(opened, f"{role}_token") == getattr(theirs, f"{role}_token")
    for text, pair in [*zip(TEXTS[::20], TEXTS[1::20], strict=False), ("a <mask> [MASK] b", "")]:
        expected = theirs([text], [pair])["input_ids"]
        assert opened([text], [pair])["input_ids"] == expected
        assert [again.encode(text, pair).ids] == expected


def test_a_bare_vocabulary_is_bert(tmp_path: Path) -> None:
    vocabulary = "\n".join(wordpiece_vocabulary())
    (tmp_path / "vocab.txt").write_text(vocabulary)
    theirs = transformers.BertTokenizer(vocab=wordpiece_vocabulary())
    for text in TEXTS[::20]:
        assert_same(load_tokenizer(tmp_path), theirs, text, "a pair")


@pytest.mark.parametrize("name", ["spiece.model", "sentencepiece.bpe.model", "vocab.json"])
def test_what_a_tokenizer_was_made_from_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(UserError, match=rf"has {name}, but no tokenizer.json: open it with"):
        load_tokenizer(tmp_path)
