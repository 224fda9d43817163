"""Each loss against an independent one: that of transformers, or PyTorch's formula."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from plainformer.base import UserError
from plainformer.encoder import EncoderConfig, MaskedLM, PairedMaskedLM
from plainformer.pretrain import Chunks, MaskedBatch, Masking
from plainformer.pretrain.batch import with_step_counts
from plainformer.pretrain.data import MaskedBatches
from plainformer.pretrain.objectives import (
    Denoising,
    Distillation,
    Electra,
    ReplacedTokens,
    SegmentPairs,
    SentencePairs,
    load_teacher,
    masked_lm,
    next_tokens,
)
from plainformer.pretrain.objectives.cross_entropy import cross_entropy_loss
from plainformer.pretrain.objectives.replaced_tokens import narrower
from plainformer.training import Loss
from tests.pretrain import markov
from tests.pretrain.markov import FIRST, LETTERS, MASK

TOKENIZER = markov.make_tokenizer()
SHARD = markov.Markov().shard(60, 0)
CHUNKS = Chunks([SHARD], TOKENIZER, 12)  # each text in two unequal chunks
MASKING = Masking(MASK, np.arange(FIRST, FIRST + LETTERS), 0.3)
SPECIAL = frozenset(TOKENIZER.special_ids)


def shape(**changes: Any) -> EncoderConfig:
    """Large weights, so that the model is sure of something."""
    return markov.shape(initializer_range=0.3, **changes)


def electra() -> Electra:
    torch.manual_seed(0)
    return Electra.new(shape(architecture="electra", classifier_head="gelu"), 0.5).eval()


def padded(batch: MaskedBatch) -> dict[str, Tensor]:
    """The batch as transformers takes it, with −100 wherever nothing is asked."""
    pad = batch.sequences.pad
    labels = torch.full_like(batch.input_ids, -100)
    labels[batch.target_positions] = batch.labels
    inputs = {
        "input_ids": pad(batch.input_ids),
        "attention_mask": pad(torch.ones_like(batch.input_ids)),
        "labels": pad(labels + 100) - 100,
    }
    if batch.token_type_ids is not None:
        inputs["token_type_ids"] = pad(batch.token_type_ids)
    return inputs


@pytest.mark.parametrize("name", ["nsp", "sop"])
@pytest.mark.parametrize("family", ["bert", "albert"])
def test_pairs_and_masks_have_the_loss_of_transformers(name, family, tmp_path):
    import transformers

    torch.manual_seed(0)
    changes = {"architecture": "albert", "share_layers": True} if family == "albert" else {}
    size = {"embedding_size": 16} if family == "albert" else {}
    model = PairedMaskedLM(shape(**changes, **size)).eval()
    model.save_pretrained(tmp_path)
    kind = {"bert": "BertForPreTraining", "albert": "AlbertForPreTraining"}[family]
    theirs = getattr(transformers, kind).from_pretrained(tmp_path).eval()
    (batch,) = MaskedBatches(SegmentPairs(CHUNKS, name), MASKING, 200)(0)
    assert 0 < batch.order.sum() < len(batch.order)
    label = {"bert": "next_sentence_label", "albert": "sentence_order_label"}[family]
    with torch.no_grad():
        wanted = theirs(**padded(batch), **{label: batch.order}).loss
        loss = SentencePairs(name, "mlm")(model, batch)
    assert loss.items == len(batch.order)
    assert (loss.total / loss.items).item() == pytest.approx(wanted.item(), rel=1e-5)
    parts = loss.metrics["mlm_loss"] + loss.metrics[f"{name}_loss"]
    assert float(parts / loss.items) == pytest.approx(wanted.item(), rel=1e-5)


def test_pairs_alone():
    torch.manual_seed(0)
    model = PairedMaskedLM(shape()).eval()
    (batch,) = MaskedBatches(SegmentPairs(CHUNKS, "sop"), MASKING, 200)(0)
    both, alone = SentencePairs("sop", "mlm")(model, batch), SentencePairs("sop")(model, batch)
    assert alone.total.item() == pytest.approx(float(both.metrics["sop_loss"]))
    assert float(alone.metrics["accuracy"]) == float(both.metrics["sop_accuracy"])


def test_causal_lm_has_the_loss_of_transformers(tmp_path):
    from transformers import BertLMHeadModel

    torch.manual_seed(0)
    model = MaskedLM(shape()).eval()
    model.save_pretrained(tmp_path)
    theirs = BertLMHeadModel.from_pretrained(tmp_path, is_decoder=True).eval()
    (batch,) = MaskedBatches(CHUNKS, next_tokens, 200)(0)
    loss = masked_lm(model, batch)
    inputs = padded(batch)
    # Theirs shifts the labels itself: they are the texts.
    inputs["labels"] = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
    with torch.no_grad():
        wanted = theirs(**inputs).loss
    assert (loss.total / loss.items).item() == pytest.approx(wanted.item(), rel=1e-5)


def test_replaced_tokens_have_the_losses_of_transformers(tmp_path):
    """The generator's and the discriminator's, on the tokens that the same seed draws."""
    from transformers import ElectraForMaskedLM, ElectraForPreTraining

    model, objective = electra(), ReplacedTokens(SPECIAL)
    model.save_pretrained(tmp_path)
    generator, made = ElectraForMaskedLM.from_pretrained(
        tmp_path / "generator", output_loading_info=True
    )
    discriminator, found = ElectraForPreTraining.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report["missing_keys"] or report["unexpected_keys"] for report in (made, found))
    (batch,) = MaskedBatches(CHUNKS, MASKING, 200)(0)
    torch.manual_seed(3)
    with torch.no_grad():
        loss = objective(model, batch)
        inputs = padded(batch)
        guessed = generator.eval()(**inputs)
        logits = batch.sequences.unpad(guessed.logits)[batch.target_positions]
        torch.manual_seed(3)
        shown = batch.input_ids.clone()
        shown[batch.target_positions] = objective.draw(logits)
        original = batch.input_ids.clone()
        original[batch.target_positions] = batch.labels
        replaced = shown != original
        judged = discriminator.eval()(
            input_ids=batch.sequences.pad(shown),
            attention_mask=inputs["attention_mask"],
            labels=batch.sequences.pad(replaced.long()),
        )
    assert loss.items == batch.num_tokens
    wanted = guessed.loss + 50 * judged.loss
    assert (loss.total / loss.items).item() == pytest.approx(wanted.item(), rel=1e-5)
    right = (batch.sequences.unpad(judged.logits) > 0) == replaced
    assert int(loss.metrics["rtd_accuracy"]) == int(right.sum())
    assert int(loss.metrics["rtd_replaced"]) == int(replaced.sum()) > 0


def test_drawn_tokens_follow_the_generator_and_are_never_special():
    objective = ReplacedTokens(SPECIAL)
    logits = torch.full((40_000, FIRST + LETTERS), 2.0)
    logits[:, :FIRST] = 9.0
    logits[:, FIRST] += float(np.log(3))
    torch.manual_seed(0)
    counts = torch.bincount(objective.draw(logits), minlength=FIRST + LETTERS)
    assert not counts[:FIRST].any()
    shares = counts[FIRST:] / len(logits)
    wanted = torch.tensor([3.0, *[1.0] * (LETTERS - 1)]) / (LETTERS + 2)
    assert (shares - wanted).abs().max() < 0.01
    assert objective.draw(logits[:0]).shape == (0,)


def test_generator_and_discriminator_share_embeddings_and_nothing_else():
    model = electra()
    both = dict(model.named_parameters(remove_duplicate=False))
    shared = {n for n, p in both.items() if sum(p is other for other in both.values()) > 1}
    assert {name.partition(".")[2] for name in shared} == {
        "encoder.embeddings.tokens.weight",
        "encoder.embeddings.positions.weight",
        "encoder.embeddings.segments.weight",
    }
    batch = MaskedBatches(CHUNKS, MASKING, 200)(0)[0]
    torch.manual_seed(0)
    ReplacedTokens(SPECIAL)(model, batch).total.backward()
    untouched = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert untouched == []


@pytest.mark.parametrize("share", [0.1, 0.25, 0.3, 1 / 3, 0.7, 1.0])
@pytest.mark.parametrize("preset", ["electra-tiny", "electra-small", "electra-base"])
def test_a_generator_is_narrower_and_as_deep(preset, share):
    config = EncoderConfig.preset(preset)
    small = narrower(config, share)
    assert small.num_hidden_layers == config.num_hidden_layers
    assert small.token_size == config.token_size
    assert small.hidden_size <= share * config.hidden_size + 1e-9
    assert small.hidden_size > share * config.hidden_size - small.num_attention_heads
    if (preset, share) == ("electra-small", 0.25):  # as published
        assert (small.hidden_size, small.num_attention_heads) == (64, 1)
        assert (small.intermediate_size, small.embedding_size) == (256, 128)


def micro(hide: Any, source: Any = CHUNKS) -> tuple[list[MaskedBatch], MaskedBatch]:
    """A step of four micro-batches, and the same sequences and masks in one batch."""
    parts = MaskedBatches(source, hide, 40, micro_batches=4)(0)
    ids = torch.cat([p.input_ids for p in parts])
    firsts = np.cumsum([0, *[p.num_tokens for p in parts[:-1]]])
    lengths = [n for p in parts for n in p.sequences.lengths]
    paired = parts[0].order is not None
    whole = MaskedBatch(
        ids,
        type(parts[0].sequences).of(lengths),
        torch.cat(
            [p.target_positions + int(first) for p, first in zip(parts, firsts, strict=True)]
        ),
        torch.cat([p.labels for p in parts]),
        torch.cat([p.token_type_ids for p in parts]) if paired else None,
        torch.cat([p.order for p in parts]) if paired else None,
    )
    return parts, whole


def gradient(model: Any, losses: list[Loss]) -> tuple[list[Tensor], dict[str, float]]:
    """What the loop makes of these: the gradient of a step, and its means."""
    model.zero_grad()
    for loss in losses:
        loss.total.backward()
    count = sum(loss.items for loss in losses)
    means: dict[str, float] = {}
    for loss in losses:
        for name, value in {"loss": loss.total.detach(), **loss.metrics}.items():
            means[name] = means.get(name, 0.0) + float(value) / count
    return [p.grad / count for p in model.parameters() if p.grad is not None], means


def test_added_losses_do_not_depend_on_micro_batches():
    """Though tokens and pairs are shared out unequally among them."""
    torch.manual_seed(0)
    model = PairedMaskedLM(shape()).eval()
    parts, whole = micro(MASKING, SegmentPairs(CHUNKS, "sop"))
    shares = {len(p.labels) / len(p.order) for p in parts}
    assert len(parts) == 4 and len(shares) > 1
    objective = SentencePairs("sop", "mlm")
    one, all_of_one = gradient(model, [objective(model, whole)])
    many, means = gradient(model, [objective(model, part) for part in parts])
    assert means == pytest.approx(all_of_one, rel=1e-5)
    for a, b in zip(one, many, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)


def test_replaced_tokens_do_not_depend_on_micro_batches(monkeypatch):
    """Given the same draws: here always the most probable token."""
    model = electra()
    objective = ReplacedTokens(SPECIAL)
    monkeypatch.setattr(
        ReplacedTokens, "draw", lambda self, logits: logits[:, FIRST:].argmax(-1) + FIRST
    )
    parts, whole = micro(MASKING)
    one, all_of_one = gradient(model, [objective(model, whole)])
    many, means = gradient(model, [objective(model, part) for part in parts])
    assert means == pytest.approx(all_of_one, rel=1e-5)
    for a, b in zip(one, many, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def models(seeds: tuple[int, ...] = (0, 1)) -> list[MaskedLM]:
    made = []
    for seed in seeds:
        torch.manual_seed(seed)
        made.append(MaskedLM(shape()).eval())
    return made


def test_distillation_is_the_formula():
    student, teacher = models()
    (batch,) = MaskedBatches(CHUNKS, MASKING, 200)(0)
    loss = Distillation(teacher, temperature=3.0, soft_share=0.7)(student, batch)
    asked = {"sequences": batch.sequences, "target_positions": batch.target_positions}
    ours, wanted = (m(batch.input_ids, **asked).double() for m in (student, teacher))
    p, q = ((x / 3.0).softmax(-1) for x in (wanted, ours))
    divergence = (p * (p / q).log()).sum()
    hard = F.cross_entropy(ours, batch.labels, reduction="sum")
    assert loss.items == len(batch.labels)
    assert loss.total.item() == pytest.approx((0.7 * 9 * divergence + 0.3 * hard).item(), rel=1e-4)
    assert float(loss.metrics["soft"]) == pytest.approx(divergence.item(), rel=1e-4)
    assert float(loss.metrics["hard"]) == pytest.approx(hard.item(), rel=1e-5)
    loss.total.backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert all(p.grad is not None for p in student.parameters())


def test_without_a_share_distillation_is_masked_lm():
    student, teacher = models()
    (batch,) = MaskedBatches(CHUNKS, MASKING, 200)(0)
    loss = Distillation(teacher, soft_share=0.0)(student, batch)
    assert loss.total.item() == pytest.approx(masked_lm(student, batch).total.item(), rel=1e-6)
    same = Distillation(student, soft_share=1.0)(student, batch)
    assert same.total.item() == pytest.approx(0, abs=1e-3)


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    MaskedLM(shape()).save_pretrained(tmp_path)
    TOKENIZER.save(tmp_path)
    return tmp_path


def test_a_teacher_is_frozen_and_does_not_drop_out(teacher):
    model = load_teacher(teacher, TOKENIZER, 16)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())


def test_a_teacher_that_cannot_teach_is_refused(teacher, tmp_path):
    with pytest.raises(UserError, match=r"another tokenizer.*--tokenizer"):
        load_teacher(teacher, markov.make_tokenizer(LETTERS + 1), 16)
    with pytest.raises(UserError, match="max_length 64 is more than the 32 positions"):
        load_teacher(teacher, TOKENIZER, 64)
    with pytest.raises(UserError, match="there is no folder"):
        load_teacher(tmp_path / "nowhere", TOKENIZER, 16)
    PairedMaskedLM(shape(vocab_size=FIRST + LETTERS - 1)).save_pretrained(teacher)
    with pytest.raises(UserError, match=r"has 11 tokens, the teacher in .* only 10"):
        load_teacher(teacher, TOKENIZER, 16)


def test_a_teachers_padded_vocabulary_is_not_taught():
    (student,) = models((0,))
    torch.manual_seed(1)
    wide = MaskedLM(shape(vocab_size=FIRST + LETTERS + 5)).eval()
    (batch,) = MaskedBatches(CHUNKS, MASKING, 200)(0)
    loss = Distillation(wide, soft_share=1.0, temperature=1.0)(student, batch)
    asked = {"sequences": batch.sequences, "target_positions": batch.target_positions}
    wanted = wide(batch.input_ids, **asked)[:, : FIRST + LETTERS].softmax(-1)
    ours = student(batch.input_ids, **asked).softmax(-1)
    assert loss.total.item() == pytest.approx(
        (wanted * (wanted / ours).log()).sum().item(), rel=1e-4
    )


def test_every_hidden_batch_moves_and_together_keeps_it():
    for hide in (MASKING, next_tokens, Denoising(MASKING)):
        (batch,) = with_step_counts(MaskedBatches(SegmentPairs(CHUNKS, "nsp"), hide, 100)(0))
        moved = batch.to(torch.device("meta"))
        assert moved.sequences.causal == batch.sequences.causal
        assert moved.counts == batch.counts
        tensors = (
            moved.input_ids,
            moved.target_positions,
            moved.labels,
            moved.token_type_ids,
            moved.order,
        )
        assert all(tensor.is_meta for tensor in tensors)


def test_an_answer_is_right_whose_label_has_the_highest_score():
    torch.manual_seed(0)
    logits = torch.randn(200, 7)
    labels = torch.randint(7, (200,))
    right = (logits.argmax(-1) == labels).sum()
    assert cross_entropy_loss(logits, labels).metrics["accuracy"] == right
    assert 0 < right < 200


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_score_that_is_shared_is_no_prediction(dtype):
    logits = torch.tensor([[1.0, 1.0, 0.0], [0.0, 2.0, 2.0], [0.0, 1.0, 2.0]], dtype=dtype)
    before = logits.clone()
    assert (
        cross_entropy_loss(torch.zeros(9, 7, dtype=dtype), torch.arange(9) % 7).metrics["accuracy"]
        == 0
    )
    for label, right in ((0, 0), (1, 0), (2, 1)):
        assert cross_entropy_loss(logits, torch.full((3,), label)).metrics["accuracy"] == right
    assert torch.equal(logits, before), "the scores are as they were"


def test_padding_of_either_vocabulary_is_no_token():
    """The loss is the same where one of the two has rows for padding, and they are never likely."""
    student, teacher = models()
    (batch,) = MaskedBatches(CHUNKS, MASKING, 200)(0)
    wanted = Distillation(teacher, soft_share=1.0)(student, batch).metrics["soft"]
    for padded in (student, teacher):
        longer = MaskedLM(replace(shape(), vocab_size=shape().vocab_size + 6))
        state = {**longer.state_dict()}
        for name, tensor in padded.state_dict().items():
            state[name] = state[name].clone()
            state[name][tuple(slice(0, size) for size in tensor.shape)] = tensor
        longer.load_state_dict(state)
        longer.eval()
        one, two = (longer, teacher) if padded is student else (student, longer)
        found = Distillation(two, soft_share=1.0)(one, batch).metrics["soft"]
        assert float(found) == pytest.approx(float(wanted), rel=1e-4)
