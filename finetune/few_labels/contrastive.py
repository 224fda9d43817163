"""Contrastive classification: vectors first, then a linear classifier (SetFit).

    loss = Σ (cos(e(a), e(b)) − s)²    over pairs of texts of the same label (s = 1) or not (s = 0)
    logits = W e(x) + b                by logistic regression on the vectors of the texts

(Tunstall et al. 2022, arXiv:2209.11055.) e is the vector that `sentence-embedding` computes: the
mean of the token vectors, unless the folder declares another, as a folder of sentence-transformers
does; from a model that has learned the meaning of sentences a few texts of each label suffice.

The run is a folder of sentence-transformers whose last Dense layer gives the logits: `predict` and
`evaluate` open it as a classification, and `SentenceTransformer(folder).encode` returns the logits.
`AutoModelForSequenceClassification` cannot hold it: that of BERT reads the first token alone.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from plainformer.base import UserError, find_folder
from plainformer.encoder import SentenceEncoder
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.encoder.weights.sentence import read_layout
from plainformer.encoder.weights.sentence_layout import Dense
from plainformer.finetune.data.batch import Batch, Item, by_length
from plainformer.finetune.few_labels.logistic_regression import logistic_regression
from plainformer.finetune.few_labels.pairs import contrastive_pairs
from plainformer.finetune.task import AnyTask
from plainformer.finetune.tasks.classification import Classification
from plainformer.finetune.tasks.sentence_embedding import SentenceEmbedding

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig


NEVER = -100.0
"""The logit of a label without a training example."""


def similarity_task(task: AnyTask, config: "FinetuneConfig") -> SentenceEmbedding:
    """Return the task of learning similarities from 0 to 1 of the texts of `task`.

    Raises `UserError` where the pretrained folder declares what a classifier would not do.
    """
    layout = read_layout(find_folder(config.model))
    if layout and (layout.prompt or layout.lower_case or layout.truncate_dim):
        raise UserError(
            f"{config.model}: contrastive supports no default prompt, do_lower_case or "
            "truncate_dim, and the folder declares one"
        )
    return SentenceEmbedding(scale=(0.0, 1.0), max_length=task.max_length)


def pairs_of(items: Sequence[Item], rounds: int, seed: int) -> list[Item]:
    """Pair encoded texts by their labels; the target of a pair is its similarity."""
    pairs = contrastive_pairs([label_of(item) for item in items], rounds, seed)
    return [
        Item(items[a].encodings + items[b].encodings, (np.array([similar], np.float32),) * 2)
        for a, b, similar in pairs
    ]


@torch.no_grad()
def with_classifier(
    model: PretrainedModel, similarity: SentenceEmbedding, items: Sequence[Item], task: AnyTask
) -> SentenceEncoder:
    """Add a last layer to the model, which gives the logits: logistic regression on `items`."""
    assert isinstance(model, SentenceEncoder) and isinstance(task, Classification)
    device = next(model.parameters()).device
    vectors = torch.zeros(len(items), model.size)
    for some in by_length(items):
        batch = Batch.of([item for _, item in some]).to(device)
        vectors[[number for number, _ in some]] = similarity.outputs(model, batch).cpu()
    seen, targets = np.unique([label_of(item) for item in items], return_inverse=True)
    labels, last = len(task.labels), len(model.layout.layers)
    weight, bias = torch.zeros(labels, model.size), torch.full((labels,), NEVER)
    found = logistic_regression(vectors, torch.from_numpy(targets))
    weight[seen], bias[seen] = (value.float() for value in found)
    layers = (*model.layout.layers, Dense(model.size, labels, activation="Identity"))
    layout = replace(model.layout, layers=layers, folders=(*model.layout.folders, ""))
    classifier = SentenceEncoder(model.encoder, layout)
    head = {f"{last}.linear.weight": weight, f"{last}.linear.bias": bias}
    classifier.layers.load_state_dict({**model.layers.state_dict(), **head})
    return classifier.to(device).eval()


def label_of(item: Item) -> int:
    """Return the number of the label of an encoded text."""
    return int(item.targets[0][0])


def without_classifier(model: SentenceEncoder) -> SentenceEncoder:
    """Return the model without the last layer that `with_classifier` added."""
    layout = model.layout
    layout = replace(layout, layers=layout.layers[:-1], folders=layout.folders[:-1])
    plain = SentenceEncoder(model.encoder, layout)
    plain.layers.load_state_dict(model.layers[:-1].state_dict())
    return plain.eval()
