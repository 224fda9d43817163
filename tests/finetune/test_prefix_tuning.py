"""Prefix tuning: equal to its formula and to peft, kept in every form, saved and opened."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from plainformer.base import UserError
from plainformer.encoder import SequenceClassifier, prepack_weights, use_backend
from plainformer.encoder.attention import MultiHeadAttention
from plainformer.encoder.attention_mask import AttentionMask
from plainformer.encoder.packing import Sequences
from plainformer.finetune import TuningOptions
from plainformer.finetune.tuning import add_lora, add_prefix, add_tensors, merge_added, save_adapter
from plainformer.finetune.tuning.prefix import PrefixAttention
from tests.encoder.families import OURS, inputs, pair
from tests.encoder.tools import assert_close, assert_relative, bert, modern, padded, randomise
from tests.finetune.test_lora import added_of, drawn, trained

peft = pytest.importorskip("peft")

CONFIGS = pytest.mark.parametrize("config", [bert(), bert(share_layers=True), modern()])
BATCH = padded([7, 3, 12])


def test_it_is_its_formula() -> None:
    torch.manual_seed(0)
    plain = MultiHeadAttention(8, num_heads=2).double()
    ours = PrefixAttention(plain, 3, std=1.0)
    lengths = [4, 2]
    x = torch.randn(6, 8, dtype=torch.float64)
    y, _ = ours(x, AttentionMask(Sequences.of(lengths)))
    keys, values = (t.detach().clone().requires_grad_() for t in (ours.keys, ours.values))
    rows = []
    for part in x.split(lengths):
        q, k, v = plain.qkv(part).unflatten(-1, (3, 2, 4)).unbind(1)  # (tokens, heads, size)
        k, v = torch.cat([keys, k]), torch.cat([values, v])
        scores = torch.einsum("qhd,khd->hqk", q, k) / math.sqrt(4)
        rows.append(torch.einsum("hqk,khd->qhd", scores.softmax(-1), v).flatten(1))
    expected = plain.output(torch.cat(rows))
    assert_close(y, expected, 1e-10)
    y.square().sum().backward()
    expected.square().sum().backward()
    assert ours.keys.grad is not None and ours.values.grad is not None
    assert_close(ours.keys.grad, keys.grad, 1e-8)
    assert_close(ours.values.grad, values.grad, 1e-8)


@pytest.mark.parametrize("family", ["bert", "roberta", "electra"])
def test_outputs_and_gradients_are_those_of_peft(family: str, tmp_path: Path) -> None:
    """Given positions: peft begins to number a text after the prefix, which here has none.

    It adds the length of the prefix to positions that are given, so they are that much too small.
    """
    theirs, ours = pair(family, "TokenClassifier", tmp_path)
    length, config = 3, theirs.config
    settings = peft.PrefixTuningConfig(
        task_type="TOKEN_CLS", num_virtual_tokens=length, token_dim=config.hidden_size
    )
    theirs = peft.get_peft_model(theirs, settings).double().eval()
    add_prefix(ours.double(), length)
    # (prefix, layers · 2 · hidden): of each layer the keys, then the values
    weight = theirs.prompt_encoder["default"].embedding.weight
    prefixes = [p for block in ours.blocks for p in (block.attention.keys, block.attention.values)]
    with torch.no_grad():
        weight.copy_(torch.cat([prefix.flatten(1) for prefix in prefixes], 1))
    batch = inputs(family)
    real = batch["attention_mask"].bool()
    first = config.pad_token_id + 1 if family == "roberta" else 0
    positions = first + torch.arange(real.shape[1]).expand_as(real)
    mine = ours(**batch)[real]
    other = theirs(**batch, position_ids=positions - length).logits[real]
    assert_close(mine, other, 1e-10)
    for logits in (mine, other):
        logits.square().sum().backward()
    gradient = torch.cat([prefix.grad.flatten(1) for prefix in prefixes], 1)
    assert_relative(gradient, weight.grad, 1e-8)


@CONFIGS
def test_all_forms_agree_and_the_weights_are_those_of_tokens(config: Any) -> None:
    model = randomise(SequenceClassifier(config))
    plain = model(**BATCH)
    add_prefix(model, 4)
    before = drawn(model)(**BATCH)
    assert not before.equal(plain)
    with use_backend("plain"):
        assert_close(model(**BATCH), before, 1e-4)
    assert_close(prepack_weights(copy.deepcopy(model))(**BATCH), before, 1e-4)
    (weights, *_) = model.base(**BATCH, output_attentions=True).attentions
    assert weights.shape[-2:] == (12, 12) and weights[0, 0, 0].sum() < 1
    head = {name for name, _ in model.named_parameters() if not name.startswith("encoder.")}
    assert trained(model) == head | set(added_of(model))


@pytest.mark.parametrize("family", ["bert", "modernbert", "distilbert"])
def test_a_folder_holds_it(family: str, tmp_path: Path) -> None:
    _, ours = pair(family, "SequenceClassifier", tmp_path / "base")
    add_prefix(ours, 3)
    save_adapter(drawn(ours), tmp_path / "adapter", tmp_path / "base")
    again = OURS["SequenceClassifier"].from_pretrained(tmp_path / "adapter", add=add_tensors)
    state = again.state_dict()
    assert state.keys() == ours.state_dict().keys() and trained(again) == trained(ours)
    assert all(tensor.equal(state[name]) for name, tensor in ours.state_dict().items())


def test_what_does_not_go_is_refused() -> None:
    model = SequenceClassifier(bert())
    with pytest.raises(UserError, match="length must be at least 1"):
        add_prefix(model, 0)
    add_prefix(model, 4)
    with pytest.raises(UserError, match="a PrefixAttention cannot be merged"):
        merge_added(model)
    for add in (add_prefix, add_lora):
        with pytest.raises(UserError, match="PrefixAttention already"):
            add(model)
    with pytest.raises(UserError, match="adapters and prefix each choose"):
        TuningOptions(prefix=4, adapters=4)
    with pytest.raises(UserError, match="prefix must be at least 0"):
        TuningOptions(prefix=-1)
