"""How far two outputs are: formulas in float64, in packed batches, and text by text."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, rel_entr, softmax
from torch import Tensor
from torch.nn.functional import kl_div

from plainformer.encoder import SequenceClassifier
from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.tasks.classification import ClassExample, Classification
from plainformer.finetune.tasks.multi_label import MultiLabel
from plainformer.finetune.tasks.multiple_choice import ChoiceExample, MultipleChoice, by_item
from plainformer.finetune.tasks.question_answering import QuestionAnswering
from plainformer.finetune.tasks.regression import Regression
from plainformer.finetune.tasks.sentence_embedding import SentenceEmbedding, SentenceExample
from plainformer.finetune.tasks.sequence import SequenceTask
from plainformer.finetune.tasks.tagging.task import WordScores
from tests.encoder.tools import randomise
from tests.finetune import passages, sentences
from tests.pretrain import tiny

LABELS = ("a", "b", "c")
TEXTS = tiny.sentences(4)
TOKENIZER = tiny.make_tokenizer()


def texts(task: SequenceTask[Any, Any]) -> Batch[Any]:
    """Pack five texts, of which the longest comes first and is read in windows."""
    task = replace(task, overflow="windows")
    given = [" ".join(TEXTS), "the", *TEXTS[:3]]
    examples = [ClassExample(text=text, label=None, source="f:1") for text in given]
    items = [Item(task.encodings(example, TOKENIZER)) for example in examples]
    assert len(items[0].encodings) > 2
    return Batch.of(items)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def kl(logits: Tensor, others: Tensor, temperature: float) -> float:
    """KL(others ‖ logits) of rows, by SciPy."""
    q, p = (softmax(x.detach().numpy() / temperature, -1) for x in (logits, others))
    return float(rel_entr(p, q).sum())


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_one_label_by_kl(temperature: float) -> None:
    task = Classification(labels=LABELS, max_length=12)
    outputs, others = normal(5, 3), normal(5, 3, seed=1)
    loss = task.divergence(outputs, others, texts(task), temperature)
    assert loss.items == 5
    assert loss.total.item() == pytest.approx(kl(outputs, others, temperature), rel=1e-12)
    logs = ((x / temperature).log_softmax(-1) for x in (outputs, others))
    theirs = kl_div(*logs, reduction="sum", log_target=True)
    assert loss.total.item() == pytest.approx(theirs.item(), rel=1e-12)


def test_of_a_model_it_is_that_of_its_predictions() -> None:
    """Two dropout masks, on texts and windows in packed order."""
    task = Classification(labels=LABELS, max_length=12)
    torch.manual_seed(3)
    model = randomise(
        SequenceClassifier(replace(tiny.shape("bert", TOKENIZER), hidden_dropout=0.3), LABELS)
    )
    batch = texts(task)
    outputs, others = (task.outputs(model.train(), batch) for _ in range(2))
    q, p = (
        np.array([[said.probabilities[label] for label in LABELS] for said in predictions])
        for predictions in (task.predict(x, batch) for x in (outputs, others))
    )
    loss = task.divergence(outputs, others, batch)
    assert loss.items == 5 and not np.allclose(p, q)
    assert loss.total.item() == pytest.approx(rel_entr(p, q).sum(), rel=1e-3)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_many_labels_by_the_kl_of_each(temperature: float) -> None:
    task = MultiLabel(labels=LABELS, max_length=12)
    outputs, others = normal(5, 3), normal(5, 3, seed=1)
    loss = task.divergence(outputs, others, texts(task), temperature)
    q, p = (expit(x.numpy() / temperature) for x in (outputs, others))
    wanted = (rel_entr(p, q) + rel_entr(1 - p, 1 - q)).mean(-1).sum()
    assert loss.items == 5 and loss.total.item() == pytest.approx(wanted, rel=1e-12)


def test_numbers_by_squared_difference() -> None:
    task = Regression(max_length=12)
    outputs, others = normal(5, 1), normal(5, 1, seed=1)
    loss = task.divergence(outputs, others, texts(task))
    theirs = torch.nn.functional.mse_loss(outputs, others, reduction="sum")
    assert loss.items == 5 and loss.total.item() == pytest.approx(theirs.item(), rel=1e-12)


def test_options_by_kl_of_each_example_s_own() -> None:
    """Two options beside four: the missing ones count nothing, and have no gradient."""
    task = MultipleChoice(max_length=32)
    options = [("x", TEXTS[0]), tuple(TEXTS), (TEXTS[1], "y", "z")]
    batch = Batch.of(
        [
            task.encode(ChoiceExample(text="t", options=o, right=None, source="f:1"), TOKENIZER)
            for o in options
        ]
    )
    scores, others = normal(9, 1).requires_grad_(), normal(9, 1, seed=1)

    def divergence(scores: Tensor) -> Tensor:
        return task.divergence(by_item(scores, batch), by_item(others, batch), batch, 1.5).total

    ours, theirs = (torch.split(batch.in_order(x)[:, 0], [2, 4, 3]) for x in (scores, others))
    wanted = sum(kl(q, p, 1.5) for q, p in zip(ours, theirs, strict=True))
    assert divergence(scores).item() == pytest.approx(wanted, rel=1e-12)
    assert torch.autograd.gradcheck(divergence, scores)


def test_answers_by_kl_of_both_ends_in_each_window() -> None:
    task = QuestionAnswering(max_length=24)
    questions = ["the cat .", "the dog hunts the cat ."]
    tokenizer = passages.TOKENIZERS["wordpiece"]
    batch = Batch.of(
        [task.encode(passages.example(q, passages.STORY), tokenizer) for q in questions]
    )
    outputs, others = (
        tuple(normal(batch.num_tokens, seed=seed) for seed in pair) for pair in ((0, 1), (2, 3))
    )
    loss = task.divergence(outputs, others, batch, 2.0)
    assert loss.items == len(batch.places) > 4
    lengths = list(batch.sequences.lengths)
    wanted = 0.0
    for ours, theirs in zip(outputs, others, strict=True):
        for q, p in zip(ours.split(lengths), theirs.split(lengths), strict=True):
            wanted += kl(q, p, 2.0) / 2
    assert loss.total.item() == pytest.approx(wanted, rel=1e-12)


def test_tags_by_kl_of_each_word() -> None:
    """Of a batch it is the sum of that of its sentences, windows or not; every word counts."""
    tokenizer = sentences.TOKENIZERS["wordpiece"]
    task = sentences.task(max_length=12, overflow="windows")
    words = [text.split() for text in (" ".join(TEXTS), TEXTS[0], TEXTS[1])]
    items = [task.encode(sentences.sentence(some, None), tokenizer) for some in words]
    batch = Batch.of(items)
    logits = [normal(batch.num_tokens, len(task.labels), seed=seed) for seed in (0, 1)]

    def scores(batch: Batch[Any], logits: Tensor) -> WordScores:
        found = task.of_words(logits, batch)
        return replace(found, logits=logits[found.places])

    outputs, others = (scores(batch, x) for x in logits)
    loss = task.divergence(outputs, others, batch, 2.0)
    assert loss.items == sum(map(len, words))
    assert loss.total.item() == pytest.approx(kl(outputs.logits, others.logits, 2.0), rel=1e-12)
    alone = 0.0
    for number, item in enumerate(items):
        one = Batch.of([item])
        parts = [torch.cat(batch.split(x)[number]) for x in logits]  # the windows, in order
        packed = [
            torch.cat([x.split([len(e) for e in item.encodings])[i] for i in _order(item)])
            for x in parts
        ]
        ours, theirs = (scores(one, x) for x in packed)
        alone += task.divergence(ours, theirs, one, 2.0).total.item()
    assert loss.total.item() == pytest.approx(alone, rel=1e-12)


def _order(item: Any) -> list[int]:
    """Return the order in which the sequences of one item are packed: shorter ones first."""
    return sorted(range(len(item.encodings)), key=lambda i: len(item.encodings[i]))


def test_vectors_by_squared_distance() -> None:
    """A mean over the texts of an example, two or three."""
    task = SentenceEmbedding(scale=None, max_length=16)
    examples = [
        SentenceExample(text=TEXTS[0], pair=TEXTS[1], source="f:1"),
        SentenceExample(text="the", pair=TEXTS[2], negative=TEXTS[3], source="f:2"),
    ]
    batch = Batch.of([task.encode(example, TOKENIZER) for example in examples])
    outputs, others = normal(5, 7), normal(5, 7, seed=1)
    loss = task.divergence(outputs, others, batch)
    squares = (outputs - others).square().sum(-1)
    assert loss.items == 2
    assert loss.total.item() == pytest.approx((squares[:2].mean() + squares[2:].mean()).item())


@pytest.mark.parametrize(
    "task",
    [
        Classification(labels=LABELS, max_length=12),
        MultiLabel(labels=LABELS, max_length=12),
        Regression(max_length=12),
    ],
    ids=lambda task: type(task).__name__,
)
def test_equal_outputs_are_0_apart_with_gradient_0(task: SequenceTask[Any, Any]) -> None:
    outputs = normal(5, 1 if isinstance(task, Regression) else 3).requires_grad_()
    loss = task.divergence(outputs, outputs.detach(), texts(task))
    (gradient,) = torch.autograd.grad(loss.total, outputs)
    assert loss.total.item() == pytest.approx(0, abs=1e-12)
    assert np.abs(gradient.numpy()).max() < 1e-12
