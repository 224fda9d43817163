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
        packed = {"input_ids": input_ids.numpy(), "token_type_ids": types.numpy()}
        lengths, begin = np.array(sequences.lengths), 0
        found: list[list[Tensor]] = []
        for first, last in like_lengths(sequences.lengths):
            end = begin + int(lengths[first:last].sum())
            part = {name: x[begin:end] for name, x in packed.items()}
            found.append(self._run_group(part, lengths[first:last]))
            begin = end
        outputs = [torch.cat(parts) for parts in zip(*found, strict=True)]
        if self.output_names[-1] == "sentence_embedding":
            return outputs[-1]
        if target_positions is not None:
            outputs = [outputs[0][target_positions]]
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def _run_group(
        self, packed: dict[str, Int[np.ndarray, " tokens"]], lengths: Int[np.ndarray, " sequences"]
    ) -> list[Tensor]:
        """Compute the outputs of some sequences: pad them, run the graph, and unpad.

        All in NumPy: each operation of torch gives up the interpreter's lock, which other threads
        of a server may keep for longer than the operation takes.
        """
        is_token = np.arange(lengths.max()) < lengths[:, None]  # (sequences, length)
        padded = {"attention_mask": is_token.astype(np.int64)}
        for name, values in packed.items():
            padded[name] = np.zeros(is_token.shape, np.int64)
            padded[name][is_token] = values
        found = self.run({name: padded[name] for name in self.input_names})
        return [
            torch.from_numpy(x[is_token] if of_tokens else x)
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
