"""Collect the vectors that a model computes of the sequences of a batch, in its forward pass.

    with sequence_vectors(model, batch) as found:
        outputs = task.outputs(model, batch)
    vectors = batch.mean(found[0])                  # (items, size)

The vector of a sequence is what the classifier reads, after dropout; the vector that a sentence
encoder gives; or, of a model with another head, the mean of its token vectors.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from plainformer.encoder.heads.headed_model import compute_all_tokens
from plainformer.encoder.heads.sentence import SentenceEncoder
from plainformer.encoder.heads.sequence import TextModel
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import Batch


def vector_size(model: PretrainedModel) -> int:
    """Return the size of the vectors of `sequence_vectors`."""
    return model.size if isinstance(model, SentenceEncoder) else model.config.hidden_size


@contextmanager
def sequence_vectors(model: PretrainedModel, batch: Batch[Any]) -> Iterator[list[Tensor]]:
    """Collect the vector of each sequence of a batch, in packed order, in a list of one tensor."""
    found: list[Tensor] = []
    hooks = []

    def mean_of_tokens(_: Any, __: Any, output: Any) -> None:
        x, sequences = output.last_hidden_state, batch.sequences
        found.append(sequences.sum(x) / sequences.counts[:, None])

    def keep_inputs(_: Any, inputs: Any) -> None:
        found.append(inputs[0])

    if isinstance(model, TextModel):
        hooks.append(model.classifier.register_forward_pre_hook(keep_inputs))
    elif isinstance(model, SentenceEncoder):
        hooks.append(model.register_forward_hook(lambda _, __, output: found.append(output)))
    else:
        hooks.append(compute_all_tokens(model.base))
        hooks.append(model.base.register_forward_hook(mean_of_tokens))
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
