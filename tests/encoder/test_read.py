"""The last block computes what a head reads: the same values and gradients as with all tokens."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plainformer.base import UserError
from plainformer.encoder import (
    ChoiceScorer,
    Encoder,
    EncoderConfig,
    MaskedLM,
    PairedMaskedLM,
    QuestionAnswerer,
    SentenceEncoder,
    SequenceClassifier,
    Sequences,
    TokenClassifier,
    use_backend,
)
from plainformer.encoder.heads.headed_model import HeadedModel, compute_all_tokens
from plainformer.encoder.heads.parts import take
from plainformer.encoder.inputs import pack_inputs
from plainformer.encoder.packing import PaddedSequences
from plainformer.encoder.prepack import prepack_weights
from plainformer.encoder.traced import TracedSequences
from plainformer.encoder.weights.sentence_layout import Mode, SentenceLayout
from plainformer.finetune.tuning.prefix import add_prefix
from plainformer.finetune.tuning.soft_prompt import add_soft_prompt
from tests.encoder.tools import assert_close, bert, modern, padded, randomise

LENGTHS = [5, 1, 5, 7]
AT = torch.tensor([1, 3, 5, 6, 11, 14])
"""Tokens of the packed batch; one sequence has none of them."""
CONFIGS: dict[str, EncoderConfig] = {
    "bert": bert(),
    "modern, with windows": modern(local_attention=4),
    "a local last layer": modern(local_attention=4, num_hidden_layers=2),
    "albert": bert(architecture="albert", embedding_size=12, share_layers=True),
    "electra": bert(architecture="electra", classifier_head="gelu"),
    "alibi": bert(positions="alibi"),
    "relative bias": bert(architecture="mpnet", relative_bias=True, type_vocab_size=0),
    "pre-norm": bert(norm_order="pre"),
}


def sentences(mode: Mode) -> Any:
    return lambda config: SentenceEncoder(config, SentenceLayout(pooling=(mode,)))


HEADS: dict[str, tuple[Any, dict[str, Any], int]] = {
    "labels": (SequenceClassifier, {}, len(LENGTHS)),
    "choice": (ChoiceScorer, {}, len(LENGTHS)),
    "masked": (MaskedLM, {"target_positions": AT}, len(AT)),
    "masked, and pairs": (PairedMaskedLM, {"target_positions": AT}, len(AT) + len(LENGTHS)),
    "first token": (sentences("cls"), {}, len(LENGTHS)),
    "last token": (sentences("lasttoken"), {}, len(LENGTHS)),
    "mean": (sentences("mean"), {}, sum(LENGTHS)),
    "tags": (TokenClassifier, {}, sum(LENGTHS)),
    "answers": (QuestionAnswerer, {}, sum(LENGTHS)),
}


@contextmanager
def counting(model: HeadedModel) -> Iterator[list[int]]:
    """Count the tokens that each call of a feed-forward layer computes."""
    counts: list[int] = []
    hooks = {
        block.feed_forward: block.feed_forward.register_forward_pre_hook(
            lambda _, inputs: counts.append(len(inputs[0]))
        )
        for block in model.blocks
    }
    try:
        yield counts
    finally:
        for hook in hooks.values():
            hook.remove()


def run(model: HeadedModel, batch: dict[str, Any], **options: Any) -> tuple[Tensor, list[Tensor]]:
    """The outputs in one tensor, and the gradient of every parameter."""
    model.zero_grad()
    outputs = model(**batch, **options)
    parts = outputs if isinstance(outputs, tuple) else (outputs,)
    flat = torch.cat([part.flatten() for part in parts])
    flat = flat[flat > -1e30]  # the lowest number on padding
    flat.sin().sum().backward()
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
    return flat.detach(), [gradient.clone() for gradient in gradients]


def assert_exact(model: HeadedModel, batch: dict[str, Any], **options: Any) -> None:
    """What is computed for the tokens that are read is what is computed for all."""
    values, gradients = run(model, batch, **options)
    whole = compute_all_tokens(model.base)
    expected, expected_gradients = run(model, batch, **options)
    whole.remove()
    assert_close(values, expected, 1e-5)
    for gradient, other in zip(gradients, expected_gradients, strict=True):
        assert_close(gradient, other, 1e-5)


def packed(lengths: list[int], causal: bool = False) -> dict[str, Any]:
    ids = torch.arange(sum(lengths)) % 50 + 3
    return {"input_ids": ids, "sequences": Sequences.of(lengths, causal=causal)}


@pytest.mark.parametrize("backend", ["plain", "fused"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("head", ["labels", "masked"])
def test_every_attention_is_exact(head: str, config: EncoderConfig, backend: Any) -> None:
    make, options, count = HEADS[head]
    model = randomise(make(config))
    with use_backend(backend), counting(model) as counts:
        assert_exact(model, packed(LENGTHS), **options)
        assert_exact(model, packed(LENGTHS, causal=True), **options)
    layers = config.num_hidden_layers
    assert counts == 2 * ([18] * (layers - 1) + [count] + [18] * layers)


@pytest.mark.parametrize("name", HEADS)
def test_every_head_reads_what_it_says(name: str) -> None:
    make, options, count = HEADS[name]
    model = randomise(make(bert()))
    with counting(model) as counts:
        assert_exact(model, packed(LENGTHS), **options)
    assert counts == [18, count, 18, 18]


@pytest.mark.parametrize("lengths", [[5], LENGTHS])
def test_prepacked_blocks(lengths: list[int]) -> None:
    model = prepack_weights(randomise(SequenceClassifier(bert())))
    whole = compute_all_tokens(model.base)
    expected = model(**packed(lengths))
    whole.remove()
    with torch.no_grad():
        assert_close(model(**packed(lengths)), expected, 1e-5)


@pytest.mark.parametrize("make", [SequenceClassifier, ChoiceScorer, MaskedLM, sentences("cls")])
def test_a_padded_batch(make: Any) -> None:
    model, batch = randomise(make(bert())), padded([5, 0, 1, 7])
    asked = {"target_positions": batch["input_ids"] % 3 == 1} if make is MaskedLM else {}
    assert_exact(model, batch, **asked)


@pytest.mark.parametrize("make", [SequenceClassifier, ChoiceScorer, sentences("lasttoken")])
def test_a_traced_batch(make: Any) -> None:
    model, batch = randomise(make(bert())), padded(LENGTHS)
    traced = TracedSequences(batch.pop("attention_mask").bool())
    with counting(model) as counts:
        assert_exact(model, {**batch, "sequences": traced})
    assert counts == [18, len(LENGTHS), 18, 18]


def test_targets_in_any_order_and_more_than_once() -> None:
    model = randomise(MaskedLM(bert()))
    some = torch.tensor([14, 3, 3, -1, 5, 3])
    assert_exact(model, packed(LENGTHS), target_positions=some)
    assert_exact(model, packed(LENGTHS), target_positions=some[:0])
    assert_exact(model, packed(LENGTHS), target_positions=torch.arange(18) % 4 == 1)


@pytest.mark.parametrize("change", [add_prefix, add_soft_prompt])
def test_a_prefix(change: Any) -> None:
    model = randomise(SequenceClassifier(bert()))
    change(model, 3)
    assert_exact(model, packed(LENGTHS))


@pytest.mark.parametrize("asked", ["output_hidden_states", "output_attentions"])
def test_what_is_requested_is_whole(asked: str) -> None:
    model = randomise(SequenceClassifier(bert()))
    found = model(**packed(LENGTHS), **{asked: True})
    base = model.base(**packed(LENGTHS), **{asked: True})
    for some, all_ in zip(getattr(found, asked[7:]), getattr(base, asked[7:]), strict=True):
        assert torch.equal(some, all_)
    assert_close(found.logits, model(**packed(LENGTHS)), 1e-5)


def test_an_encoder_returns_the_tokens_asked_for() -> None:
    encoder, some = randomise(Encoder(bert(), pooler=False)), torch.tensor([4, 17, 0])
    found = encoder(**packed(LENGTHS), read=some)
    expected = encoder(**packed(LENGTHS)).last_hidden_state
    assert_close(found.last_hidden_state, expected[some], 1e-5)
    inputs = pack_inputs(token_type_ids=None, attention_mask=None, **packed(LENGTHS))
    assert_close(take(found, inputs, lambda x: x[[0, 17]]), expected[[0, 17]], 1e-5)
    with pytest.raises(IndexError):  # a vector that was not computed
        take(found, inputs, lambda x: x[[1]])


def test_tokens_of_a_padded_batch_are_not_selected() -> None:
    encoder, batch = Encoder(bert()), padded(LENGTHS)
    kept = {"input_ids": batch["input_ids"], "sequences": PaddedSequences(batch["input_ids"] > 0)}
    for given in (batch, kept):
        with pytest.raises(UserError, match=r"read .* with sequences alone"):
            encoder(**given, read=torch.tensor([1, 0]))


def test_dropout_is_the_same_in_distribution() -> None:
    """The mean of many outputs, each with other zeros."""
    torch.manual_seed(0)
    model = randomise(SequenceClassifier(bert().with_dropout(0.3))).train()
    model.dropout = nn.Dropout(0.0)
    batch = packed([3] * 2000)
    batch["input_ids"] = torch.tensor([7, 8, 9] * 2000)
    with torch.no_grad():
        some = model(**batch)
        whole = compute_all_tokens(model.base)
        every = model(**batch)
        whole.remove()
    assert some.std(0).min() > 0.01
    for a, b in ((some, every), (some.square(), every.square())):
        error = ((a.var(0) + b.var(0)) / len(a)).sqrt()
        assert ((a.mean(0) - b.mean(0)).abs() < 4 * error).all()
