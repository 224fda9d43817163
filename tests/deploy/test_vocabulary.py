"""A trimmed vocabulary: the given texts give the same tokens, and the same logits to the bit."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import models as backends
from tokenizers import pre_tokenizers, processors

from plainformer.base import UserError
from plainformer.deploy.opened import Opened
from plainformer.deploy.shrink import ShrinkOptions, keep_tokens, shrink
from plainformer.encoder import MaskedLM
from plainformer.finetune import FinetuneConfig, Predictor, finetune
from plainformer.tokenizer import always_kept, load_tokenizer, train_tokenizer, trim
from tests.encoder.tools import bert, randomise
from tests.pretrain import tiny

WORDPIECE = train_tokenizer(tiny.sentences(400), kind="wordpiece", vocab_size=90)


def unigram(folder):
    """A tokenizer.json of Unigram, its special tokens at the end, as a template writes them."""
    words = ["▁the", "▁red", "▁hen", "hen", "▁fox", "▁re", "d", "x", "o", "f", "n", "e", "h", "▁"]
    vocab = [("<unk>", 0.0), *((word, -1.0 - 0.1 * i) for i, word in enumerate(words))]
    backend = Backend(backends.Unigram(vocab, unk_id=0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.add_special_tokens(["<pad>", "<s>", "</s>", "<mask>"])
    ends = [(token, backend.token_to_id(token)) for token in ("<s>", "</s>")]
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=ends
    )
    folder.mkdir(exist_ok=True)
    backend.save(str(folder / "tokenizer.json"))
    named = {"unk": "<unk>", "pad": "<pad>", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}
    config = {f"{role}_token": token for role, token in named.items()}
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return load_tokenizer(folder)


def check(tokenizer, texts, path):
    """Tokens, logits, and all of it again from the folder."""
    encodings = [tokenizer.encode(text).ids for text in texts]
    kept = sorted(always_kept(tokenizer).union(*encodings))
    trimmed = trim(tokenizer, kept)
    for text, ids in zip(texts, encodings, strict=True):
        new = trimmed.encode(text).ids
        assert [kept[id] for id in new] == ids
        assert [trimmed.token(id) for id in new] == [tokenizer.token(id) for id in ids]
    config = bert(
        vocab_size=tokenizer.vocab_size + 3,
        pad_token_id=tokenizer.pad_id,
        max_position_embeddings=256,
        num_hidden_layers=1,
    )
    model = randomise(MaskedLM(config)).eval()
    with torch.no_grad():
        before = model(**tokenizer.batch(texts))[..., kept]
        keep_tokens(model, kept)
        assert torch.equal(model(**trimmed.batch(texts)), before)
    if path is not None:
        model.save_pretrained(path)
        trimmed.save(path)
        loaded = load_tokenizer(path)
        assert [loaded.encode(t).ids for t in texts] == [trimmed.encode(t).ids for t in texts]
        with torch.no_grad():
            again = MaskedLM.from_pretrained(path)(**loaded.batch(texts))
        assert torch.equal(again, before)
    return trimmed


def test_both_kinds(tmp_path):
    texts = ["the red hen", "the hens and 7 foxes , unseen", "red red"]
    trimmed = check(WORDPIECE, texts, tmp_path / "wordpiece")
    assert trimmed.vocab_size < WORDPIECE.vocab_size
    whole = unigram(tmp_path / "whole")
    trimmed = check(whole, ["the red hen", "zebra hen"], tmp_path / "unigram")
    assert trimmed.vocab_size < whole.vocab_size
    transformers = pytest.importorskip("transformers")
    grown = transformers.AutoTokenizer.from_pretrained(tmp_path / "unigram")
    grown.add_tokens(["covid"])
    grown.save_pretrained(tmp_path / "grown")
    check(load_tokenizer(tmp_path / "grown"), ["the red hen"], None)  # without the added token
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "unigram")
    assert theirs("the red hen")["input_ids"] == trimmed.encode("the red hen").ids


WORDS = st.sampled_from([*tiny.ANIMALS, *tiny.DEEDS, *tiny.FOOD, "the", "unseen", "é", "中", "."])


@settings(max_examples=10)
@given(st.lists(st.lists(WORDS, min_size=1, max_size=8).map(" ".join), min_size=1, max_size=4))
def test_any_texts(texts):
    check(WORDPIECE, texts, None)


def test_a_run_is_trimmed(models, files, tmp_path):
    run, out = tmp_path / "run", tmp_path / "out"
    finetune(
        FinetuneConfig(
            model=models["bert"], train=files("train"), valid=files("valid"), out=run, epochs=0
        ),
        quiet=True,
    )
    texts, file = ["the red hen pecks corn .", "the owl"], tmp_path / "texts.txt"
    file.write_text("\n".join(texts))
    options = ShrinkOptions(vocabulary=(str(file),), tolerance=1.0)
    shrink(run, files("test"), out, options, quiet=True)
    opened = Opened.of(out)
    assert opened.model.config.vocab_size == opened.tokenizer.vocab_size
    assert opened.tokenizer.vocab_size < Opened.of(run).tokenizer.vocab_size
    one, two = (Predictor.load(folder)(texts) for folder in (run, out))
    assert [p.probabilities for p in one] == [p.probabilities for p in two]


def test_what_cannot_be_trimmed():
    with pytest.raises(UserError, match="SentencePiece model cannot be trimmed"):
        trim(tiny.make_tokenizer("unigram"), [0, 1, 2, 3, 4])
