"""Prediction from a folder that holds model, tokenizer and labels.

classifier = Classifier.load("runs/questions")
classifier(["who wrote this?"])[0].label
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from cellar import UserError
from encoder import SequenceClassifier
from finetune.data import Text, Texts, encode
from tokenizer import Tokenizer, load_tokenizer


@dataclass(frozen=True)
class Prediction:
    """The most probable label of a text, and the probabilities of all."""

    label: str
    probabilities: dict[str, float]
    """most probable first"""


@dataclass(frozen=True)
class Classifier:
    """A fine-tuned model with the tokenizer and the labels it was trained with."""

    model: SequenceClassifier
    tokenizer: Tokenizer
    max_length: int

    @classmethod
    def load(cls, folder: str | Path) -> "Classifier":
        """What `finetune` left in `folder`; `UserError` when that is no classifier."""
        tokenizer = load_tokenizer(folder)
        model = SequenceClassifier.from_pretrained(folder)
        check_vocabulary(model, tokenizer)
        longest = tokenizer.max_length or model.config.max_position_embeddings
        return cls(model, tokenizer, min(longest, model.config.max_position_embeddings))

    def __call__(self, texts: Sequence[Text]) -> list[Prediction]:
        """One prediction for each text (or pair), in order."""
        encoded = Texts(
            encode(texts, self.tokenizer, self.max_length), np.full(len(texts), -1, np.int64)
        )
        return [self._prediction(row) for row in probabilities(self.model, encoded)]

    def _prediction(self, row: Float[np.ndarray, " labels"]) -> Prediction:
        ranked = np.argsort(-row, kind="stable")
        labels = self.model.labels
        return Prediction(labels[ranked[0]], {labels[i]: float(row[i]) for i in ranked})


def check_vocabulary(model: SequenceClassifier, tokenizer: Tokenizer) -> None:
    """Raise `UserError` when the tokenizer has ids for which the model has no vector."""
    if tokenizer.vocab_size > model.config.vocab_size:
        raise UserError(
            f"the tokenizer has {tokenizer.vocab_size} tokens, the model only "
            f"{model.config.vocab_size}: they do not belong together"
        )


@torch.no_grad()
def probabilities(model: SequenceClassifier, texts: Texts) -> Float[np.ndarray, "texts labels"]:
    """softmax(logits) of every text, in order; texts of like length are computed together."""
    device = next(model.parameters()).device
    model.eval()
    result = np.zeros((len(texts), len(model.labels)), np.float32)
    for chosen, batch in texts.by_length():
        moved = batch.to(device)
        logits = model(moved.input_ids, None, moved.token_type_ids, moved.sequences)
        result[chosen] = logits.float().softmax(-1).cpu().numpy()
    return result
