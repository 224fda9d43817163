"""Equal to `transformers`: every hidden state, attention map, logit and gradient."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from encoder import Encoder, EncoderConfig, MaskedLM, SequenceClassifier
from encoder.weights import FAMILIES
from encoder.weights.family import to_theirs
from tests.encoder.tools import VOCAB, assert_close, bert, modern, padded, randomise

transformers = pytest.importorskip("transformers")
logging.getLogger("transformers").setLevel(logging.ERROR)

LENGTHS = [17, 1, 9, 30, 9]
SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "num_labels": 3,
}
CLASSES = {
    "bert": ("BertModel", "BertForMaskedLM", "BertForSequenceClassification"),
    "modernbert": (
        "ModernBertModel",
        "ModernBertForMaskedLM",
        "ModernBertForSequenceClassification",
    ),
}
OURS = (Encoder, MaskedLM, SequenceClassifier)


def their_config(family: str, **changes: Any) -> Any:
    if family == "bert":
        return transformers.BertConfig(
            **SIZES,
            num_hidden_layers=2,
            max_position_embeddings=40,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            **changes,
        )
    return transformers.ModernBertConfig(
        **SIZES,
        num_hidden_layers=4,
        max_position_embeddings=64,
        local_attention=4,
        pad_token_id=3,
        **{"norm_bias": True, "attention_bias": True, "mlp_bias": True, **changes},
    )


def pair(
    family: str, head: int, folder: Path, attention: str = "eager", **changes: Any
) -> tuple[Any, Any]:
    """Their model with random parameters, and ours loaded from what they saved."""
    config = their_config(family, **changes)
    config._attn_implementation = attention
    theirs = randomise(getattr(transformers, CLASSES[family][head])(config))
    theirs.save_pretrained(folder)
    return theirs, OURS[head].from_pretrained(folder)


def inputs(family: str) -> dict[str, Tensor]:
    batch = padded(LENGTHS)
    if family == "modernbert":
        del batch["token_type_ids"]
    return batch


FAMILY = pytest.mark.parametrize("family", ["bert", "modernbert"])
SINGLE, DOUBLE = (torch.float32, 1e-5), (torch.float64, 1e-10)
# Their eager ModernBERT takes its softmax in float32 even of float64, and NaN where a window of
# padding is all that a padding query sees.
EVERY_FORM = pytest.mark.parametrize(
    ("family", "attention", "dtype", "bound"),
    [
        (family, attention, *precision)
        for family in ("bert", "modernbert")
        for attention in ("eager", "sdpa")
        for precision in (SINGLE, DOUBLE)
        if (family, attention, precision) != ("modernbert", "eager", DOUBLE)
    ],
)


@pytest.fixture(autouse=True)
def rotate_without_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their ModernBERT rounds queries and keys to float32; their Llama, the same formula, not."""
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb
    from transformers.models.modernbert import modeling_modernbert

    monkeypatch.setattr(modeling_modernbert, "apply_rotary_pos_emb", apply_rotary_pos_emb)


@EVERY_FORM
def test_every_hidden_state_and_attention_map(
    family: str, attention: str, dtype: torch.dtype, bound: float, tmp_path: Path
) -> None:
    theirs, ours = (m.to(dtype) for m in pair(family, 0, tmp_path, attention))
    batch = inputs(family)
    mask = batch["attention_mask"].bool()
    maps = attention == "eager"
    with torch.no_grad():
        expected = theirs(**batch, output_hidden_states=True, output_attentions=maps)
        got = ours(**batch, output_hidden_states=True, output_attentions=maps)
    assert got.last_hidden_state.dtype == dtype
    assert_close(got.last_hidden_state[mask], expected.last_hidden_state[mask], bound)
    assert len(got.hidden_states) == len(expected.hidden_states)
    for mine, other in zip(got.hidden_states, expected.hidden_states, strict=True):
        assert_close(mine[mask], other[mask], bound)
    if maps:
        assert len(got.attentions) == len(expected.attentions)
        for mine, other in zip(got.attentions, expected.attentions, strict=True):
            queries = mask[:, None, :].expand(mine.shape[:3])
            assert_close(mine[queries], other[queries], bound)
    if family == "bert":
        assert_close(got.pooler_output, expected.pooler_output, bound)


@EVERY_FORM
def test_masked_lm_logits(
    family: str, attention: str, dtype: torch.dtype, bound: float, tmp_path: Path
) -> None:
    theirs, ours = (model.to(dtype) for model in pair(family, 1, tmp_path, attention))
    batch = inputs(family)
    mask = batch["attention_mask"].bool()
    assert_close(ours(**batch)[mask], theirs(**batch).logits[mask], bound)
    assert ours.num_parameters() == theirs.num_parameters()


@pytest.mark.parametrize(
    ("family", "pooling"), [("bert", "cls"), ("modernbert", "cls"), ("modernbert", "mean")]
)
@pytest.mark.parametrize(("dtype", "bound"), [SINGLE, DOUBLE])
def test_classification_logits(
    family: str, pooling: str, dtype: torch.dtype, bound: float, tmp_path: Path
) -> None:
    models = pair(family, 2, tmp_path, "sdpa", classifier_pooling=pooling)
    theirs, ours = (model.to(dtype) for model in models)
    assert ours.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    assert ours.pooling == pooling
    batch = inputs(family)
    assert_close(ours(**batch), theirs(**batch).logits, bound)
    assert ours.num_parameters() == theirs.num_parameters()


@FAMILY
@pytest.mark.parametrize("head", [0, 1, 2])
@pytest.mark.parametrize("backend", ["plain", "fused"])
def test_gradients(family: str, head: int, backend: str, tmp_path: Path) -> None:
    theirs, ours = (model.double() for model in pair(family, head, tmp_path, "sdpa"))
    ours.backend = backend
    batch = inputs(family)
    mask = batch["attention_mask"].bool()
    expected, got = theirs(**batch), ours(**batch)
    if head == 0:
        expected, got = expected.last_hidden_state[mask], got.last_hidden_state[mask]
    else:
        expected = expected.logits
        if head == 1:
            expected, got = expected[mask], got[mask]
    direction = torch.randn(got.shape, generator=torch.Generator().manual_seed(1)).double()
    (expected * direction).sum().backward()
    (got * direction).sum().backward()
    named = {
        ("encoder." if head == 0 else "") + name: parameter.grad
        for name, parameter in ours.named_parameters()
        if parameter.grad is not None
    }
    prefix = FAMILIES[family].prefix if head == 0 else ""
    renamed = {k.removeprefix(prefix): v for k, v in to_theirs(named, FAMILIES[family]).items()}
    wanted = {k: p.grad for k, p in theirs.named_parameters() if p.grad is not None}
    assert renamed.keys() == wanted.keys()
    scale = max(gradient.abs().max().item() for gradient in wanted.values())
    for name, gradient in wanted.items():
        assert (renamed[name] - gradient).abs().max() <= 1e-10 * scale, name


@FAMILY
def test_number_of_parameters(family: str, tmp_path: Path) -> None:
    theirs, ours = pair(family, 0, tmp_path)
    assert ours.num_parameters() == theirs.num_parameters()


@pytest.mark.parametrize(
    ("preset", "family", "published"),
    [("bert-base", "bert", 109_482_240), ("modern-base", "modernbert", 149_014_272)],
)
def test_published_sizes(preset: str, family: str, published: int) -> None:
    with torch.device("meta"):
        ours = Encoder(EncoderConfig.preset(preset))
        config = getattr(transformers, {"bert": "BertConfig"}.get(family, "ModernBertConfig"))()
        theirs = getattr(transformers, CLASSES[family][0])(config)
    assert ours.num_parameters() == theirs.num_parameters() == published


@FAMILY
@pytest.mark.parametrize("head", [0, 1, 2])
def test_what_is_saved_here_opens_there(family: str, head: int, tmp_path: Path) -> None:
    config = bert() if family == "bert" else modern()
    ours = randomise(OURS[head](config))
    ours.save_pretrained(tmp_path)
    cls = getattr(transformers, CLASSES[family][head])
    theirs, report = cls.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert not report["mismatched_keys"]
    assert type(theirs).__name__ == theirs.config.architectures[0]
    batch = inputs(family)
    mask = batch["attention_mask"].bool()
    with torch.no_grad():
        expected, got = theirs.eval()(**batch), ours(**batch)
    if head == 0:
        assert_close(got.last_hidden_state[mask], expected.last_hidden_state[mask], 1e-5)
    elif head == 1:
        assert_close(got[mask], expected.logits[mask], 1e-5)
    else:
        assert_close(got, expected.logits, 1e-5)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_labels_and_pooling_open_there(pooling: Any, tmp_path: Path) -> None:
    ours = SequenceClassifier(modern(), labels=["no", "yes", "maybe"], pooling=pooling)
    ours.save_pretrained(tmp_path)
    config = transformers.AutoConfig.from_pretrained(tmp_path)
    assert config.id2label == {0: "no", 1: "yes", 2: "maybe"}
    assert config.label2id == {"no": 0, "yes": 1, "maybe": 2}
    assert config.classifier_pooling == pooling


def test_sinusoidal_opens_as_bert_with_its_table(tmp_path: Path) -> None:
    ours = randomise(Encoder(bert(positions="sinusoidal")))
    ours.save_pretrained(tmp_path)
    theirs, report = transformers.AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert type(theirs).__name__ == "BertModel"
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    batch = inputs("bert")
    mask = batch["attention_mask"].bool()
    got, expected = ours(**batch), theirs.eval()(**batch)
    assert_close(got.last_hidden_state[mask], expected.last_hidden_state[mask], 1e-5)


def test_pretraining_and_question_heads_are_left_in_the_file(tmp_path: Path) -> None:
    """The published BERT is a `BertForPreTraining`: with a next-sentence head."""
    config = their_config("bert")
    theirs = randomise(transformers.BertForPreTraining(config))
    theirs.save_pretrained(tmp_path / "both")
    batch = inputs("bert")
    mask = batch["attention_mask"].bool()
    ours = MaskedLM.from_pretrained(tmp_path / "both")
    assert_close(ours(**batch)[mask], theirs(**batch).prediction_logits[mask], 1e-5)
    Encoder.from_pretrained(tmp_path / "both")
    SequenceClassifier.from_pretrained(tmp_path / "both", labels=["a", "b"])
    transformers.BertForQuestionAnswering(config).save_pretrained(tmp_path / "spans")
    Encoder.from_pretrained(tmp_path / "spans")


def test_tied_weights_that_are_not_tied_are_refused(tmp_path: Path) -> None:
    from cellar import UserError

    for family in CLASSES:
        config = their_config(family, tie_word_embeddings=False)
        theirs = randomise(getattr(transformers, CLASSES[family][1])(config))
        theirs.save_pretrained(tmp_path / family)
        with pytest.raises(UserError, match="tie_word_embeddings"):
            MaskedLM.from_pretrained(tmp_path / family)
        Encoder.from_pretrained(tmp_path / family)


def test_a_decoder_is_refused(tmp_path: Path) -> None:
    from cellar import UserError

    config = their_config("bert", is_decoder=True)
    transformers.BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="is_decoder"):
        Encoder.from_pretrained(tmp_path)
