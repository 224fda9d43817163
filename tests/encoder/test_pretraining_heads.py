"""The heads of pretraining open in `transformers`, and theirs here: equal in their logits."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from plainformer.base import UserError
from plainformer.encoder import (
    Discriminator,
    EncoderConfig,
    MaskedLM,
    PairedMaskedLM,
    SequenceClassifier,
    Sequences,
)
from plainformer.encoder.config import PRESETS
from plainformer.encoder.weights import FAMILIES
from tests.encoder.tools import assert_close, bert, modern, padded, randomise, refused

SMALL = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
}
ALBERT = replace(PRESETS["albert-tiny"], **{**SMALL, "embedding_size": 16})
ELECTRA = replace(PRESETS["electra-tiny"], **{**SMALL, "embedding_size": 16})
WIDE_ELECTRA = replace(ELECTRA, embedding_size=0)
MODELS = [
    pytest.param(PairedMaskedLM, bert(), "BertForPreTraining", id="bert"),
    pytest.param(
        PairedMaskedLM, bert(tie_word_embeddings=False), "BertForPreTraining", id="untied bert"
    ),
    pytest.param(PairedMaskedLM, ALBERT, "AlbertForPreTraining", id="albert"),
    pytest.param(Discriminator, ELECTRA, "ElectraForPreTraining", id="electra"),
    pytest.param(Discriminator, WIDE_ELECTRA, "ElectraForPreTraining", id="electra, unprojected"),
]


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_preset_is_of_the_family_that_it_names(name: str) -> None:
    kind = {"modern": "modernbert"}.get(name.partition("-")[0], name.partition("-")[0])
    assert FAMILIES[kind].expresses(PRESETS[name])


def test_the_published_small_electra() -> None:
    theirs = transformers.ElectraConfig().to_dict()
    assert FAMILIES["electra"].read_config(theirs) == PRESETS["electra-small"]


def answers(output: Any) -> tuple[Tensor, ...]:
    """The logits of theirs or ours, by token and by pair."""
    if isinstance(output, Tensor):
        return (output,)
    if isinstance(output, tuple):
        return output
    if "sop_logits" in output:
        return output.prediction_logits, output.sop_logits
    if "prediction_logits" in output:
        return output.prediction_logits, output.seq_relationship_logits
    return (output.logits,)


@pytest.mark.parametrize(("cls", "config", "name"), MODELS)
def test_there_and_back(cls: Any, config: EncoderConfig, name: str, tmp_path: Path) -> None:
    ours = randomise(cls(config))
    ours.save_pretrained(tmp_path / "ours")
    kind = getattr(transformers, name)
    theirs, report = kind.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(report[k] for k in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert theirs.config.architectures == [name]
    batch = padded([9, 3, 14])
    mask = batch["attention_mask"].bool()
    with torch.no_grad():
        expected, got = answers(theirs.eval()(**batch)), answers(ours(**batch))
    assert len(got) == len(expected)
    for mine, other in zip(got, expected, strict=True):
        if mine.shape[:2] == mask.shape:
            mine, other = mine[mask], other[mask]
        assert_close(mine, other, 1e-5)
    randomise(theirs, seed=1).save_pretrained(tmp_path / "theirs")
    again = cls.from_pretrained(tmp_path / "theirs")
    with torch.no_grad():
        expected, got = answers(theirs(**batch)), answers(again(**batch))
    for mine, other in zip(got, expected, strict=True):
        if mine.shape[:2] == mask.shape:
            mine, other = mine[mask], other[mask]
        assert_close(mine, other, 1e-5)


@pytest.mark.parametrize(("cls", "config", "name"), MODELS)
def test_a_packed_batch_is_the_padded_one(cls: Any, config: EncoderConfig, name: str) -> None:
    model: nn.Module = randomise(cls(config))
    batch = padded([3, 9, 14])
    mask = batch["attention_mask"].bool()
    packed = {k: v[mask] for k, v in batch.items() if k != "attention_mask"}
    with torch.no_grad():
        whole = answers(model(**batch))
        got = answers(model(**packed, sequences=Sequences.of([3, 9, 14])))
    assert_close(got[0], whole[0][mask], 1e-5)
    if len(whole) > 1:
        assert_close(got[1], whole[1], 1e-5)


def test_a_chosen_place_alone() -> None:
    model = randomise(PairedMaskedLM(bert()))
    ids = padded([6])["input_ids"][0]
    some = torch.tensor([4, 1])
    with torch.no_grad():
        tokens, pairs = model(ids, sequences=Sequences.of([6]))
        at, same = model(ids, sequences=Sequences.of([6]), target_positions=some)
    assert_close(at, tokens[some], 1e-5)
    assert torch.equal(same, pairs)


def test_what_was_pretrained_with_pairs_serves_others(tmp_path: Path) -> None:
    """Its encoder and its pooler go into a classifier, its token head into a masked LM."""
    model = randomise(PairedMaskedLM(bert()))
    model.save_pretrained(tmp_path)
    classifier = SequenceClassifier.from_pretrained(tmp_path, labels=["a", "b"])
    assert set(classifier.newly_initialised) == {"classifier.weight", "classifier.bias"}
    assert torch.equal(classifier.encoder.pooler.dense.weight, model.encoder.pooler.dense.weight)
    batch = padded([6])
    with torch.no_grad():
        tokens = MaskedLM.from_pretrained(tmp_path)(**batch)
        assert torch.equal(tokens, model(**batch)[0])


def test_a_discriminator_serves_others(tmp_path: Path) -> None:
    model = randomise(Discriminator(ELECTRA))
    model.save_pretrained(tmp_path)
    classifier = SequenceClassifier.from_pretrained(tmp_path, labels=["a", "b"])
    assert not [n for n in classifier.newly_initialised if n.startswith("encoder.")]
    refused(tmp_path, r"missing tensors: generator_.*not trained as a MaskedLM", MaskedLM)


def test_a_family_without_such_a_head() -> None:
    """Refused where it is built, not after its pretraining."""
    with pytest.raises(UserError, match="modernbert has no PairedMaskedLM: take bert, albert"):
        PairedMaskedLM(modern())
    roberta = replace(FAMILIES["roberta"].defaults, **SMALL)
    with pytest.raises(UserError, match="roberta has no Discriminator: take electra, plainf"):
        Discriminator(replace(roberta))
    with pytest.raises(UserError, match="dense"):
        Discriminator(bert())
