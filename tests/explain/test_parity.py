"""A folder that agrees, agrees; a mistake in the weights shows where it is."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from plainformer.base import UserError
from plainformer.encoder import Encoder, EncoderConfig, MaskedLM
from plainformer.explain import Comparison, Difference, compare_folder, compare_models
from plainformer.explain.compare import compare_tokenizers
from plainformer.tokenizer import load_tokenizer, train_tokenizer
from tests.encoder.families import EVERY, FAMILY, inputs, pair
from tests.encoder.tools import bert, modern, padded, randomise

transformers = pytest.importorskip("transformers")

AGREED = Comparison("x", 1e-5, [], None, [], (1, 1), (1.0, 1.0))
LENGTHS = [17, 1, 9, 30, 9]
TEXTS = ["the encoder reads", "from left to right, and back again", "", "tokens travel packed"]


def sides(config: EncoderConfig, folder: Path, kind: type = MaskedLM) -> tuple[Any, Any]:
    ours = randomise(kind(config))
    ours.save_pretrained(folder)
    name = {"bert": "Bert", "modern": "ModernBert"}[config.architecture]
    name += {MaskedLM: "ForMaskedLM", Encoder: "Model"}[kind]
    theirs = getattr(transformers, name).from_pretrained(folder, attn_implementation="eager")
    return ours, theirs.eval()


@pytest.mark.parametrize("config", [bert(), modern()], ids=["bert", "modern"])
def test_right_weights_agree_at_every_stage(config: EncoderConfig, tmp_path: Path) -> None:
    ours, theirs = sides(config, tmp_path)
    batches = [padded(LENGTHS), padded([3, 8], seed=1)]
    stages, hint = compare_models(ours, theirs, batches)
    layers = [f"layer {i}" for i in range(config.num_hidden_layers)]
    assert [stage.stage for stage in stages] == ["embeddings", *layers, "logits"]
    assert all(stage.within(1e-5) and stage.cosine > 1 - 1e-9 for stage in stages)
    assert all(stage.vectors == sum(LENGTHS) + 11 for stage in stages)
    assert hint is None


def test_the_pooler_is_a_stage_of_its_own(tmp_path: Path) -> None:
    ours, theirs = sides(bert(), tmp_path, Encoder)
    with torch.no_grad():
        ours.pooler.dense.bias += 0.1
    stages, hint = compare_models(ours, theirs, [padded(LENGTHS)])
    assert [s.stage for s in stages if not s.within(1e-5)] == ["pooler"]
    assert hint is not None
    assert "look at bert.pooler.dense: its bias differs" in hint


@EVERY
@FAMILY
def test_every_family_and_head(family: str, head: str, tmp_path: Path) -> None:
    theirs, ours = pair(family, head, tmp_path, "eager")
    batch = {"token_type_ids": torch.zeros_like(inputs(family)["input_ids"]), **inputs(family)}
    stages, hint = compare_models(ours, theirs, [batch])
    assert hint is None
    assert all(stage.within(1e-5) for stage in stages)
    assert (stages[-1].stage == "logits") == (head != "Encoder")
    layer = ours.config.num_hidden_layers - 1
    block = getattr(ours, "encoder", ours).blocks[-1]
    with torch.no_grad():
        block.feed_forward.up.weight[0] += 1.0
    _, hint = compare_models(ours, theirs, [batch])
    # ALBERT has one block: what is wrong in it is wrong from the first layer on.
    name = f"layer {0 if family == 'albert' else layer}: look at"
    assert hint is not None
    assert hint.startswith(f"the first difference is in {name}")
    assert hint.endswith("its weight differs")


def swap_key_and_value(model: Any) -> None:
    weight = model.encoder.blocks[1].attention.qkv.weight
    query, key, value = weight.detach().clone().chunk(3)
    weight.copy_(torch.cat([query, value, key]))


def transpose_output(model: Any) -> None:
    weight = model.encoder.blocks[1].attention.output.weight
    weight.copy_(weight.clone().T)


def swap_norms(model: Any) -> None:
    block = model.encoder.blocks[1]
    block.attention_norm.weight.copy_(block.feed_forward_norm.weight)


def shift_feed_forward(model: Any) -> None:
    model.encoder.blocks[1].feed_forward.down.bias[0] += 0.1


LAYER = "bert.encoder.layer.1"
MISTAKES: list[tuple[Callable[[Any], None], str]] = [
    (swap_key_and_value, f"look at {LAYER}.attention.self.key: its weight is that of "
     f"{LAYER}.attention.self.value.weight"),
    (transpose_output, f"look at {LAYER}.attention.output.dense: its weight is transposed"),
    (swap_norms, f"look at {LAYER}.attention.output.LayerNorm: its weight is that of "
     f"{LAYER}.output.LayerNorm.weight"),
    (shift_feed_forward, f"look at {LAYER}.output.dense: its bias differs"),
]  # fmt: skip


@pytest.mark.parametrize(("mistake", "where"), MISTAKES, ids=[m.__name__ for m, _ in MISTAKES])
def test_a_mistake_shows_in_its_layer_and_part(
    mistake: Callable[[Any], None], where: str, tmp_path: Path
) -> None:
    ours, theirs = sides(bert(), tmp_path)
    with torch.no_grad():
        mistake(ours)
    stages, hint = compare_models(ours, theirs, [padded([4]), padded(LENGTHS)])
    wrong = [stage.stage for stage in stages if not stage.within(1e-5)]
    assert wrong == ["layer 1", "logits"]
    assert hint == f"the first difference is in layer 1: {where}"


def test_a_layer_of_another_number_is_recognised(tmp_path: Path) -> None:
    ours, theirs = sides(modern(), tmp_path)
    blocks = ours.encoder.blocks
    blocks[3].load_state_dict(blocks[2].state_dict())
    stages, hint = compare_models(ours, theirs, [padded(LENGTHS)])
    assert next(stage.stage for stage in stages if not stage.within(1e-5)) == "layer 3"
    assert hint is not None
    assert "model.layers.3.attn_norm: its weight is that of model.layers.2.attn_norm" in hint


def test_a_fault_between_the_weights_is_told_from_one_in_them(tmp_path: Path) -> None:
    ours, theirs = sides(bert(), tmp_path)
    for block in ours.encoder.blocks:
        block.attention.num_heads = 2
    _, hint = compare_models(ours, theirs, [padded(LENGTHS)])
    assert hint is not None
    assert "layer.0.attention.output.dense: its weights are equal, its input is not" in hint


def test_not_a_number_never_agrees(tmp_path: Path) -> None:
    ours, theirs = sides(bert(), tmp_path)
    with torch.no_grad():
        ours.encoder.blocks[0].feed_forward.up.bias[0] = torch.nan
    stages, hint = compare_models(ours, theirs, [padded(LENGTHS), padded([2])])
    assert not any(stage.within(1e9) for stage in stages[1:])
    assert hint is not None
    assert "layer.0.intermediate.dense: its bias differs" in hint


def test_the_difference_is_its_formula() -> None:
    ours, theirs = torch.randn(5, 7), torch.randn(5, 7)
    whole = Difference.between("x", ours, theirs)
    error = (ours.double() - theirs.double()).abs()
    assert whole.maximum == error.max()
    assert whole.mean == pytest.approx(error.mean().item(), rel=1e-12)
    cosines = (ours * theirs).sum(-1) / (ours.norm(dim=-1) * theirs.norm(dim=-1))
    assert whole.cosine == pytest.approx(cosines.min().item(), abs=1e-6)
    parts = [Difference.between("x", ours[a:b], theirs[a:b]) for a, b in ((0, 2), (2, 5))]
    over = Difference.over(parts)
    assert over.mean == pytest.approx(whole.mean, rel=1e-12)
    assert (over.maximum, over.cosine, over.vectors) == (whole.maximum, whole.cosine, 5)


def test_a_tolerance_is_a_share_of_large_numbers() -> None:
    assert Difference("x", 3e-5, 0.0, 1.0, largest=40.0, vectors=1).within(1e-5)
    assert not Difference("x", 3e-5, 0.0, 1.0, largest=0.1, vectors=1).within(1e-5)


def test_a_folder_is_compared_whole(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(TEXTS * 20, vocab_size=60)
    tokenizer.save(tmp_path)
    randomise(MaskedLM(bert(vocab_size=tokenizer.vocab_size))).save_pretrained(tmp_path)
    comparison = compare_folder(tmp_path, TEXTS)
    assert comparison.agrees
    assert comparison.architecture == "BertForMaskedLM"
    assert comparison.parameters[0] == comparison.parameters[1]
    # A text for each of the five special tokens beside four texts and three pairs.
    counted = [(a.equal, a.total) for a in comparison.tokenizers]
    assert counted == [(12, 12)] * 4 + [(tokenizer.vocab_size, tokenizer.vocab_size)]
    comparison.draw(tmp_path / "parity.png")
    assert (tmp_path / "parity.png").read_bytes().startswith(b"\x89PNG")


def test_tokenizers_that_differ_are_counted(tmp_path: Path) -> None:
    texts = ["reads", "Reads", "reads it"]
    for name, lowercase in (("cased", False), ("uncased", True)):
        train_tokenizer(TEXTS * 20, vocab_size=60, lowercase=lowercase).save(tmp_path / name)
    ours = load_tokenizer(tmp_path / "uncased")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "cased")
    counts = {a.what: a.equal for a in compare_tokenizers(ours, theirs, texts, 40)}
    # "Reads" and both pairs that it is part of are other ids in the cased vocabulary; two texts
    # are not, nor those of the five special tokens.
    assert counts["ids"] == 2 + 5
    assert not replace(AGREED, tokenizers=compare_tokenizers(ours, theirs, texts, 40)).agrees
    assert AGREED.agrees


def test_a_token_that_one_side_adds_is_found(tmp_path: Path) -> None:
    train_tokenizer(TEXTS * 20, vocab_size=60).save(tmp_path)
    ours = load_tokenizer(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    theirs.add_tokens(["<e1>"])
    found = {a.what: (a.equal, a.total) for a in compare_tokenizers(ours, theirs, ["reads"], 40)}
    assert found["ids"] == (1 + 5, 1 + 6)
    assert found["vocabulary"] == (ours.vocab_size, ours.vocab_size + 1)


def test_what_cannot_be_compared_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no text"):
        compare_folder(tmp_path, [])
    train_tokenizer(TEXTS * 20, vocab_size=60).save(tmp_path)
    randomise(Encoder(bert(vocab_size=20))).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="do not belong together"):
        compare_folder(tmp_path, TEXTS)
    randomise(Encoder(bert(positions="alibi", vocab_size=60))).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="transformers cannot express"):
        compare_folder(tmp_path, TEXTS)
