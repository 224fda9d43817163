"""The count by hand, held against what torch counts and against windows counted pair by pair."""

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from plainformer.encoder import (
    Discriminator,
    Encoder,
    EncoderConfig,
    MaskedLM,
    PairedMaskedLM,
    Sequences,
    flops,
)
from tests.encoder.tools import bert, modern

SEQUENCES = Sequences.of([20, 20, 20])
"""of one length, since the plain form pads"""
ASKED = torch.tensor([3, 17, 21, 30, 59])
FULL = {
    "bert": bert(),
    "bert without tied embeddings": bert(tie_word_embeddings=False),
    "modern": modern(local_attention=0),
    "a window as wide as the text": modern(local_attention=40),
    "gated": bert(gated=True),
    "electra": bert(architecture="electra", embedding_size=12, classifier_head="gelu"),
    "albert": bert(architecture="albert", embedding_size=12, share_layers=True),
    "mpnet": bert(architecture="mpnet", relative_bias=True, type_vocab_size=0),
}


def counted(model: Any, **arguments: Any) -> tuple[int, int]:
    """What torch counts of a forward pass, and of a forward and a backward pass.

    In the plain form: of the fused one torch does not count the kernel that the CPU takes.
    """
    ids = torch.full((60,), 7)
    with FlopCounterMode(display=False) as counter:
        out = model(ids, sequences=SEQUENCES, **arguments)
        forward = counter.get_total_flops()
        outs = out if isinstance(out, tuple) else (getattr(out, "last_hidden_state", out),)
        sum(out.sum() for out in outs).backward()
    return forward, counter.get_total_flops()


@pytest.mark.parametrize("config", FULL.values(), ids=FULL)
def test_flops_are_what_torch_counts(config: EncoderConfig) -> None:
    """To the last one, forward; and training is three times as much."""
    ours = flops.encoder_flops(config, SEQUENCES)
    model = Encoder(config, backend="plain", pooler=False)
    assert counted(model) == (ours, 3 * ours)
    assert model.flops_per_token(20) == ours / 60

    ours = flops.masked_lm_flops(config, SEQUENCES, len(ASKED))
    assert counted(MaskedLM(config, backend="plain"), target_positions=ASKED) == (ours, 3 * ours)
    assert counted(MaskedLM(config, backend="plain"))[0] == flops.masked_lm_flops(
        config, SEQUENCES, 60
    )


def test_flops_of_the_other_heads() -> None:
    config = FULL["bert"]
    ours = flops.paired_masked_lm_flops(config, SEQUENCES, len(ASKED))
    model = PairedMaskedLM(config, backend="plain")
    assert counted(model, target_positions=ASKED) == (ours, 3 * ours)
    config = FULL["electra"]
    ours = flops.discriminator_flops(config, SEQUENCES)
    assert counted(Discriminator(config, backend="plain")) == (ours, 3 * ours)


@pytest.mark.parametrize("length", [1, 2, 3, 5, 30])
@pytest.mark.parametrize("window", [1, 2, 5, 50])
def test_pairs_in_a_window(length: int, window: int) -> None:
    place = torch.arange(length)
    distance = place - place[:, None]
    seen = distance.abs() <= window
    assert flops.seen_pairs(length, window) == seen.sum()
    assert flops.seen_pairs(length, window, causal=True) == (seen & (distance <= 0)).sum()


@pytest.mark.parametrize("causal", [False, True])
def test_a_batch_costs_what_its_sequences_cost(causal: bool) -> None:
    config = modern(local_attention=4)
    assert [config.is_local(layer) for layer in range(4)] == [False, True, True, False]
    lengths = [1, 2, 7, 7, 30]
    each = [flops.encoder_flops(config, Sequences.of([n], causal=causal)) for n in lengths]
    assert flops.encoder_flops(config, Sequences.of(lengths, causal=causal)) == sum(each)
    place = torch.arange(30)
    distance = place - place[:, None]
    seen = distance <= 0 if causal else distance == distance
    near = int((seen & (distance.abs() <= 2)).sum())
    matrices = 4 * (4 * 32 * 32 + 3 * 32 * 48)
    pairs = 2 * near + 2 * int(seen.sum())
    assert each[-1] == 30 * 2 * matrices + 4 * 32 * pairs
