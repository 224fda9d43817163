"""Compute the hidden states of labelled texts or words after each layer.

A text has the mean over its tokens, a word its first token. Layer 0 is the embeddings.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from plainformer.base import UserError
from plainformer.base.progress import counting
from plainformer.encoder import check_finite
from plainformer.encoder.heads.parts import pool
from plainformer.explain.inside.labelled import Labelled
from plainformer.finetune.data.batch import Batch, Item, by_length
from plainformer.finetune.data.split import folds
from plainformer.finetune.prediction.predictor import Predictor
from plainformer.finetune.tasks.tagging.task import Tagging
from plainformer.finetune.tasks.tagging.words import TaggedItem, word_places

PARTS = 4
"""One of so many parts is held out."""


@dataclass(frozen=True)
class States:
    """Labelled things, texts or words, with their hidden states after each layer."""

    states: Float[Tensor, "layers things hidden"]
    labels: tuple[str, ...]
    names: tuple[str, ...]
    """The word or the text itself."""
    owners: Int64[np.ndarray, " things"]
    """The number of the example that each is a part of."""
    held_out: Bool[np.ndarray, " things"]
    """True for those to measure on; a probe learns from the others. Equal texts are in one part."""


def hidden_states(
    predictor: Predictor, labelled: Labelled, seed: int = 0, quiet: bool = True
) -> States:
    """Compute the states of all texts or words of the examples; words that were cut have none.

    Raises `UserError` for a model without layers.
    """
    parts = np.array(folds(labelled.examples, PARTS, seed))
    encoder = predictor.model.base
    if not len(encoder.blocks):
        raise UserError("static vectors are looked up: there are no layers to look into")
    items = labelled.items()
    found: list[Tensor] = [torch.empty(0)] * len(items)
    with counting("reading layers", len(items), quiet=quiet) as advance:
        for numbered in by_length(items):
            batch = Batch.of([item for _, item in numbered]).to(encoder.device)
            with torch.no_grad():
                output = encoder(
                    batch.input_ids,
                    token_type_ids=batch.token_type_ids,
                    sequences=batch.sequences,
                    output_hidden_states=True,
                )
            check_finite(output.last_hidden_state)
            states = [of_things(layer, batch, labelled) for layer in output.hidden_states]
            pieces = torch.split(torch.stack(states).cpu(), counts_of(batch), 1)
            for (number, _), piece in zip(numbered, pieces, strict=True):
                found[number] = piece  # (layers, things, hidden)
            advance(len(numbered))
    sizes = [piece.shape[1] for piece in found]
    pairs = list(zip(labelled.examples, sizes, strict=True))
    return States(
        torch.cat(found, 1).float(),
        tuple(label for one, size in pairs for label in labelled.labels_of(one)[:size]),
        tuple(name for one, size in pairs for name in labelled.names_of(one)[:size]),
        np.repeat(np.arange(len(sizes)), sizes),
        np.repeat(parts == 0, sizes),
    )


def of_things(
    x: Float[Tensor, "tokens hidden"], batch: Batch[Item], labelled: Labelled
) -> Float[Tensor, "things hidden"]:
    """Select the first token of each word, or average over the tokens of each text."""
    if isinstance(labelled.task, Tagging):
        return x[word_places(cast(Batch[TaggedItem], batch))[0]]
    return batch.mean(pool(x, batch.sequences, "mean"))


def counts_of(batch: Batch[Item]) -> list[int]:
    """Return the number of words of each sentence, and 1 of each text."""
    return [len(getattr(item, "places", (0,))) for item in batch.items]
