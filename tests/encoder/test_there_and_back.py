"""A folder is theirs as well as ours: it opens there, comes back, and says what it cannot hold."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from plainformer.base import UserError
from plainformer.encoder import Encoder, MaskedLM, SequenceClassifier
from plainformer.encoder.weights import FAMILIES
from tests.encoder.families import (
    CONFIGS,
    EVERY,
    FAMILY,
    OURS,
    inputs,
    pair,
    their_class,
    their_config,
)
from tests.encoder.tools import assert_close, bert, modern, randomise

transformers = pytest.importorskip("transformers")


@FAMILY
@EVERY
def test_there_and_back_again(family: str, head: str, tmp_path: Path) -> None:
    """Ours → theirs → ours: their class, no name too many or too few, the same bits."""
    ours = pair(family, head, tmp_path / "start")[1]
    ours.save_pretrained(tmp_path / "here")
    cls = their_class(family, head)
    theirs, report = cls.from_pretrained(tmp_path / "here", output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert theirs.config.architectures == [cls.__name__]
    assert (
        type(transformers.AutoModel.from_pretrained(tmp_path / "here")).__name__
        == (FAMILIES[family].architectures["Encoder"])
    )
    theirs.save_pretrained(tmp_path / "there")
    again = OURS[head].from_pretrained(tmp_path / "there")
    assert again.config == ours.config
    before, after = ours.state_dict(), again.state_dict()
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor), name
    first, last = (load_file(tmp_path / f / "model.safetensors") for f in ("start", "here"))
    assert first.keys() == last.keys()
    for name, tensor in first.items():
        assert torch.equal(last[name], tensor), name


@pytest.mark.parametrize("family", list(CONFIGS))
def test_a_config_of_defaults(family: str) -> None:
    """A published `config.json` leaves out what is default there; the defaults here agree."""
    empty = FAMILIES[family].read_config({})
    full = their_class(family, "Encoder").config_class().to_dict()
    assert FAMILIES[family].read_config(full) == empty
    assert FAMILIES[family].expresses(empty)


@pytest.mark.parametrize("family", ["bert", "modernbert"])
@EVERY
def test_what_is_made_here_opens_there(family: str, head: str, tmp_path: Path) -> None:
    ours = randomise(OURS[head](bert() if family == "bert" else modern()))
    ours.save_pretrained(tmp_path)
    cls = their_class(family, head)
    theirs, report = cls.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    batch = inputs(family)
    mask = batch["attention_mask"].bool()
    given = {k: x[None] for k, x in batch.items()} if head == "ChoiceScorer" else batch
    with torch.no_grad():
        expected, got = theirs.eval()(**given), ours(**batch)
    if head == "Encoder":
        assert_close(got.last_hidden_state[mask], expected.last_hidden_state[mask], 1e-5)
    elif head in ("SequenceClassifier", "ChoiceScorer"):
        assert_close(got if head == "SequenceClassifier" else got.T, expected.logits, 1e-5)
    elif head == "QuestionAnswerer":
        assert_close(got[0][mask], expected.start_logits[mask], 1e-5)
        assert_close(got[1][mask], expected.end_logits[mask], 1e-5)
    else:
        assert_close(got[mask], expected.logits[mask], 1e-5)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_labels_and_pooling_open_there(pooling: Any, tmp_path: Path) -> None:
    ours = SequenceClassifier(modern(), labels=["no", "yes", "maybe"], pooling=pooling)
    ours.save_pretrained(tmp_path)
    config = transformers.AutoConfig.from_pretrained(tmp_path)
    assert config.id2label == {0: "no", 1: "yes", 2: "maybe"}
    assert config.label2id == {"no": 0, "yes": 1, "maybe": 2}
    assert config.classifier_pooling == pooling


@pytest.mark.parametrize(
    ("labels", "problem_type"),
    [("ab", None), ("a", None), ("ab", "multi_label_classification"), ("ab", "regression")],
)
def test_what_the_scores_are_is_known_there_and_here(
    labels: str, problem_type: Any, tmp_path: Path
) -> None:
    ours = SequenceClassifier(bert(), labels=list(labels), problem_type=problem_type)
    ours.save_pretrained(tmp_path)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert theirs.config.problem_type == ours.problem_type
    assert SequenceClassifier.from_pretrained(tmp_path).problem_type == ours.problem_type
    if problem_type is None:  # they decide it by the labels, once they see some
        theirs.config.problem_type = None
        theirs(torch.tensor([[5, 6, 7]]), labels=torch.tensor([0.0] if labels == "a" else [0]))
        assert theirs.config.problem_type == ours.problem_type


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_sinusoidal_opens_there_with_its_table(family: str, tmp_path: Path) -> None:
    config = bert(positions="sinusoidal")
    if family == "distilbert":
        shape = {**CONFIGS[family], "sinusoidal_pos_embds": True, "seq_classif_dropout": 0.0}
        config = FAMILIES[family].read_config(shape)
    ours = randomise(Encoder(config))
    ours.save_pretrained(tmp_path)
    theirs, report = transformers.AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert type(theirs) is their_class(family, "Encoder")
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert Encoder.from_pretrained(tmp_path).config == config
    batch = inputs(family)
    mask = batch["attention_mask"].bool()
    got, expected = ours(**batch), theirs.eval()(**batch)
    assert_close(got.last_hidden_state[mask], expected.last_hidden_state[mask], 1e-5)


def test_heads_that_are_not_here_are_left_in_the_file(tmp_path: Path) -> None:
    """The published BERT, ALBERT and ELECTRA were saved with what pretrained them."""
    for family, masked_lm in (("bert", True), ("albert", True), ("electra", False)):
        name = FAMILIES[family].class_prefix + "ForPreTraining"
        theirs = randomise(getattr(transformers, name)(their_config(family)))
        theirs.save_pretrained(tmp_path / family)
        Encoder.from_pretrained(tmp_path / family)
        SequenceClassifier.from_pretrained(tmp_path / family, labels=["a", "b"])
        if masked_lm:
            batch = inputs(family)
            mask = batch["attention_mask"].bool()
            ours = MaskedLM.from_pretrained(tmp_path / family)
            assert_close(ours(**batch)[mask], theirs(**batch).prediction_logits[mask], 1e-5)


@FAMILY
def test_a_decoder_beside_what_it_is_tied_to(family: str, tmp_path: Path) -> None:
    """Files converted from pickles hold both; only one bias of the two is in some."""
    ours = pair(family, "MaskedLM", tmp_path)[1]
    (weight,) = FAMILIES[family].hf_names("decoder.weight", "MaskedLM")
    (table,) = FAMILIES[family].hf_names("encoder.embeddings.tokens.weight", "MaskedLM")
    (bias,) = FAMILIES[family].hf_names("bias", "MaskedLM")
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    tensors[weight] = tensors[table].clone()
    tensors[weight.replace("weight", "bias")] = tensors.pop(bias)
    save_file(tensors, path)
    again = MaskedLM.from_pretrained(tmp_path)
    for name, tensor in ours.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    tensors[weight][0, 0] += 1
    save_file(tensors, path)
    with pytest.raises(UserError, match=r"tie_word_embeddings is true, but .* is not"):
        MaskedLM.from_pretrained(tmp_path)
    Encoder.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("bert", {"is_decoder": True}),
        ("roberta", {"add_cross_attention": True}),
        ("electra", {"position_embedding_type": "relative_key"}),
        ("electra", {"hidden_act": "relu"}),
        ("electra", {"summary_type": "last"}),
        ("electra", {"summary_use_proj": False}),
        ("electra", {"summary_activation": "tanh"}),
        ("mpnet", {"relative_attention_num_buckets": 16}),
        ("mpnet", {"pad_token_id": 0}),
        ("albert", {"num_hidden_groups": 2}),
        ("albert", {"inner_group_num": 2}),
        ("albert", {"embedding_size": 0}),
        ("roberta", {"type_vocab_size": 0}),
        ("xlm-roberta", {"hidden_act": "gelu_new"}),
        ("distilbert", {"activation": "silu"}),
        ("bert", {"pruned_heads": {"1": [0]}}),
        ("roberta", {"quantization_config": {"quant_method": "bitsandbytes"}}),
    ],
)
def test_what_is_not_supported_is_named(
    family: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    pair(family, "Encoder", tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    (name,) = changes
    with pytest.raises(UserError, match=rf"{name} ((\S+ )?is not supported|must be one of gelu)"):
        Encoder.from_pretrained(tmp_path)
