"""Equal to `transformers`: every hidden state, attention map, logit, loss and gradient."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import cross_entropy

from plainformer.base import UserError
from plainformer.encoder import Encoder, EncoderConfig, Sequences, ops
from plainformer.encoder.weights import FAMILIES
from tests.encoder.families import (
    FAMILY,
    HEAD,
    OURS,
    PRECISION,
    inputs,
    pair,
    rotate_without_rounding,
    their_class,
)
from tests.encoder.tools import VOCAB, assert_close


@pytest.fixture(autouse=True)
def unrounded(monkeypatch: pytest.MonkeyPatch) -> None:
    rotate_without_rounding(monkeypatch)


@FAMILY
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@PRECISION
def test_every_hidden_state_and_attention_map(
    family: str, attention: str, dtype: torch.dtype, bound: float, tmp_path: Path
) -> None:
    if (family, attention, dtype) == ("modernbert", "eager", torch.float64):
        pytest.skip("theirs takes its softmax in float32 even of float64")
    theirs, ours = (m.to(dtype) for m in pair(family, "Encoder", tmp_path, attention))
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
            # Theirs gives NaN where a window of padding is all that a padding query sees.
            queries = mask[:, None, :].expand(mine.shape[:3])
            assert_close(mine[queries], other[queries], bound)
    pooled = getattr(expected, "pooler_output", None)
    assert (got.pooler_output is None) == (pooled is None)
    if pooled is not None:
        assert_close(got.pooler_output, pooled, bound)
    assert ours.num_parameters() == theirs.num_parameters()


def targets(head: str, mask: Tensor) -> dict[str, Tensor]:
    """Random labels in the form of their arguments."""
    generator = torch.Generator().manual_seed(3)

    def draw(high: int, *shape: int) -> Tensor:
        return torch.randint(0, high, shape, generator=generator)

    if head == "SequenceClassifier":
        return {"labels": draw(3, len(mask))}
    if head == "ChoiceScorer":  # five options of one text
        return {"labels": draw(len(mask), 1)}
    if head == "QuestionAnswerer":
        lengths = mask.sum(1)
        return {
            "start_positions": draw(1000, len(mask)) % lengths,
            "end_positions": draw(1000, len(mask)) % lengths,
        }
    labels = draw(VOCAB if head == "MaskedLM" else 3, *mask.shape)
    return {"labels": labels.masked_fill((mask == 0) | (draw(4, *mask.shape) == 0), -100)}


def their_answer(theirs: Any, head: str, batch: dict[str, Tensor]) -> tuple[list[Tensor], Tensor]:
    """Logits of the padded batch, at the tokens, and the loss.

    Of an answer's place they count the padding as a candidate: so one text at a time there.
    """
    mask = batch["attention_mask"].bool()
    aims = targets(head, batch["attention_mask"])
    if head == "ChoiceScorer":
        output = theirs(**{name: x[None] for name, x in batch.items()}, **aims)
        return [output.logits], output.loss
    if head != "QuestionAnswerer":
        output = theirs(**batch, **aims)
        # For some models theirs takes the logarithm in float32 even of float64.
        loss = cross_entropy(output.logits.flatten(0, -2), aims["labels"].flatten())
        assert_close(output.loss, loss, 1e-6)
        return [output.logits if head == "SequenceClassifier" else output.logits[mask]], loss
    output = theirs(**batch)
    losses = []
    for row, length in enumerate(mask.sum(1).tolist()):
        one = {name: x[row : row + 1, :length] for name, x in batch.items()}
        losses.append(theirs(**one, **{k: v[row : row + 1] for k, v in aims.items()}).loss)
    return [output.start_logits[mask], output.end_logits[mask]], torch.stack(losses).mean()


def our_answer(
    ours: Any, head: str, batch: dict[str, Tensor], packed: bool
) -> tuple[list[Tensor], Tensor]:
    """The same of ours: from the padded batch, or from one row of real tokens."""
    mask = batch["attention_mask"].bool()
    aims = targets(head, batch["attention_mask"])
    sequences = Sequences.of(mask.sum(1).tolist())
    if packed:
        given = {name: x[mask] for name, x in batch.items() if name != "attention_mask"}
        answer = ours(**given, sequences=sequences)
    else:
        answer = ours(**batch)
    if head == "QuestionAnswerer":
        places = answer if not packed else [sequences.pad(x) for x in answer]
        lowest = torch.finfo(places[0].dtype).min
        padding = ~mask[:, : places[0].shape[1]]
        rows = [x.masked_fill(padding, lowest) if packed else x for x in places]
        assert all((x[padding] == lowest).all() for x in rows)
        both = zip(rows, aims.values(), strict=True)
        loss = sum(ops.cross_entropy(x, y) for x, y in both) / (2 * len(mask))
        return [x[~padding] for x in rows], loss
    if head == "ChoiceScorer":
        return [answer.T], ops.cross_entropy(answer.T, aims["labels"])
    if head == "SequenceClassifier":
        return [answer], ops.cross_entropy(answer, aims["labels"]) / len(mask)
    if not packed:
        assert not answer[~mask].any()
        answer = answer[mask]
    labels = aims["labels"][mask]
    return [answer], ops.cross_entropy(answer, labels) / (labels != -100).sum()


@FAMILY
@HEAD
@PRECISION
def test_logits_loss_and_every_gradient(
    family: str, head: str, dtype: torch.dtype, bound: float, tmp_path: Path
) -> None:
    agree(*pair(family, head, tmp_path), family, head, dtype, bound)


def agree(theirs: Any, ours: Any, family: str, head: str, dtype: torch.dtype, bound: float) -> None:
    """In logits, loss and every gradient; padded and packed, on both backends."""
    theirs, ours = theirs.to(dtype), ours.to(dtype)
    batch = inputs(family)
    expected, loss = their_answer(theirs, head, batch)
    loss.backward()
    tied = theirs.all_tied_weights_keys if theirs.config.tie_word_embeddings else {}
    wanted = {
        name: parameter.grad
        for name, parameter in theirs.named_parameters(remove_duplicate=False)
        if parameter.grad is not None and name not in tied
    }
    # Untied, theirs may have a second bias that nothing reads; ours has none.
    idle = sum(p.numel() for p in theirs.parameters() if p.grad is None)
    assert ours.num_parameters() + idle == theirs.num_parameters()
    scale = max(gradient.abs().max().item() for gradient in wanted.values())
    for packed, backend in ((False, "fused"), (True, "fused"), (False, "plain")):
        ours.backend = backend
        ours.zero_grad()
        with ops.use_backend(backend):
            got, our_loss = our_answer(ours, head, batch, packed)
        for mine, other in zip(got, expected, strict=True):
            assert_close(mine, other, bound)
        assert_close(our_loss, loss, bound)
        our_loss.backward()
        named = {name: parameter.grad for name, parameter in ours.named_parameters()}
        renamed = FAMILIES[family].to_hf(named, head)
        if head == "MaskedLM" and not ours.config.tie_word_embeddings:
            biases = FAMILIES[family].with_second_bias(renamed)
            renamed = {name: biases[name] for name in biases if name in wanted}
        assert renamed.keys() == wanted.keys()
        for name, gradient in wanted.items():
            assert (renamed[name] - gradient).abs().max() <= bound * scale, name


@pytest.mark.parametrize(
    ("family", "head", "changes"),
    [
        ("modernbert", "SequenceClassifier", {"classifier_pooling": "mean"}),
        ("modernbert", "ChoiceScorer", {"classifier_pooling": "mean"}),
        ("distilbert", "MaskedLM", {"tie_word_embeddings": False}),
        ("electra", "MaskedLM", {"tie_word_embeddings": False}),
        ("modernbert", "MaskedLM", {"tie_word_embeddings": False}),
        ("bert", "MaskedLM", {"tie_word_embeddings": False}),
        ("roberta", "MaskedLM", {"tie_word_embeddings": False}),
        ("albert", "MaskedLM", {"tie_word_embeddings": False}),
        ("electra", "MaskedLM", {"embedding_size": 32}),
        ("albert", "MaskedLM", {"embedding_size": 32, "hidden_act": "gelu"}),
        ("bert", "MaskedLM", {"hidden_act": "gelu_new"}),
        ("bert", "MaskedLM", {"hidden_act": "relu"}),
        ("distilbert", "MaskedLM", {"activation": "relu"}),
    ],
)
def test_variants(family: str, head: str, changes: dict[str, Any], tmp_path: Path) -> None:
    theirs, ours = pair(family, head, tmp_path / "theirs", **changes)
    agree(theirs, ours, family, head, torch.float64, 1e-10)
    ours.float().save_pretrained(tmp_path / "ours")
    again, report = their_class(family, head).from_pretrained(
        tmp_path / "ours", output_loading_info=True
    )
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert OURS[head].from_pretrained(tmp_path / "ours").config == ours.config
    for name, value in changes.items():
        assert getattr(again.config, name) == value
    stored, made = (load_file(tmp_path / f / "model.safetensors") for f in ("theirs", "ours"))
    assert stored.keys() == made.keys()


def test_both_names_of_the_tanh_form() -> None:
    for name in ("gelu_new", "gelu_pytorch_tanh"):
        assert FAMILIES["bert"].read_config({"hidden_act": name}).hidden_act == "gelu_tanh"


@pytest.mark.parametrize(
    ("preset", "family", "published"),
    [("bert-base", "bert", 109_482_240), ("modern-base", "modernbert", 149_014_272)],
)
def test_published_sizes(preset: str, family: str, published: int) -> None:
    with torch.device("meta"):
        ours = Encoder(EncoderConfig.preset(preset))
        theirs = their_class(family, "Encoder")(their_class(family, "Encoder").config_class())
    assert ours.num_parameters() == theirs.num_parameters() == published


def test_positions_of_roberta_start_above_the_padding(tmp_path: Path) -> None:
    """Padding on the left, in the middle and on the right; theirs counts ids, ours the mask."""
    theirs, ours = pair("roberta", "Encoder", tmp_path)
    assert (ours.config.position_offset, ours.config.max_position_embeddings) == (2, 40)
    ids = torch.tensor([[1, 1, 7, 8, 9], [7, 8, 1, 9, 1], [7, 8, 9, 10, 11]])
    mask = ids != 1
    expected = theirs(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    assert_close(ours(ids, mask).last_hidden_state[mask], expected[mask], 1e-5)
    longest = torch.full((1, 40), 7)
    expected = theirs(input_ids=longest).last_hidden_state
    assert_close(ours(longest).last_hidden_state, expected, 1e-5)
    with pytest.raises(UserError, match="41 tokens, but the model has 40 positions"):
        ours(torch.full((1, 41), 7))
