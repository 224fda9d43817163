"""Every task takes every objective: the losses of a batch are those of its texts, alone."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from plainformer.encoder import (
    Encoder,
    MaskedLM,
    QuestionAnswerer,
    SentenceEncoder,
    SequenceClassifier,
    TokenClassifier,
)
from plainformer.encoder.heads.choice import ChoiceScorer
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.robust import RobustOptions, fgm, pgd, rdrop, robust_objective
from plainformer.finetune.task_objective import task_objective
from plainformer.finetune.tasks.multi_label import LabelsExample, MultiLabel
from plainformer.finetune.tasks.multiple_choice import ChoiceExample, MultipleChoice
from plainformer.finetune.tasks.prompt import Prompt
from plainformer.finetune.tasks.question_answering import QuestionAnswering
from plainformer.finetune.tasks.regression import Regression, ScoreExample
from plainformer.finetune.tasks.sentence_embedding import SentenceEmbedding, SentenceExample
from plainformer.finetune.tasks.tagging.crf import ChainTagger
from tests.encoder.tools import randomise
from tests.finetune import gradients, passages, sentences
from tests.pretrain import tiny

TEXTS = tiny.sentences(6, seed=2)
WORDPIECE = gradients.TOKENIZER
Made = tuple[Any, PretrainedModel, list[Any]]


def shape(dropout: float) -> Any:
    """A speck of a BERT."""
    given = replace(tiny.shape("bert", WORDPIECE), attention_dropout=dropout)
    return given.with_dropout(dropout)


def classification(dropout: float) -> Made:
    task = replace(gradients.TASK, overflow="windows")
    return task, gradients.classifier(dropout=dropout), gradients.items(task)


def multi_label(dropout: float) -> Made:
    task = MultiLabel(labels=("a", "b", "c"), max_length=16)
    examples = [
        LabelsExample(text=text, labels=labels, source="f:1")
        for text, labels in zip(TEXTS, (("a", "b"), (), ("c",)), strict=False)
    ]
    model = SequenceClassifier(shape(dropout), task.labels)
    return task, model, [task.encode(e, WORDPIECE) for e in examples]


def regression(dropout: float) -> Made:
    task = Regression(max_length=16)
    examples = [ScoreExample(text=t, score=float(n), source="f:1") for n, t in enumerate(TEXTS)]
    model = SequenceClassifier(shape(dropout), ("LABEL_0",))
    return task, model, [task.encode(e, WORDPIECE) for e in examples]


def tagging(dropout: float) -> Made:
    task = sentences.task(max_length=12, overflow="windows")
    given = [sentences.sentence(text.split(), ["O"] * len(text.split())) for text in TEXTS]
    items = [task.encode(sentence, sentences.TOKENIZERS["wordpiece"]) for sentence in given]
    return task, TokenClassifier(shape(dropout), task.labels), items


def crf(dropout: float) -> Made:
    task, model, items = tagging(dropout)
    assert isinstance(model, TokenClassifier)
    return replace(task, decoding="crf"), ChainTagger(model), items


def questions(dropout: float) -> Made:
    task = QuestionAnswering(max_length=24)
    items = [
        task.encode(passages.about(word), passages.TOKENIZERS["wordpiece"])
        for word in passages.STORY.split()[1:4]
    ]
    return task, QuestionAnswerer(shape(dropout)), items


def choice(dropout: float) -> Made:
    task = MultipleChoice(max_length=24)
    examples = [
        ChoiceExample(text=TEXTS[n], options=tuple(TEXTS[: 2 + n]), right=n, source="f:1")
        for n in range(3)
    ]
    return task, ChoiceScorer(shape(dropout)), [task.encode(e, WORDPIECE) for e in examples]


def scored_pairs(dropout: float) -> Made:
    task = SentenceEmbedding(scale=(0.0, 1.0), max_length=16)
    examples = [
        SentenceExample(text=TEXTS[n], pair=TEXTS[n + 1], score=n / 2, source="f:1")
        for n in range(3)
    ]
    model = SentenceEncoder(Encoder(shape(dropout)))
    return task, model, [task.encode(e, WORDPIECE) for e in examples]


def prompt(dropout: float) -> Made:
    task = Prompt(
        labels=("a", "b", "c"),
        words=("fish", "corn", "mice"),
        word_ids=(15, 16, 17),
        template="{text} it was [MASK]",
        mask_id=WORDPIECE.mask_id,
        max_length=16,
    )
    return task, MaskedLM(shape(dropout)), gradients.items(task)


TASKS: dict[str, Callable[[float], Made]] = {
    made.__name__: made
    for made in (
        classification,
        multi_label,
        regression,
        tagging,
        crf,
        questions,
        choice,
        scored_pairs,
        prompt,
    )
}


def ready(name: str, dropout: float) -> Made:
    """The task, its model in float64, and its items."""
    task, model, items = TASKS[name](dropout)
    torch.manual_seed(0)
    return task, randomise(model.double()).train(), items


@pytest.mark.parametrize("method", ["fgm", "pgd"])
@pytest.mark.parametrize("name", TASKS)
def test_the_adversary_of_a_batch_is_that_of_each_text(name: str, method: str) -> None:
    """Without dropout, the gradients of the batch are the sums of those of the items, alone."""
    task, model, items = ready(name, 0.0)
    objective = task_objective(task)
    adversarial = fgm(objective, 0.3) if method == "fgm" else pgd(objective, 0.3, steps=2)
    total, found = gradients.gradients(model, adversarial, Batch.of(items))
    plain, _ = gradients.gradients(model, objective, Batch.of(items))
    assert total > 2 * plain + 1e-4
    sums: dict[str, Tensor] = {}
    alone = 0.0
    for item in items:
        loss, grads = gradients.gradients(model, adversarial, Batch.of([item]))
        alone += loss
        for key, gradient in grads.items():
            sums[key] = sums.get(key, 0) + gradient
    assert total == pytest.approx(alone, rel=1e-5)
    for key, gradient in found.items():
        torch.testing.assert_close(gradient, sums[key], rtol=1e-4, atol=1e-4, msg=key)


@pytest.mark.parametrize("name", TASKS)
def test_all_objectives_nest(name: str) -> None:
    task, model, items = ready(name, 0.2)
    options = RobustOptions(rdrop=1.0, smart=1.0, freelb=0.5, ascent_steps=2)
    batch = Batch.of(items)
    losses = list(gradients.losses_of(model, robust_objective(task, options), batch))
    plain = task.loss(task.outputs(model, batch), batch)
    assert [loss.items for loss in losses] == [plain.items, 0]
    assert losses[0].metrics.keys() == {*plain.metrics, "rdrop", "smart"}
    for loss in losses:
        assert loss.total.isfinite() and float(loss.metrics["smart"]) > 0
        assert float(loss.metrics["rdrop"]) > 1e-6
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("name", TASKS)
def test_rdrop_pulls_two_passes_together(name: str) -> None:
    """A small step against its gradient makes the divergence of the same passes smaller."""
    task, model, items = ready(name, 0.2)
    batch = Batch.of(items)
    objective = rdrop(task_objective(task), 1e6)

    def divergence() -> float:
        torch.manual_seed(1)
        model.zero_grad()
        (loss,) = gradients.losses_of(model, objective, batch)
        return float(loss.metrics["rdrop"])

    before = divergence()
    steepness = sum(p.grad.square().sum() for p in model.parameters() if p.grad is not None)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter -= 1e-4 * before * 1e6 / steepness * parameter.grad
    assert divergence() < before
