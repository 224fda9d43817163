"""Every class of every family is compared, as `transformers` saved it and as it is saved here."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from plainformer import encoder
from plainformer.base import UserError
from plainformer.encoder import EncoderConfig
from plainformer.encoder.weights import FAMILIES
from plainformer.explain import compare, compare_folder, compare_models
from plainformer.pretrain.objectives import Electra
from plainformer.tokenizer import Tokenizer, train_tokenizer
from tests.encoder.families import CONFIGS, their_config
from tests.encoder.tools import bert, edit_config, padded, randomise

transformers = pytest.importorskip("transformers")
TEXTS = ["the encoder reads", "from left to right, and back again", "", "tokens travel packed"]
HEADS = ("MaskedLM", "PreTraining", "NextSentencePrediction", "CausalLM", "SequenceClassification")
HEADS += ("TokenClassification", "QuestionAnswering", "MultipleChoice")
CLASSES = [
    pytest.param(family, name, id=name)
    for family in CONFIGS
    for name in [
        *(f"{FAMILIES[family].class_prefix}{kind}" for kind in ("Model", "LMHeadModel")),
        *(f"{FAMILIES[family].class_prefix}For{head}" for head in HEADS),
    ]
    if hasattr(transformers, name)
]
NOT_HERE = ("ForNextSentencePrediction", "ForCausalLM", "LMHeadModel")
"""heads that have no class here: their encoders are compared"""


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(TEXTS * 20, vocab_size=61)


@pytest.fixture(autouse=True)
def one_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured beside the numbers, once."""
    monkeypatch.setattr(compare, "ROUNDS", 1)


@pytest.mark.parametrize(("family", "name"), CLASSES)
def test_as_saved_there_and_as_saved_here(
    family: str, name: str, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    config = their_config(family, num_labels=2 if "Question" in name or "Pre" in name else 3)
    config._attn_implementation = "eager"
    there, here = tmp_path / "there", tmp_path / "here"
    randomise(getattr(transformers, name)(config)).save_pretrained(there)
    tokenizer.save(there)
    known = not name.endswith((*NOT_HERE, "Model"))
    remark = f", without the head of {name}" if name.endswith(NOT_HERE) else ""
    base = FAMILIES[family].architectures["Encoder"]
    ours, architecture, _ = compare.our_model(there)
    ours.save_pretrained(here)
    tokenizer.save(here)
    for folder in (there, here):
        comparison = compare_folder(folder, TEXTS[1:3])
        assert comparison.hint is None
        assert all(stage.within(1e-5) for stage in comparison.stages)
        assert comparison.architecture == (name if known else base + remark)
        assert any("logits" in stage.stage for stage in comparison.stages) == known
        assert min(stage.vectors for stage in comparison.stages) >= 2
        remark = ""  # saved here it is an encoder, and says so
    assert architecture == (name if known else None)


@pytest.mark.parametrize("family", list(CONFIGS))
def test_a_head_that_the_file_does_not_hold(
    family: str, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """As all-mpnet-base-v2 was shipped: its config names a masked LM, its file holds an encoder."""
    base, name = (FAMILIES[family].architectures[kind] for kind in ("Encoder", "MaskedLM"))
    randomise(getattr(transformers, base)(their_config(family))).save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    for named in ([name], ["Unheard", name], ["Unheard"]):
        edit_config(tmp_path, architectures=named)
        comparison = compare_folder(tmp_path, TEXTS[:1])
        assert comparison.architecture == f"{base}, without the head of {named[0]}"
        assert all(stage.within(1e-5) for stage in comparison.stages)
    edit_config(tmp_path, architectures=None)
    assert compare_folder(tmp_path, TEXTS[:1]).architecture == base


def test_half_a_head_is_a_damaged_file(tokenizer: Tokenizer, tmp_path: Path) -> None:
    randomise(encoder.MaskedLM(bert())).save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    del tensors["cls.predictions.transform.LayerNorm.bias"]
    save_file(tensors, path)
    with pytest.raises(UserError, match=r"missing tensors: cls\.predictions\.transform\.LayerNorm"):
        compare_folder(tmp_path, TEXTS)


def test_what_replaced_tokens_taught(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """The folder of our own objective rtd: the discriminator, and beside it its generator."""
    shape = EncoderConfig.preset("electra-tiny", vocab_size=61, num_hidden_layers=1)
    Electra.new(shape, 0.5).save_pretrained(tmp_path)
    for folder, name in ((tmp_path, "PreTraining"), (tmp_path / "generator", "MaskedLM")):
        tokenizer.save(folder)
        comparison = compare_folder(folder, TEXTS[:1])
        assert comparison.architecture == f"ElectraFor{name}"
        assert comparison.hint is None


PARTS = [
    ("BertForPreTraining", "classifier", "pair logits", "cls.seq_relationship"),
    ("BertForPreTraining", "head.dense", "token logits", "cls.predictions.transform.dense"),
    ("AlbertForPreTraining", "classifier", "pair logits", "sop_classifier.classifier"),
    ("ElectraForPreTraining", "head.dense", "logits", "discriminator_predictions.dense"),
    ("ElectraForMultipleChoice", "head.dense", "logits", "sequence_summary.summary"),
    ("RobertaForMultipleChoice", "classifier", "logits", "classifier"),
]


@pytest.mark.parametrize(("name", "part", "stage", "where"), PARTS)
def test_a_mistake_in_a_head_is_found(
    name: str, part: str, stage: str, where: str, tmp_path: Path
) -> None:
    kind = getattr(transformers, name)
    family = name.partition("For")[0].lower()
    config = their_config(family, num_labels=2)
    config._attn_implementation = "eager"
    theirs = randomise(kind(config))
    theirs.save_pretrained(tmp_path)
    ours, _, _ = compare.our_model(tmp_path)
    with torch.no_grad():
        ours.get_submodule(part).bias[0] += 1.0
    batch = padded([7, 3, 5])
    if config.type_vocab_size == 1:
        batch["token_type_ids"].zero_()
    stages, hint = compare_models(ours, theirs, [batch])
    assert [s.stage for s in stages if not s.within(1e-5)] == [stage]
    assert hint == f"the first difference is in {stage}: look at {where}: its bias differs"
