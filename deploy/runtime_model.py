"""Run an exported model behind the interface of a model: packed texts in, packed outputs out.

    model = OnnxModel(folder / "onnx/model.onnx", config)         # or OpenVinoModel
    outputs = model(batch.input_ids, None, batch.token_type_ids, batch.sequences)

So tasks, metrics and the server use it as they use the model itself. The graph reads padded texts,
and packs them by itself, but for attention. Packed sequences are sorted by length: they are run in
groups of like length, with little padding there.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from plainformer.base import UserError
from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.packing import Sequences
from plainformer.encoder.pretrained import PretrainedModel

MOST_PADDING = 1 << 13
"""Pairs of a query and a key in the padding of a group: about what it costs to run one more."""


class RuntimeModel(PretrainedModel):
    """An exported model in a runtime, on a CPU; a subclass loads it and runs it."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.input_names: list[str] = []
        self.output_names: list[str] = []
        self.is_of_tokens: list[bool] = []
        """For each output: true where it has an entry for each token."""

    @property
    def device(self) -> torch.device:
        """Return the CPU."""
        return torch.device("cpu")

    @abstractmethod
    def run(
        self, inputs: dict[str, Int[np.ndarray, "sequences length"]]
    ) -> Sequence[Shaped[np.ndarray, "sequences ..."]]:
        """Compute the outputs of padded texts, in the order of `output_names`."""

    def forward(
        self,
        input_ids: Int[Tensor, " tokens"],
        attention_mask: None,
        token_type_ids: Int[Tensor, " tokens"] | None,
        sequences: Sequences,
        target_positions: Int[Tensor, " targets"] | None = None,
        skip: int = 0,
    ) -> Any:
        """Compute the outputs of packed texts: of each token, or one for each text.

        Raises `UserError` for tokens to skip in pooling: the graph pools every one.
        """
        if skip:
            raise UserError("an exported model pools every token, also those of a prompt")
        types = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        bounds = sequences.cu_seqlens.tolist()
        found: list[list[Tensor]] = []
        for first, last in like_lengths(sequences.lengths):
            tokens = slice(bounds[first], bounds[last])
            part = Sequences.of(sequences.lengths[first:last])
            found.append(self._run_group(input_ids[tokens], types[tokens], part))
        outputs = [torch.cat(parts) for parts in zip(*found, strict=True)]
        if self.output_names[-1] == "sentence_embedding":
            return outputs[-1]
        if target_positions is not None:
            outputs = [outputs[0][target_positions]]
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def _run_group(
        self, ids: Int[Tensor, " tokens"], types: Int[Tensor, " tokens"], sequences: Sequences
    ) -> list[Tensor]:
        """Compute the outputs of some sequences: pad them, run the graph, and unpad."""
        padded = {  # (sequences, length)
            "input_ids": sequences.pad(ids),
            "attention_mask": sequences.is_token.long(),
            "token_type_ids": sequences.pad(types),
        }
        found = self.run({name: padded[name].numpy() for name in self.input_names})
        return [
            sequences.unpad(torch.from_numpy(x)) if of_tokens else torch.from_numpy(x)
            for x, of_tokens in zip(found, self.is_of_tokens, strict=True)
        ]


def like_lengths(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the bounds of groups of adjacent sequences that need little padding together.

    n sequences of at most L tokens have n L² pairs of a query and a key.
    """
    first = padding = 0
    for index in range(1, len(lengths)):
        padding += (index - first) * (lengths[index] ** 2 - lengths[index - 1] ** 2)
        if padding > MOST_PADDING:
            yield first, index
            first, padding = index, 0
    yield first, len(lengths)
