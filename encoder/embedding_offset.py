"""Perturb the embeddings of a model: adversarial training and saliency need no other access.

    x = embeddings(tokens) + delta,    then the blocks

`delta` has the shape of `Encoder.embed`, `(tokens, hidden)`, or one that broadcasts to it. Where it
requires gradients it receives those of the embeddings' output.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from plainformer.encoder.pretrained import PretrainedModel


@contextmanager
def embedding_offset(model: PretrainedModel, delta: Tensor) -> Iterator[None]:
    """Add `delta` to the output of the model's embeddings, in every call within the context."""

    def add(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        return output + delta

    handle = model.base.embeddings.register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()
