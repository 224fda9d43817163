"""The forward pass on a padded batch, which stays padded, or is packed within the graph.

Both give the numbers of the packed one, and can be exported.
"""

from typing import Any

import jaxtyping
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from plainformer.encoder import (
    Encoder,
    EncoderConfig,
    PaddedSequences,
    Sequences,
    TracedSequences,
)
from tests.encoder.tools import VOCAB, assert_close, bert, modern, randomise

CONFIGS = {
    "learned": bert(),
    "learned from a later row": bert(position_offset=2, pad_token_id=1, type_vocab_size=0),
    "sinusoidal": bert(positions="sinusoidal"),
    "rotary in windows": modern(),
    "alibi": bert(positions="alibi", norm="rms_norm", norm_order="pre"),
    "alibi in windows": bert(positions="alibi", local_attention=4, global_attn_every_n_layers=2),
    "relative bias": bert(relative_bias=True),
    "one block, small embeddings": bert(share_layers=True, embedding_size=8),
}
MODELS = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
KINDS = pytest.mark.parametrize("kind", [PaddedSequences, TracedSequences])


def batch(config: EncoderConfig, seed: int = 0, seq: int = 14) -> tuple[Tensor, Tensor]:
    """Draw a batch with padding at the right, at the left, in the middle, and one token alone.

    A padding token is part of a text, too.
    """
    generator = torch.Generator().manual_seed(seed)
    mask = torch.ones(5, seq, dtype=torch.long)
    mask[1, 6:], mask[2, :5], mask[3, 2:8], mask[4, 1:] = 0, 0, 0, 0
    ids = torch.randint(4, VOCAB, (5, seq), generator=generator)
    ids[0, 3] = config.pad_token_id
    return ids.where(mask.bool(), config.pad_token_id), mask


@MODELS
@KINDS
@pytest.mark.parametrize("backend", ["plain", "fused"])
@torch.no_grad()
def test_padded_is_packed(config: EncoderConfig, backend: Any, kind: type) -> None:
    model = randomise(Encoder(config, backend, pooler=True))
    ids, mask = batch(config)
    everything = {"output_hidden_states": True, "output_attentions": True}
    expected = model(ids, mask, **everything)
    y = model(ids, sequences=kind(mask.bool()), **everything)
    is_token = mask.bool()
    for ours, packed in zip(y.hidden_states, expected.hidden_states, strict=True):
        assert_close(ours, packed, 1e-5)
    assert_close(y.last_hidden_state, expected.last_hidden_state, 1e-5)
    assert_close(y.pooler_output, expected.pooler_output, 1e-5)
    for ours, packed in zip(y.attentions, expected.attentions, strict=True):
        assert_close(ours, packed, 1e-5)
    # Without attention weights the fused form runs.
    y = model(ids, sequences=kind(is_token))
    assert_close(y.last_hidden_state[is_token], expected.last_hidden_state[is_token], 1e-5)


@MODELS
@KINDS
@pytest.mark.parametrize("backend", ["plain", "fused"])
@torch.no_grad()
def test_padded_is_packed_in_causal_sequences(
    config: EncoderConfig, backend: Any, kind: type
) -> None:
    model = randomise(Encoder(config, backend))
    ids, mask = batch(config)
    is_token = mask.bool()
    sequences = Sequences.of(mask.sum(1).tolist(), causal=True)
    expected = model(ids[is_token], sequences=sequences).last_hidden_state
    y = model(ids, sequences=kind(is_token, causal=True)).last_hidden_state
    assert_close(y[is_token], expected, 1e-5)


@KINDS
def test_gradients_are_those_of_the_packed_pass(kind: type) -> None:
    """The outputs of padding are constants: they lead back to no parameter."""
    config = bert(relative_bias=True)
    ids, mask = batch(config)
    is_token = mask.bool()
    gradients = []
    for sequences in (None, kind(is_token)):
        model = randomise(Encoder(config)).double()
        y = model(ids, None if sequences else mask, sequences=sequences).last_hidden_state
        y.square().sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    packed, padded = gradients
    for name, gradient in packed.items():
        assert (gradient is None) == (padded[name] is None), name
        if gradient is not None:
            assert_close(padded[name], gradient, 1e-12)


class Exported(nn.Module):
    """A function of the token ids and the attention mask alone."""

    def __init__(self, encoder: Encoder, kind: type) -> None:
        super().__init__()
        self.encoder, self.kind = encoder, kind

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        output = self.encoder(input_ids, sequences=self.kind(attention_mask.bool()))
        return output.last_hidden_state, output.pooler_output


@MODELS
@KINDS
@torch.no_grad()
def test_an_exported_model_takes_other_batches(
    monkeypatch: pytest.MonkeyPatch, config: EncoderConfig, kind: type
) -> None:
    """Of another size, with other padding: no number and no shape of the first is in the graph."""
    # In a trace the sizes of tensors are symbols, which are no `int` to the check of types.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    model = randomise(Encoder(config, pooler=True))
    sizes = {0: Dim("batch"), 1: Dim("seq", max=config.max_position_embeddings)}
    program = torch.export.export(
        Exported(model, kind),
        batch(config),
        dynamic_shapes={"input_ids": sizes, "attention_mask": sizes},
    )
    ids, mask = batch(config, seed=1, seq=23)
    ids, mask = ids[1:], mask[1:]
    expected = model(ids, mask)
    y, pooled = program.module()(ids, mask)
    assert_close(y, expected.last_hidden_state, 1e-5)
    assert_close(pooled, expected.pooler_output, 1e-5)


@torch.no_grad()
def test_a_traced_batch_computes_no_padding() -> None:
    """The blocks see the tokens alone; a row may have a single one."""
    model = randomise(Encoder(bert()))
    ids, mask = batch(model.config)
    seen: list[tuple[int, ...]] = []
    model.blocks[0].feed_forward.register_forward_hook(lambda _, x, y: seen.append(y.shape))
    model(ids, sequences=TracedSequences(mask.bool()))
    assert seen == [(int(mask.sum()), model.config.hidden_size)]
