import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer

from plainformer.base import UserError
from plainformer.tokenizer import HuggingFace, WordPiece, load_tokenizer
from tests.tokenizer.hostile import has_plain_words, hostile


@pytest.fixture(scope="module")
def roberta(texts, tmp_path_factory) -> tuple[HuggingFace, Backend, Path]:
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    folder = tmp_path_factory.mktemp("roberta")
    backend.enable_padding(length=64)
    backend.enable_truncation(8)
    backend.save(str(folder / "tokenizer.json"))
    backend.no_padding()
    backend.no_truncation()
    tokenizer = load_tokenizer(folder)
    assert isinstance(tokenizer, HuggingFace)
    return tokenizer, backend, folder


@settings(max_examples=200, deadline=None)
@given(hostile, hostile)
def test_template_and_ids_equal_tokenizers(roberta, text: str, pair: str) -> None:
    ours, theirs, _ = roberta
    for second in (None, pair):
        mine, other = ours.encode(text, second), theirs.encode(text, second)
        assert mine.ids == other.ids
        assert mine.type_ids == other.type_ids
        assert mine.special_tokens_mask == other.special_tokens_mask
        assert mine.sequence_ids == other.sequence_ids
        if has_plain_words(text) and has_plain_words(pair):
            assert mine.word_ids == other.word_ids


@settings(max_examples=200, deadline=None)
@given(hostile)
def test_decoding_and_words(roberta, text: str) -> None:
    ours, _, _ = roberta
    tokens = ours.tokens(text)
    assert [id for word in ours.words(text) for id in word] == tokens.ids
    assert all(text[a:b] == text[a:b].lstrip() or text[a:b].isspace() for a, b in tokens.offsets)
    if "<" not in text:
        assert ours.decode(tokens.ids) == text


def test_special_roles_by_their_usual_names(roberta) -> None:
    ours, _, _ = roberta
    ids = (ours.cls_id, ours.pad_id, ours.sep_id, ours.unk_id, ours.mask_id)
    assert ids == (0, 1, 2, 3, 4)
    assert ours.special_ids == frozenset(ids)
    assert ours.token(4) == "<mask>"


def test_saved_folder_encodes_identically(roberta, texts, tmp_path: Path) -> None:
    ours, _, _ = roberta
    ours.save(tmp_path)
    again, theirs = load_tokenizer(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    assert again.fingerprint() == ours.fingerprint()
    for text in texts[::10]:
        assert again.encode(text, "pair") == ours.encode(text, "pair")
        assert theirs(text, "pair")["input_ids"] == ours.encode(text, "pair").ids


def test_unusual_wordpiece_is_left_to_tokenizers(wordpiece: WordPiece, tmp_path: Path) -> None:
    wordpiece.save(tmp_path)
    backend = Backend.from_file(str(tmp_path / "tokenizer.json"))
    backend.post_processor = processors.TemplateProcessing(
        "[CLS] $A", "[CLS] $A $B:1", [("[CLS]", wordpiece.cls_id)]
    )
    backend.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UserError, match="has another post_processor, which BertTokenizer ignores"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "TokenizersBackend"}')
    tokenizer = load_tokenizer(tmp_path)
    assert isinstance(tokenizer, HuggingFace)
    for texts in (("the encoder",), ("the encoder", "walked")):
        assert tokenizer.encode(*texts).ids == backend.encode(*texts).ids


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        load_tokenizer(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"looked for tokenizer.model, tokenizer.json and vocab.t"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"model":\n nonsense')
    with pytest.raises(UserError, match=r"tokenizer.json: not JSON \(line 2"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"tokenizer.json: model: vocab is missing"):
        load_tokenizer(tmp_path)


def test_an_id_behind_a_gap_needs_a_row_of_its_own(roberta, tmp_path: Path) -> None:
    """400 tokens whose last one has id 5,000: a model of 400 rows has no vector for it."""
    definition = json.loads((roberta[2] / "tokenizer.json").read_text())
    vocabulary = definition["model"]["vocab"]
    vocabulary[max(vocabulary, key=vocabulary.__getitem__)] = 5000
    (tmp_path / "tokenizer.json").write_text(json.dumps(definition))
    tokenizer = load_tokenizer(tmp_path)
    assert (tokenizer.vocab_size, tokenizer.largest_id) == (400, 5000)
    tokenizer.check_vocabulary(5001)
    with pytest.raises(UserError, match="has 5001 tokens, the teacher only 5000: they do not be"):
        tokenizer.check_vocabulary(5000, "the teacher")
