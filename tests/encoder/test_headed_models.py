"""Two heads on one encoder; hidden states and attention weights of a model with a head."""

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from plainformer.base import UserError
from plainformer.encoder import (
    ChoiceScorer,
    Discriminator,
    Encoder,
    MaskedLM,
    PaddedSequences,
    PairedMaskedLM,
    QuestionAnswerer,
    SentenceEncoder,
    SequenceClassifier,
    Sequences,
    TokenClassifier,
)
from plainformer.encoder.heads.headed_model import HeadedModel
from plainformer.encoder.heads.sentence import pool_one
from plainformer.encoder.weights.sentence_layout import Mode, SentenceLayout
from tests.encoder.families import inputs, pair
from tests.encoder.tools import assert_close, bert, modern, padded, randomise

FAMILIES = ("bert", "electra", "modern")
DENSE = bert(classifier_head="gelu", architecture="electra")
PAIRS: dict[str, tuple[Any, Any, Any]] = {
    "tags and labels": (bert(), TokenClassifier, SequenceClassifier),
    "tags and labels, modern": (modern(type_vocab_size=2), TokenClassifier, SequenceClassifier),
    "tokens and pairs": (bert(), MaskedLM, PairedMaskedLM),
    "discriminator and choice": (DENSE, Discriminator, ChoiceScorer),
    "answers and meaning": (bert(), QuestionAnswerer, SentenceEncoder),
}
TWO_HEADS = pytest.mark.parametrize(("config", "one", "other"), PAIRS.values(), ids=list(PAIRS))


def total(model: HeadedModel, batch: dict[str, Tensor]) -> Tensor:
    """A number that depends on every real output."""
    outputs = model(**batch)
    parts = outputs if isinstance(outputs, tuple) else (outputs,)
    real = [part.masked_fill(part < -1e30, 0.0) for part in parts]
    return sum((part.sin().sum() for part in real), torch.zeros(()))


@TWO_HEADS
def test_gradients_of_two_heads_add_up_on_their_encoder(config: Any, one: Any, other: Any) -> None:
    encoder = randomise(Encoder(config, pooler=config.classifier_head == "pooler"))
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    first, second = one(encoder), other(encoder)
    assert first.base is second.base is encoder
    for name, tensor in before.items():
        assert torch.equal(encoder.state_dict()[name], tensor), f"a head has redrawn {name}"
    batch = padded([5, 3, 7])
    weight = encoder.blocks[0].feed_forward.up.weight
    alone = [torch.autograd.grad(total(model, batch), weight)[0] for model in (first, second)]
    assert all(gradient.abs().max() > 1e-6 for gradient in alone)
    (total(first, batch) + total(second, batch)).backward()
    assert_close(weight.grad, alone[0] + alone[1], 1e-5)


@TWO_HEADS
def test_each_head_is_saved_with_the_encoder(
    config: Any, one: Any, other: Any, tmp_path: Path
) -> None:
    encoder = Encoder(config, pooler=config.classifier_head == "pooler")
    batch = padded([5, 3, 7])
    models = {"one": randomise(one(encoder)), "other": randomise(other(encoder))}
    for name, model in models.items():
        model.save_pretrained(tmp_path / name)
    for name, model in models.items():
        again = type(model).from_pretrained(tmp_path / name)
        assert torch.equal(total(again, batch), total(model, batch))


def test_a_head_alone_is_drawn_as_with_an_encoder_of_its_own() -> None:
    """Its norms at 1, its biases at 0, its matrices at their deviation."""
    model = MaskedLM(Encoder(modern()))
    assert torch.equal(model.head.norm.weight, torch.ones(32))
    assert torch.equal(model.bias, torch.zeros(61))
    own = MaskedLM(modern()).head.dense.weight
    assert abs(model.head.dense.weight.std() / own.std() - 1) < 0.15


def test_a_head_on_a_pooler_needs_one() -> None:
    for head in (SequenceClassifier, PairedMaskedLM):
        with pytest.raises(UserError, match="the encoder has no pooler"):
            head(Encoder(bert(), pooler=False))


def test_dropout_is_set_with_the_encoder() -> None:
    with pytest.raises(UserError, match="pass dropout to Encoder"):
        TokenClassifier(Encoder(bert()), dropout=0.3)
    assert TokenClassifier(Encoder(bert(), dropout=0.3)).dropout.p == 0.3
    assert TokenClassifier(bert(), dropout=0.3).encoder.blocks[0].dropout.p == 0.3


def test_a_head_runs_on_the_backend_of_its_encoder() -> None:
    assert TokenClassifier(Encoder(bert(), backend="plain")).backend == "plain"
    assert TokenClassifier(bert(), backend="plain").encoder.backend == "plain"


@pytest.mark.parametrize(
    ("family", "head"),
    [
        ("bert", "MaskedLM"),
        ("roberta", "SequenceClassifier"),
        ("albert", "QuestionAnswerer"),
        ("electra", "TokenClassifier"),
        ("modernbert", "TokenClassifier"),
    ],
)
def test_hidden_states_and_attentions_are_those_of_transformers(
    family: str, head: str, tmp_path: Path
) -> None:
    theirs, ours = pair(family, head, tmp_path, attention="eager")
    batch = inputs(family)
    asked = {"output_hidden_states": True, "output_attentions": True}
    got, expected = ours(**batch, **asked), theirs(**batch, **asked)
    mask = batch["attention_mask"].bool()
    assert len(got.hidden_states) == len(expected.hidden_states)
    for states, reference in zip(got.hidden_states, expected.hidden_states, strict=True):
        assert_close(states[mask], reference[mask], 1e-5)
    assert len(got.attentions) == len(expected.attentions)
    for weights, reference in zip(got.attentions, expected.attentions, strict=True):
        real = mask[:, None, :, None] & mask[:, None, None, :]
        assert_close(weights.where(real, 0.0), reference.where(real, 0.0), 1e-5)
    bare = ours(**batch)
    for one, other in zip(
        bare if isinstance(bare, tuple) else [bare],
        got.logits if isinstance(bare, tuple) else [got.logits],
        strict=True,
    ):
        assert_close(one, other, 1e-5)
    states_alone = ours(**batch, output_hidden_states=True)
    assert states_alone.attentions is None
    assert len(states_alone.hidden_states) == len(got.hidden_states)


def test_a_bias_in_the_prediction_head_of_modernbert(tmp_path: Path) -> None:
    for head in ("MaskedLM", "SequenceClassifier", "TokenClassifier"):
        folder = tmp_path / head
        theirs, ours = pair("modernbert", head, folder, classifier_bias=True)
        assert ours.head.dense.bias is not None
        batch = inputs("modernbert")
        mask = batch["attention_mask"].bool()
        got, expected = ours(**batch), theirs(**batch).logits
        per_text = head == "SequenceClassifier"
        assert_close(got if per_text else got[mask], expected if per_text else expected[mask], 1e-5)
        ours.save_pretrained(folder / "again")
        again = type(theirs).from_pretrained(folder / "again")
        assert again.config.classifier_bias
        assert torch.equal(again.head.dense.bias, theirs.head.dense.bias)


@pytest.mark.parametrize("pooling", get_args(Mode))
@pytest.mark.parametrize("skip", [0, 2])
def test_a_batch_that_stays_padded_gives_the_same_text_vectors(pooling: Any, skip: int) -> None:
    model = SentenceEncoder(
        randomise(Encoder(modern(type_vocab_size=2))), SentenceLayout(pooling=(pooling,))
    )
    batch, sequences = staying_padded()
    assert_close(model(**batch | sequences, skip=skip), model(**batch, skip=skip), 1e-5)


@pytest.mark.parametrize("pooling", get_args(Mode))
@pytest.mark.parametrize("skip", [0, 2])
def test_a_long_text_is_counted_exactly_in_half_precision(pooling: Any, skip: int) -> None:
    """In bf16 the sum of 300 ones, added one by one, is 256."""
    x = torch.full((300, 4), 0.5)
    for sequences, rows in ((Sequences.of([300]), x), (PaddedSequences(is_token(300)), x[None])):
        got = pool_one(rows.bfloat16(), sequences, pooling, skip).float()
        torch.testing.assert_close(got, pool_one(rows, sequences, pooling, skip), rtol=0.01, atol=0)


def is_token(length: int) -> Tensor:
    """The mask of one text of `length` tokens, without padding."""
    return torch.ones(1, length, dtype=torch.bool)


@pytest.mark.parametrize("config", [bert(), DENSE, modern(type_vocab_size=2)], ids=FAMILIES)
@pytest.mark.parametrize(
    "head",
    [
        *(MaskedLM, TokenClassifier, QuestionAnswerer, SequenceClassifier, ChoiceScorer),
        *(Discriminator, PairedMaskedLM),
    ],
)
def test_a_batch_that_stays_padded_gives_the_same_logits(config: Any, head: Any) -> None:
    if {Discriminator: config is not DENSE, PairedMaskedLM: config is DENSE}.get(head):
        return  # no such head
    model = randomise(head(config))
    batch, sequences = staying_padded()
    got, expected = model(**batch | sequences), model(**batch)
    parts = zip(got, expected, strict=True) if isinstance(got, tuple) else [(got, expected)]
    for ours, packed in parts:
        assert_close(ours, packed, 1e-5)


def staying_padded() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A batch, and what lets it stay padded."""
    batch = padded([5, 3, 7, 4], left=True)
    sequences = PaddedSequences(batch["attention_mask"].bool())
    return batch, {"attention_mask": None, "sequences": sequences}


def test_a_subclass_is_saved_and_loaded_as_its_class(tmp_path: Path) -> None:
    class Tagger(TokenClassifier):
        """Another name, the same tensors and labels."""

    model = randomise(Tagger(bert(), ["noun", "verb", "other"]))
    model.save_pretrained(tmp_path)
    batch = padded([5, 3, 7])
    for kind in (Tagger, TokenClassifier):
        again = kind.from_pretrained(tmp_path)
        assert type(again) is kind
        assert again.labels == ("noun", "verb", "other")
        assert torch.equal(again(**batch), model(**batch))


@pytest.mark.parametrize(
    "head", [MaskedLM, SequenceClassifier, TokenClassifier, QuestionAnswerer, ChoiceScorer]
)
def test_a_prediction_head_gives_vectors_of_the_size_of_the_token_table(head: Any) -> None:
    model = randomise(head(modern(embedding_size=16, classifier_head="prediction"))).eval()
    batch = padded([5, 3])
    model(**batch)
    if head is not MaskedLM:
        assert model.classifier.weight.shape[1] == 16
