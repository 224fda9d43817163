"""Packing: nothing is lost, nothing is added, and padding changes no number."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from plainformer.base import UserError
from plainformer.encoder import (
    Encoder,
    MaskedLM,
    Packing,
    SequenceClassifier,
    Sequences,
    prepack_weights,
)
from tests.encoder.tools import VOCAB, assert_close, bert, modern, padded, randomise

CONFIGS = {
    "bert": bert(),
    "modern": modern(type_vocab_size=2),
    "alibi": bert(positions="alibi", norm="rms_norm", norm_order="pre"),
}
MODELS = pytest.mark.parametrize("config", list(CONFIGS))
BACKENDS = pytest.mark.parametrize("backend", ["plain", "fused"])


@st.composite
def masks(draw: st.DrawFn) -> Tensor:
    """Any 0/1 mask: padding left, right and in the middle, and rows without a token."""
    batch, seq = draw(st.integers(0, 5)), draw(st.integers(1, 7))
    rows = st.lists(st.integers(0, 1), min_size=seq, max_size=seq)
    mask = draw(st.lists(rows | st.just([0] * seq), min_size=batch, max_size=batch))
    return torch.tensor(mask, dtype=torch.int64).view(batch, seq)


@settings(deadline=None)
@given(masks())
def test_pack_and_unpack(mask: Tensor) -> None:
    packing = Packing.of(mask)
    x = torch.randn(*mask.shape, 3)
    kept = x * mask[..., None]
    packed = packing.pack(x)
    assert torch.equal(packing.unpack(packed), kept)
    assert torch.equal(packing.pack(packing.unpack(packed)), packed)
    assert torch.equal(Packing.of(mask.bool()).pack(x), packed)
    lengths = list(packing.sequences.lengths)
    assert lengths == sorted(n for n in mask.sum(1).tolist() if n)
    for row, part in zip(packing.rows, packed.split(lengths), strict=True):
        assert torch.equal(part, x[row][mask[row].bool()]), "tokens stay in order"
    summary = torch.arange(1.0, len(lengths) + 1)[:, None]
    back = packing.unpack_rows(summary)
    assert torch.equal(back[packing.rows], summary)
    assert torch.equal(back[:, 0] > 0, mask.any(1))


@settings(deadline=None)
@given(masks())
def test_attention_maps_go_back_to_their_places(mask: Tensor) -> None:
    packing = Packing.of(mask)
    sequences = packing.sequences
    longest = sequences.max_length
    weights = torch.rand(len(sequences.lengths), 2, longest, longest) + 1
    back = packing.unpack_attention(weights)
    expected = torch.zeros(len(mask), 2, *[mask.shape[1]] * 2)
    for i, row in enumerate(packing.rows.tolist()):
        places = mask[row].nonzero()[:, 0].tolist()
        for q, query in enumerate(places):
            for k, key in enumerate(places):
                expected[row, :, query, key] = weights[i, :, q, k]
    assert torch.equal(back, expected)


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), max_size=7))
def test_sequences(lengths: list[int]) -> None:
    sequences = Sequences.of(lengths)
    tokens = sum(lengths)
    rows = [i for i, n in enumerate(lengths) for _ in range(n)]
    assert sequences.sequence_ids.tolist() == rows
    assert sequences.positions.tolist() == [p for n in lengths for p in range(n)]
    assert sequences.cu_seqlens.tolist() == [sum(lengths[:i]) for i in range(len(lengths) + 1)]
    assert sequences.cu_seqlens.dtype == torch.int32, "what varlen_attn asks for"
    assert sequences.max_length == max(lengths, default=0)
    x = torch.randn(tokens, 2) + 10
    grid = sequences.pad(x)
    assert grid.shape == (len(lengths), sequences.max_length, 2)
    assert torch.equal(sequences.unpad(grid), x)
    assert int(grid.any(-1).sum()) == tokens
    assert [length for count, length in sequences.runs for _ in range(count)] == lengths
    neighbours = [length for _, length in sequences.runs]
    assert all(a != b for a, b in pairwise(neighbours))
    moved = sequences.to("cpu")
    assert moved.lengths == tuple(lengths)
    assert torch.equal(moved.positions, sequences.positions)


@MODELS
@BACKENDS
@pytest.mark.parametrize("left", [False, True])
def test_a_batch_is_its_sentences_one_by_one(config: str, backend: Any, left: bool) -> None:
    model = randomise(Encoder(CONFIGS[config], backend=backend, pooler=True))
    batch = padded([4, 19, 1, 11, 19], left=left)
    whole = model(**batch, output_hidden_states=True, output_attentions=True)
    for row, mask in enumerate(batch["attention_mask"].bool()):
        one = {k: v[row, mask][None] for k, v in batch.items()}
        del one["attention_mask"]
        alone = model(**one, output_hidden_states=True, output_attentions=True)
        assert_close(whole.last_hidden_state[row, mask], alone.last_hidden_state[0], 1e-5)
        assert not whole.last_hidden_state[row, ~mask].any()
        assert_close(whole.pooler_output[row], alone.pooler_output[0], 1e-5)
        for h, single in zip(whole.hidden_states, alone.hidden_states, strict=True):
            assert_close(h[row, mask], single[0], 1e-5)
            assert not h[row, ~mask].any()
        for w, single in zip(whole.attentions, alone.attentions, strict=True):
            assert_close(w[row][:, mask][:, :, mask], single[0], 1e-5)
            assert not w[row][:, ~mask].any()
            assert not w[row][:, :, ~mask].any()


@MODELS
def test_what_stands_on_padding_does_not_matter(config: str) -> None:
    model = randomise(MaskedLM(CONFIGS[config]))
    batch = padded([4, 9])
    other = {**batch, "input_ids": batch["input_ids"].masked_fill(batch["attention_mask"] == 0, 5)}
    assert torch.equal(model(**batch), model(**other))


@MODELS
@BACKENDS
def test_a_row_without_tokens_is_zero(config: str, backend: Any) -> None:
    batch = padded([5, 3, 0, 5])
    shape = CONFIGS[config]
    encoder = randomise(Encoder(shape, backend=backend, pooler=True))
    out = encoder(**batch, output_hidden_states=True, output_attentions=True)
    values = [out.last_hidden_state, out.pooler_output, *out.hidden_states, *out.attentions]
    heads = [
        MaskedLM(shape, backend=backend),
        SequenceClassifier(shape, backend=backend),
        SequenceClassifier(modern(type_vocab_size=2), pooling="mean", backend=backend),
    ]
    for value in values + [randomise(head)(**batch) for head in heads]:
        assert value.isfinite().all()
        assert not value[2].any()
        assert value[1].any()
    (out.last_hidden_state.sum() + out.pooler_output.sum() + out.attentions[0].sum()).backward()
    for parameter in encoder.parameters():
        if parameter.grad is not None:
            assert parameter.grad.isfinite().all()


@MODELS
@BACKENDS
@pytest.mark.parametrize("rows", [0, 2])
def test_a_batch_without_tokens(config: str, backend: Any, rows: int) -> None:
    batch = {
        "input_ids": torch.zeros(rows, 4, dtype=torch.int64),
        "attention_mask": torch.zeros(rows, 4, dtype=torch.int64),
    }
    shape = CONFIGS[config]
    encoder = randomise(Encoder(shape, backend=backend, pooler=True))
    out = encoder(**batch, output_hidden_states=True, output_attentions=True)
    assert torch.equal(out.last_hidden_state, torch.zeros(rows, 4, 32))
    assert torch.equal(out.pooler_output, torch.zeros(rows, 32))
    assert torch.equal(out.attentions[0], torch.zeros(rows, 4, 4, 4))
    assert torch.equal(randomise(MaskedLM(shape))(**batch), torch.zeros(rows, 4, VOCAB))
    with torch.no_grad():
        states = prepack_weights(Encoder(shape, backend=backend))(**batch).last_hidden_state
    assert torch.equal(states, torch.zeros(rows, 4, 32))
    reads_all = shape.classifier_head == "prediction"
    for pooling in ("cls", "mean") if reads_all else ("cls",):
        classifier = randomise(SequenceClassifier(shape, pooling=pooling, backend=backend))
        logits = classifier(**batch)
        assert torch.equal(logits, torch.zeros(rows, 2))
        logits.sum().backward()


def pack(batch: dict[str, Tensor]) -> tuple[Packing, dict[str, Any]]:
    packing = Packing.of(batch["attention_mask"])
    return packing, {
        "input_ids": packing.pack(batch["input_ids"]),
        "token_type_ids": packing.pack(batch["token_type_ids"]),
        "sequences": packing.sequences,
    }


@MODELS
@BACKENDS
def test_a_packed_call_is_the_padded_call(config: str, backend: Any) -> None:
    batch = padded([4, 7, 1, 7])
    packing, packed = pack(batch)
    encoder = randomise(Encoder(CONFIGS[config], backend=backend, pooler=True))
    asked = {"output_hidden_states": True, "output_attentions": True}
    a, b = encoder(**batch, **asked), encoder(**packed, **asked)
    assert torch.equal(packing.unpack(b.last_hidden_state), a.last_hidden_state)
    assert torch.equal(packing.unpack_rows(b.pooler_output), a.pooler_output)
    for x, y in zip(a.hidden_states, b.hidden_states, strict=True):
        assert torch.equal(packing.unpack(y), x)
    for x, y in zip(a.attentions, b.attentions, strict=True):
        assert torch.equal(packing.unpack_attention(y), x)
    lm = randomise(MaskedLM(CONFIGS[config], backend=backend))
    assert torch.equal(packing.unpack(lm(**packed)), lm(**batch))
    classifier = randomise(SequenceClassifier(CONFIGS[config], backend=backend))
    assert torch.equal(packing.unpack_rows(classifier(**packed)), classifier(**batch))


@MODELS
def test_packed_sequences_may_lie_in_any_order(config: str) -> None:
    model = randomise(Encoder(CONFIGS[config]))
    ids = padded([6])["input_ids"][0], padded([2], seed=1)["input_ids"][0]
    for order in ((0, 1), (1, 0)):
        parts = [ids[i] for i in order]
        sequences = Sequences.of([len(part) for part in parts])
        got = model(torch.cat(parts), sequences=sequences).last_hidden_state
        for part, single in zip(got.split(list(sequences.lengths)), parts, strict=True):
            assert_close(part, model(single[None]).last_hidden_state[0], 1e-5)


@MODELS
def test_logits_at_chosen_places(config: str) -> None:
    batch = padded([7, 4, 5, 3], left=True)
    packing, packed = pack(batch)
    lm = randomise(MaskedLM(CONFIGS[config]))
    full = lm(**batch)
    generator = torch.Generator().manual_seed(3)
    chosen = torch.rand(full.shape[:2], generator=generator) < 0.5
    chosen &= batch["attention_mask"].bool()
    assert 3 < chosen.sum() < 15
    assert_close(lm(**batch, target_positions=chosen), full[chosen], 1e-6)
    assert lm(**batch, target_positions=torch.zeros_like(chosen)).shape == (0, VOCAB)
    flat, mask = lm(**packed), packing.pack(chosen)
    assert_close(lm(**packed, target_positions=mask), flat[mask], 1e-6)
    places = torch.tensor([5, 0, 12])
    assert_close(lm(**packed, target_positions=places), flat[places], 1e-6)


def test_ids_without_a_batch_are_refused() -> None:
    with pytest.raises(UserError, match=r"\(batch, seq\); packed ones"):
        Encoder(CONFIGS["bert"])(torch.tensor([1, 2, 3]))
