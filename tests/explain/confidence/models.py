"""A tiny model of each task, with rows that are labelled as it says at the known temperature."""

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from plainformer.encoder import (
    ChoiceScorer,
    MaskedLM,
    QuestionAnswerer,
    SentenceEncoder,
    SequenceClassifier,
    TokenClassifier,
)
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune import Predictor
from plainformer.finetune.task import AnyTask
from plainformer.finetune.tasks.classification import Classification
from plainformer.finetune.tasks.multi_label import MultiLabel
from plainformer.finetune.tasks.multiple_choice import MultipleChoice
from plainformer.finetune.tasks.prompt import Prompt
from plainformer.finetune.tasks.question_answering import QuestionAnswering
from plainformer.finetune.tasks.regression import Regression
from plainformer.finetune.tasks.sentence_embedding import SentenceEmbedding
from plainformer.finetune.tasks.tagging.crf import ChainTagger
from plainformer.finetune.tasks.tagging.task import Tagging
from tests.explain.confidence.drawn import KNOWN
from tests.pretrain import tiny

TOKENIZER = tiny.make_tokenizer()
SHAPE = tiny.shape("bert", TOKENIZER)
LABELS, TAGS = ("a", "b", "c"), ("O", "B-x", "I-x")
LENGTH: dict[str, Any] = {"max_length": 48}
TEXTS = tiny.sentences(3)
WORDS = [*tiny.ANIMALS, *tiny.DEEDS, *tiny.FOOD, *tiny.COLOURS]


def tasks() -> dict[str, tuple[AnyTask, Any]]:
    """Tasks, each with a model."""
    crf = TokenClassifier(SHAPE, TAGS)
    return {
        "labels": (Classification(labels=LABELS, **LENGTH), SequenceClassifier(SHAPE, LABELS)),
        "topics": (
            MultiLabel(labels=LABELS, thresholds=(0.3, 0.5, 0.6), **LENGTH),
            SequenceClassifier(SHAPE, LABELS),
        ),
        "tags": (Tagging(labels=LABELS, decoding="each", **LENGTH), TokenClassifier(SHAPE, LABELS)),
        "legal": (Tagging(labels=TAGS, decoding="legal", **LENGTH), TokenClassifier(SHAPE, TAGS)),
        "crf": (Tagging(labels=TAGS, decoding="crf", **LENGTH), ChainTagger(crf)),
        "choice": (MultipleChoice(**LENGTH), ChoiceScorer(SHAPE)),
        "words": (
            Prompt(
                labels=LABELS,
                template="{text} [MASK]",
                words=LABELS,
                word_ids=(7, 8, 9),
                mask_id=TOKENIZER.mask_id,
                **LENGTH,
            ),
            MaskedLM(SHAPE),
        ),
        "score": (Regression(**LENGTH), SequenceClassifier(SHAPE, ("LABEL_0",))),
        "answers": (QuestionAnswering(**LENGTH), QuestionAnswerer(SHAPE)),
        "vectors": (SentenceEmbedding(scale=(0.0, 5.0), **LENGTH), SentenceEncoder(SHAPE)),
    }


def clear(model: PretrainedModel) -> PretrainedModel:
    """Scale the last layer, so that the model tells texts apart."""
    head = getattr(model, "classifier", None)
    head = getattr(head, "classifier", head)  # under a CRF
    if isinstance(head, torch.nn.Linear):
        head.weight.data *= 24 if isinstance(model, ChoiceScorer) else 8
    return model


def labelled(task: AnyTask, run: Path, count: int) -> list[dict[str, Any]]:
    """Rows of random words, with labels that are drawn as the model says at the temperature."""
    rng, random = np.random.default_rng(5), Random(5)
    texts = [" ".join(random.choices(WORDS, k=7)) for _ in range(count)]
    rows: list[dict[str, Any]] = [{"text": text} for text in texts]
    if isinstance(task, MultipleChoice):
        rows = [{**row, "options": random.sample(WORDS, 2 + n % 3)} for n, row in enumerate(rows)]
    if isinstance(task, Tagging):
        rows = [{"words": text.split()} for text in texts]
    if isinstance(task, Regression):
        scores = [prediction.score for prediction in Predictor.load(run)(rows)]
        noise = rng.standard_normal(count)
        return [{**r, "score": float(s + n)} for r, s, n in zip(rows, scores, noise, strict=True)]
    model = Predictor.load(run)
    hot = replace(model, task=task.at(KNOWN))
    for row, prediction in zip(rows, hot(rows), strict=True):
        if isinstance(task, MultiLabel):
            p = prediction.probabilities
            row["labels"] = [label for label in p if rng.random() < p[label]]
        elif isinstance(task, MultipleChoice):
            row["label"] = int(rng.choice(len(row["options"]), p=normal(prediction.probabilities)))
        elif isinstance(task, Classification):
            p = prediction.probabilities
            row["label"] = str(rng.choice(list(p), p=normal(list(p.values()))))
        else:  # a tag that is never illegal after others
            row["tags"] = list(prediction.tags)
            for place in range(len(prediction.tags)):
                if rng.random() > 0.8:
                    row["tags"][place] = LABELS[place % 3] if task.decoding == "each" else "B-x"
    return rows


def normal(p: Any) -> np.ndarray:
    return np.array(p) / np.sum(p)
