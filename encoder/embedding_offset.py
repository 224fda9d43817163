"""Perturb the embeddings of a model, as adversarial training and saliency need it.

    x = embeddings(tokens) + delta,    then the blocks

`delta` has the shape of the output of `Encoder.embed`, `(tokens, hidden)`, or broadcasts to it. If
it requires a gradient, it gets that of the embeddings.
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
