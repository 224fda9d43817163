"""The encoder in two stages: embeddings, then blocks; and what goes in between."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from plainformer.base import UserError
from plainformer.encoder import (
    Encoder,
    EncoderConfig,
    MaskedLM,
    Packing,
    SequenceClassifier,
    TokenClassifier,
)
from plainformer.encoder.embedding_offset import embedding_offset
from plainformer.encoder.ops import Backend
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.tasks.tagging.crf import ChainTagger
from tests.encoder.families import FAMILY, inputs, pair
from tests.encoder.tools import assert_close, bert, modern, padded, randomise

CONFIGS = {
    "bert": bert(),
    "small embeddings": bert(embedding_size=16),
    "roberta": bert(position_offset=1),
    "shared": bert(share_layers=True),
    "relative": bert(relative_bias=True),
    "modern": modern(type_vocab_size=2),
}
MODELS = pytest.mark.parametrize("config", CONFIGS.values(), ids=list(CONFIGS))
LENGTHS = [7, 3, 9]


def packed(batch: dict[str, Tensor]) -> dict[str, Any]:
    packing = Packing.of(batch["attention_mask"])
    return {
        "input_ids": packing.pack(batch["input_ids"]),
        "token_type_ids": packing.pack(batch["token_type_ids"]),
        "sequences": packing.sequences,
    }


@MODELS
@pytest.mark.parametrize("backend", ["plain", "fused"])
def test_embeddings_then_blocks_are_the_encoder(config: EncoderConfig, backend: Backend) -> None:
    model = randomise(Encoder(config, backend, pooler=True))
    batch = packed(padded(LENGTHS))
    whole = model(**batch, output_hidden_states=True, output_attentions=True)
    x = model.embed(**batch)
    assert torch.equal(x, whole.hidden_states[0])
    parts = model.run_blocks(x, batch["sequences"], True, True)
    assert torch.equal(parts.last_hidden_state, whole.last_hidden_state)
    assert torch.equal(parts.pooler_output, whole.pooler_output)
    for one, other in zip(
        (*parts.hidden_states, *parts.attentions),
        (*whole.hidden_states, *whole.attentions),
        strict=True,
    ):
        assert torch.equal(one, other)


@MODELS
@pytest.mark.parametrize("is_packed", [False, True])
def test_the_vectors_of_the_tokens_stand_for_the_tokens(
    config: EncoderConfig, is_packed: bool
) -> None:
    model = randomise(Encoder(config))
    batch: dict[str, Any] = padded(LENGTHS)
    batch = packed(batch) if is_packed else batch
    by_ids = model(**batch).last_hidden_state
    vectors = model.embeddings.tokens(batch.pop("input_ids"))
    assert torch.equal(model(inputs_embeds=vectors, **batch).last_hidden_state, by_ids)


@FAMILY
def test_given_vectors_as_transformers_takes_them(family: str, tmp_path: Path) -> None:
    theirs, ours = pair(family, "TokenClassifier", tmp_path)
    batch = inputs(family)
    ids = batch.pop("input_ids")
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn((*ids.shape, ours.config.token_size), generator=generator)
    mask = batch["attention_mask"].bool()
    expected = theirs(inputs_embeds=vectors, **batch).logits
    assert_close(ours(inputs_embeds=vectors, **batch)[mask], expected[mask], 1e-5)


def test_ids_or_vectors() -> None:
    model, batch = Encoder(bert()), padded(LENGTHS)
    vectors = model.embeddings.tokens(batch["input_ids"])
    for given in ({}, {"input_ids": batch["input_ids"], "inputs_embeds": vectors}):
        with pytest.raises(UserError, match="either input_ids or inputs_embeds"):
            model(**given)


WITH_OFFSET: dict[str, Any] = {
    "encoder": lambda: Encoder(modern()),
    "masked lm": lambda: MaskedLM(modern()),
    "classifier": lambda: SequenceClassifier(bert(embedding_size=16)),
    "chain tagger": lambda: ChainTagger(TokenClassifier(bert(), ["O", "B-X", "I-X"])),
}


@pytest.mark.parametrize("kind", WITH_OFFSET)
def test_an_offset_moves_the_embeddings_within_its_context_alone(kind: str) -> None:
    model: PretrainedModel = randomise(WITH_OFFSET[kind]())
    batch = packed(padded(LENGTHS))

    def run() -> Tensor:
        output = model(**batch)
        found = output.last_hidden_state if isinstance(model, Encoder) else output
        assert isinstance(found, Tensor)
        return found

    generator = torch.Generator().manual_seed(1)
    delta = 0.1 * torch.randn((sum(LENGTHS), 32), generator=generator)
    before = run()
    moved = model.base.run_blocks(model.base.embed(**batch) + delta, batch["sequences"])
    with embedding_offset(model, delta):
        inside = run()
        states = model.base(**batch).last_hidden_state
    assert torch.equal(states, moved.last_hidden_state)
    assert not torch.allclose(inside, before, atol=1e-3)
    assert torch.equal(run(), before)
    with embedding_offset(model, torch.zeros(())):
        assert torch.equal(run(), before)


def test_an_offset_ends_with_an_error_too() -> None:
    model, batch = randomise(Encoder(bert())), padded(LENGTHS)
    before = model(**batch).last_hidden_state
    with pytest.raises(ZeroDivisionError), embedding_offset(model, torch.ones(32)):
        raise ZeroDivisionError
    assert torch.equal(model(**batch).last_hidden_state, before)


def test_an_offset_receives_the_gradient_of_the_embeddings() -> None:
    """The direction that raises the loss most; checked by a small step along it."""
    model = randomise(SequenceClassifier(bert())).double()
    batch = packed(padded(LENGTHS))
    delta = torch.zeros((sum(LENGTHS), 32), dtype=torch.float64, requires_grad=True)

    def loss(offset: Tensor) -> Tensor:
        with embedding_offset(model, offset):
            total: Tensor = -model(**batch).log_softmax(-1)[:, 0].sum()
        return total

    (gradient,) = torch.autograd.grad(loss(delta), delta)
    step = 1e-6 * gradient / gradient.norm()
    gain = (loss(step) - loss(-step)) / 2e-6
    assert_close(gain, gradient.norm(), 1e-6)
