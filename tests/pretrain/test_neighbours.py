"""Heads that begin at their neighbours: the formula, what stays as it was, and runs that use it."""

import copy
from dataclasses import replace

import pytest
import torch

from plainformer.encoder import Encoder, EncoderConfig
from plainformer.pretrain.neighbours import CONTRAST, add_neighbour_heads

SHAPE = replace(EncoderConfig.preset("modern-tiny"), vocab_size=300, pad_token_id=0)
TEXT = torch.arange(1, 41)[None] * 7


def weights(encoder: Encoder, layer: int) -> torch.Tensor:
    """Attention weights of a layer: (heads, queries, keys)."""
    attentions = encoder.eval()(TEXT, output_attentions=True).attentions
    assert attentions is not None
    return attentions[layer][0].detach()


def new(shape: EncoderConfig = SHAPE) -> Encoder:
    torch.manual_seed(0)
    return Encoder(shape)


def test_two_heads_look_beside_themselves() -> None:
    before, encoder = new(), new()
    add_neighbour_heads(encoder)
    for layer in range(2):
        back, ahead = weights(encoder, layer)
        assert back.diagonal(-1).mean() > 0.5
        assert ahead.diagonal(1).mean() > 0.5
        assert weights(before, layer).diagonal(dim1=1, dim2=2).mean() < 0.1
    for name, parameter in encoder.named_parameters():
        same = torch.equal(parameter, before.get_parameter(name))
        changed = "tokens" in name or (name.startswith(("blocks.0", "blocks.1")) and "qkv" in name)
        assert same != changed, name


@pytest.mark.parametrize("layer", [0, 1])  # global, local
def test_the_score_falls_by_the_contrast(layer: int) -> None:
    encoder = new()
    for parameter in encoder.parameters():
        if parameter.ndim == 2:
            torch.nn.init.zeros_(parameter)
    add_neighbour_heads(encoder)
    logs = weights(encoder, layer).log()
    for head, distance in enumerate((-1, 1)):
        peak = logs[head, 20, 20 + distance]
        for other in (distance - 1, distance + 1):
            # All tokens are u and nothing else, so that q · k is twice that of a random table.
            assert peak - logs[head, 20, 20 + other] == pytest.approx(2 * CONTRAST, rel=1e-2)


def test_no_probability_changes_by_what_tokens_have_in_common() -> None:
    before, encoder = new(), new()
    add_neighbour_heads(encoder)
    table, other = (e.embeddings.tokens.weight.detach() for e in (before, encoder))
    assert torch.equal(other[0], torch.zeros(128))
    x = torch.randn(5, 128)
    scores = [(x @ t[1:].T).log_softmax(-1) for t in (table, other)]
    torch.testing.assert_close(*scores)


def test_other_positions_and_single_heads() -> None:
    bert = Encoder(replace(EncoderConfig.preset("bert-tiny"), vocab_size=300))
    before = copy.deepcopy(bert.state_dict())
    add_neighbour_heads(bert)
    assert all(torch.equal(x, before[name]) for name, x in bert.state_dict().items())
    single = new(replace(SHAPE, num_attention_heads=1))
    add_neighbour_heads(single)
    assert weights(single, 0)[0].diagonal(-1).mean() > 0.4
