"""Sentence vectors: held against `transformers` and the formula, in any order and batch."""

from pathlib import Path

import numpy as np
import pytest
import torch

from plainformer.base import UserError
from plainformer.encoder import Encoder, MaskedLM
from plainformer.encoder.ops.onednn import HAS_ONEDNN
from plainformer.encoder.prepack import PrepackedLinear
from plainformer.finetune import Embedder
from plainformer.tokenizer import train_tokenizer
from tests.encoder.tools import bert, modern, randomise

TEXTS = [
    "the encoder reads",
    "x",
    "from left to right, and back again while tokens travel packed",
    "",
    "tokens travel packed",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tokenizer = train_tokenizer(TEXTS * 20, vocab_size=60)
    tokenizer.save(folder)
    randomise(Encoder(bert(vocab_size=tokenizer.vocab_size))).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("normalise", [True, False])
def test_equal_to_transformers_pooled_by_hand(folder: Path, pooling, normalise: bool) -> None:
    transformers = pytest.importorskip("transformers")
    got = Embedder.load(folder, pooling, normalise)(TEXTS)
    assert got.dtype == np.float32
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    for text, vector in zip(TEXTS, got, strict=True):
        with torch.no_grad():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        expected = states.mean(0) if pooling == "mean" else states[0]
        expected = expected / expected.norm() if normalise else expected
        np.testing.assert_allclose(vector, expected.numpy(), atol=1e-5)


def test_on_a_cpu_the_weights_are_prepacked(folder: Path) -> None:
    layers = list(Embedder.load(folder, device="cpu").model.modules())
    assert any(isinstance(layer, PrepackedLinear) for layer in layers) == HAS_ONEDNN


def test_order_and_neighbours_change_nothing(folder: Path) -> None:
    embedder = Embedder.load(folder)
    together = embedder(TEXTS)
    backwards = embedder(TEXTS[::-1])[::-1]
    alone = np.concatenate([embedder([text]) for text in TEXTS])
    np.testing.assert_allclose(together, backwards, atol=1e-6)
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert embedder([]).shape == (0, 32)


def test_a_pair_is_one_text_and_a_long_one_is_cut(folder: Path) -> None:
    embedder = Embedder.load(folder, max_length=6)
    long, pair = embedder([TEXTS[2] * 3, (TEXTS[0], TEXTS[4])])
    head = embedder.tokenizer.encode(TEXTS[2]).ids[:5]
    assert embedder.tokenizer.encode(TEXTS[2] * 3, max_length=6).ids[:5] == head
    np.testing.assert_allclose(long, embedder([TEXTS[2]])[0], atol=1e-6)
    assert not np.allclose(pair, embedder([TEXTS[0]])[0], atol=1e-3)


def test_a_model_with_a_head_lends_its_encoder(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(TEXTS * 20, vocab_size=60)
    tokenizer.save(tmp_path)
    model = randomise(MaskedLM(modern(vocab_size=tokenizer.vocab_size)))
    model.save_pretrained(tmp_path)
    batch = tokenizer.batch(TEXTS)
    with torch.no_grad():
        states = model.encoder(**batch).last_hidden_state
    mask = batch["attention_mask"][..., None]
    means = (states * mask).sum(1) / mask.sum(1)
    got = Embedder.load(tmp_path, normalise=False)(TEXTS)
    np.testing.assert_allclose(got, means.numpy(), atol=1e-5)


def test_what_cannot_be_embedded_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        Embedder.load(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"device must be auto, cpu.*not 'moon'"):
        Embedder.load(folder, device="moon")
    with pytest.raises(UserError, match="max_length 41 is more than the 40"):
        Embedder.load(folder, max_length=41)
    with pytest.raises(UserError, match="max_length 2 is too short"):
        Embedder.load(folder, max_length=2)(TEXTS)
    train_tokenizer(TEXTS * 20, vocab_size=60).save(tmp_path)
    Encoder(bert(vocab_size=20)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="do not belong together"):
        Embedder.load(tmp_path)
