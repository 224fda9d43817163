"""Causal sequences: no token sees what comes after it, in any form, and theirs agrees."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from plainformer.encoder import AttentionMask, EncoderConfig, MaskedLM, Sequences, use_backend
from plainformer.encoder.ops import fused, plain
from tests.encoder.test_attention import LENGTHS, SETTINGS
from tests.encoder.tools import (
    PRECISIONS,
    VOCAB,
    assert_close,
    assert_relative,
    bert,
    both,
    draw,
    modern,
    randomise,
)

CONFIGS = {
    "bert": bert(),
    "modern": modern(),
    "alibi": bert(positions="alibi"),
    "relative": bert(relative_bias=True),
}


@SETTINGS
def test_plain_sees_the_past_alone(window: int | None, biased: bool) -> None:
    sequences = Sequences.of(LENGTHS, causal=True)
    q, k, v = draw(3, sum(LENGTHS), 2, 8).unbind()
    bias = draw(2, 41, seed=4) if biased else None
    heads, weights = plain.attention_with_weights(q, k, v, AttentionMask(sequences, window, bias))
    both_ways = AttentionMask(Sequences.of(LENGTHS), window, bias)
    free = plain.attention_with_weights(q, k, v, both_ways)[1]
    past = free.tril()
    real = sequences.pad(torch.ones_like(sequences.sequence_ids)).double()
    assert_relative(weights, past / past.sum(-1, keepdim=True).clamp(min=1e-300), 1e-13)
    assert_relative(weights.sum(-1), real[:, None].expand(weights.shape[:3]), 1e-13)
    mixed = torch.einsum("bhqk,bkhd->bqhd", weights, sequences.pad(v))
    assert_relative(heads, sequences.unpad(mixed), 1e-13)


@SETTINGS
@PRECISIONS
def test_fused_is_plain(window: int | None, biased: bool, dtype: torch.dtype, bound: float) -> None:
    sequences = Sequences.of(LENGTHS, causal=True)
    q, k, v = draw(3, sum(LENGTHS), 4, 8, dtype=dtype).unbind()
    bias = draw(4, 2 * max(LENGTHS) - 1, dtype=dtype, seed=4) if biased else None

    def run(form: Any) -> Any:
        return lambda q, k, v, bias: form.attention(q, k, v, AttentionMask(sequences, window, bias))

    for y, expected in both(run(fused), run(plain), q, k, v, bias):
        assert_relative(y, expected, bound)


def sample(length: int) -> Tensor:
    return torch.randint(4, VOCAB, (length,), generator=torch.Generator().manual_seed(length))


@pytest.mark.parametrize("backend", ["plain", "fused"])
@pytest.mark.parametrize("kind", list(CONFIGS))
def test_a_beginning_does_not_know_its_end(kind: str, backend: Any) -> None:
    """In a batch of several lengths, through all layers."""
    model = randomise(MaskedLM(CONFIGS[kind]))
    whole, other = sample(12), sample(7)
    with torch.no_grad(), use_backend(backend):
        whole_logits = model(
            torch.cat([other, whole]), sequences=Sequences.of([7, 12], causal=True)
        )[7:]
        for end in (1, 5, 11):
            cut = model(whole[:end], sequences=Sequences.of([end], causal=True))
            assert_close(cut, whole_logits[:end], 1e-5)
        free = model(whole, sequences=Sequences.of([12]))
    assert (free - whole_logits).abs().max() > 0.1


def test_moved_sequences_stay_causal() -> None:
    assert Sequences.of([3], causal=True).to("meta").causal
    assert not Sequences.of([3]).to("meta").causal


@pytest.mark.parametrize("length", [1, 9])
def test_theirs_agrees(length: int, tmp_path: Path) -> None:
    """A folder of ours, opened as the decoder that BERT can be in `transformers`."""
    from transformers import BertLMHeadModel

    config: EncoderConfig = bert()
    ours = randomise(MaskedLM(config))
    ours.save_pretrained(tmp_path)
    theirs = BertLMHeadModel.from_pretrained(tmp_path, is_decoder=True).eval()
    ids = sample(length)
    with torch.no_grad():
        got = ours(ids, sequences=Sequences.of([length], causal=True))
        assert_close(got, theirs(ids[None]).logits[0], 1e-5)
