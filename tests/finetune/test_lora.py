"""LoRA and DoRA: equal to peft, in parts and merged; what is frozen, and what is refused."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plainformer.base import UserError
from plainformer.encoder import (
    Encoder,
    MaskedLM,
    SentenceEncoder,
    SequenceClassifier,
    TokenClassifier,
    prepack_weights,
    use_backend,
)
from plainformer.encoder.weights import FAMILIES
from plainformer.encoder.weights.added import split_state
from plainformer.finetune.tasks.tagging.crf import ChainTagger
from plainformer.finetune.tuning import add_dora, add_lora, merge_added, trained_parameters
from plainformer.finetune.tuning.lora import LoraLinear
from tests.encoder.families import inputs, pair, rotate_without_rounding
from tests.encoder.tools import assert_close, bert, modern, padded, randomise

peft = pytest.importorskip("peft")

BOTH = pytest.mark.parametrize("add", [add_lora, add_dora])
CONFIGS = pytest.mark.parametrize("config", [bert(), bert(share_layers=True), modern()])
BATCH = padded([7, 3, 12])
TARGETS = ("query", "value", "output", "down")
THEIR_TARGETS = {
    "bert": ["query", "value", "attention.output.dense", "output.dense"],
    "roberta": ["query", "value", "attention.output.dense", "output.dense"],
    "distilbert": ["q_lin", "v_lin", "out_lin", "lin2"],
    "modernbert": ["Wqkv", "attn.Wo", "mlp.Wo"],
}


@pytest.fixture(autouse=True)
def unrounded(monkeypatch: pytest.MonkeyPatch) -> None:
    rotate_without_rounding(monkeypatch)


def added_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: p for name, p in model.named_parameters() if name in split_state(model)[1]}


def drawn(model: Any, seed: int = 1) -> Any:
    """Give the added parameters random values: B is 0 at the start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in added_of(model).values():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model


@BOTH
@CONFIGS
def test_at_the_start_the_model_computes_what_it_did(config: Any, add: Any) -> None:
    model = randomise(SequenceClassifier(config)).double()
    before, names = model(**BATCH), {name for name, _ in model.named_parameters()}
    add(model, rank=3, targets=("all",))
    assert_close(model(**BATCH), before, 1e-12)
    assert names == {name for name, _ in model.named_parameters()} - added_of(model).keys()
    assert all(isinstance(block.attention.output, LoraLinear) for block in model.blocks)


@BOTH
@pytest.mark.parametrize("stabilised", [False, True])
@pytest.mark.parametrize("family", list(THEIR_TARGETS))
def test_outputs_and_gradients_are_those_of_peft(
    family: str, stabilised: bool, add: Any, tmp_path: Path
) -> None:
    theirs, ours = pair(family, "SequenceClassifier", tmp_path)
    theirs, ours = theirs.double(), ours.double()
    settings = peft.LoraConfig(
        task_type="SEQ_CLS",
        r=3,
        lora_alpha=5,
        target_modules=THEIR_TARGETS[family],
        use_rslora=stabilised,
        use_dora=add is add_dora,
    )
    theirs = peft.get_peft_model(theirs, settings).eval()
    whole = ("query+key+value", *TARGETS[2:])
    targets = whole if family == "modernbert" else TARGETS
    add(ours, rank=3, alpha=5, targets=targets, rank_stabilised=stabilised)
    drawn(ours)

    kinds = {"a": "lora_A.default.weight", "b": "lora_B.default.weight"}
    kinds["m"] = "lora_magnitude_vector.default.weight"
    parameters, found = dict(theirs.named_parameters()), {}
    for name, layer in ours.named_modules():
        for part in layer.parts if isinstance(layer, LoraLinear) else ():
            names = FAMILIES[family].hf_names(f"{name}.weight", "SequenceClassifier")
            number = layer.fused_parts.index(part) if len(names) > 1 else 0
            place = f"base_model.model.{names[number].removesuffix('.weight')}"
            for kind, suffix in kinds.items():
                if hasattr(layer, kind):
                    parameter = parameters[f"{place}.{suffix}"]
                    parameter.data.copy_(getattr(layer, kind)[part])
                    found[f"{name}.{kind}.{part}"] = parameter

    batch = inputs(family)
    logits, expected = ours(**batch), theirs(**batch).logits
    assert_close(logits, expected, 1e-10)
    logits.square().sum().backward()
    expected.square().sum().backward()
    assert found.keys() == added_of(ours).keys() and len(found) >= 12
    for name, parameter in added_of(ours).items():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0
        assert_close(parameter.grad, found[name].grad, 1e-8)


@BOTH
@CONFIGS
def test_merged_is_the_same_and_unmerged_the_very_model(config: Any, add: Any) -> None:
    model = randomise(SequenceClassifier(config)).double()
    plain = [name for name, _ in model.named_modules()]
    add(model, rank=3, targets=("query", "up", "output"))
    drawn(model)
    before, state = model(**BATCH), copy.deepcopy(model.state_dict())
    unmerge = merge_added(model)
    assert [name for name, _ in model.named_modules()] == plain
    assert_close(model(**BATCH), before, 1e-10)
    with use_backend("plain"):
        assert_close(model(**BATCH), before, 1e-10)
    unmerge()
    assert model(**BATCH).equal(before)
    assert all(tensor.equal(state[name]) for name, tensor in model.state_dict().items())
    assert_close(prepack_weights(model.float())(**BATCH), before, 1e-4)


def test_parts_of_one_matrix_are_a_block_of_the_whole() -> None:
    """Two parts apart are one pair of twice the rank, whose B has zeros where they do not meet."""
    parts = randomise(SequenceClassifier(modern())).double()
    whole = copy.deepcopy(parts)
    add_lora(parts, rank=2, alpha=2, targets=("gate", "up"))
    add_lora(whole, rank=4, alpha=4, targets=("gate+up",))
    drawn(parts)
    for one, other in zip(parts.blocks, whole.blocks, strict=True):
        few, pair = one.feed_forward.up, other.feed_forward.up
        pair.a["gate+up"].data = torch.cat([few.a["gate"], few.a["up"]])
        pair.b["gate+up"].data = torch.block_diag(few.b["gate"], few.b["up"])
    assert_close(parts(**BATCH), whole(**BATCH), 1e-12)


def test_dropout_is_before_the_added_matrices_alone() -> None:
    model = randomise(SequenceClassifier(bert()))
    add_lora(model, dropout=0.5)
    before = model(**BATCH)
    assert model.train()(**BATCH).equal(before)  # B is 0
    drawn(model)
    assert not model(**BATCH).equal(model(**BATCH))
    assert model.eval()(**BATCH).equal(model(**BATCH))


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (("query", "valeu"), "no layer of the model is named 'valeu': choose query, key, value"),
        (("gate",), "no layer .* 'gate'"),
        (("query", "query+key+value"), "overlap"),
        ((), "name no layer"),
    ],
)
def test_targets_that_are_none_are_refused(targets: tuple[str, ...], message: str) -> None:
    model = SequenceClassifier(bert())
    with pytest.raises(UserError, match=message):
        add_lora(model, targets=targets)
    assert not added_of(model) and all(p.requires_grad for p in model.parameters())


def test_a_rank_of_0_and_layers_with_additions_are_refused() -> None:
    model = SequenceClassifier(bert())
    with pytest.raises(UserError, match="rank must be at least 1"):
        add_lora(model, rank=0)
    add_lora(model)
    with pytest.raises(UserError, match="is a LoraLinear already"):
        add_dora(model, targets=("output",))
    merge_added(model)
    add_dora(model)


def trained(model: nn.Module) -> set[str]:
    return {name for name, p in model.named_parameters() if p.requires_grad}


def test_the_head_is_trained_and_a_pooler_that_is_new(tmp_path: Path) -> None:
    Encoder(bert(), pooler=False).save_pretrained(tmp_path / "bare")
    SequenceClassifier(bert()).save_pretrained(tmp_path / "pooled")
    head, pooler = {"classifier.weight", "classifier.bias"}, "encoder.pooler.dense."
    for folder, new in (("bare", {f"{pooler}weight", f"{pooler}bias"}), ("pooled", set())):
        model = SequenceClassifier.from_pretrained(tmp_path / folder, labels=["a", "b"])
        add_lora(model)
        assert trained(model) == {*head, *new, *added_of(model)}
    tagger = ChainTagger(TokenClassifier(bert(), ["O", "B-x", "I-x"]))
    add_lora(tagger)
    crf = {"crf.start", "crf.transitions", "crf.end"}
    assert trained(tagger) == {f"classifier.{name}" for name in head} | crf | set(added_of(tagger))
    for nothing_new in (MaskedLM(bert()), SentenceEncoder(bert())):
        add_lora(nothing_new)
        assert trained(nothing_new) == set(added_of(nothing_new))


def test_the_table_counts_each_part() -> None:
    model = SequenceClassifier(bert())
    own = sum(p.numel() for p in model.parameters())
    add_lora(model, rank=4)
    count = 2 * 2 * 4 * (32 + 32)
    lines = {line.split()[0]: line.split()[1:] for line in trained_parameters(model)[1:]}
    assert lines["added"][:2] == [f"{count:,}", f"{count:,}"]
    assert lines["head"][:2] == [f"{66 + 32 * 33:,}", "66"]  # of which the pooler is frozen
    assert lines["blocks"][1] == lines["embeddings"][1] == "0"
    total = count + 66
    assert lines["all"] == [f"{own + count:,}", f"{total:,}", f"{12 * total / 1e6:.1f}", "MB"]
    assert trained_parameters(model, lambda name: 0.0)[-1].split()[2] == "0"
