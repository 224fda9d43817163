"""Replace the token vectors of a model, as attribution needs it.

    x = norm(rows + positions + segments),    then the blocks

`rows` has the shape of what the table of tokens gives for the packed batch, `(tokens, size)`. What
looks at the ids themselves, as the positions of RoBERTa do, still sees those of the batch.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from plainformer.encoder.pretrained import PretrainedModel


@contextmanager
def embedding_rows(model: PretrainedModel, rows: Float[Tensor, "tokens size"]) -> Iterator[None]:
    """Give the model `rows` in place of the vectors of its tokens, within the context."""

    def replace(_module: nn.Module, _inputs: Any, _output: Tensor) -> Tensor:
        return rows

    handle = model.base.embeddings.tokens.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()
