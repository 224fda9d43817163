"""Run an exported model behind the interface of a model: packed texts in, packed outputs out.

    model = OnnxModel(folder / "onnx/model.onnx", config)
    outputs = model(batch.input_ids, None, batch.token_type_ids, batch.sequences)

So tasks, metrics and the server use it as they use the model itself.
"""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.packing import Sequences
from plainformer.encoder.pretrained import PretrainedModel


class OnnxModel(PretrainedModel):
    """An exported model in ONNX Runtime, on a CPU."""

    def __init__(self, path: Path, config: EncoderConfig, threads: int = 0) -> None:
        super().__init__()
        import onnxruntime

        self.config = config
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self.input_names = [value.name for value in self.session.get_inputs()]
        self.output_names = [value.name for value in self.session.get_outputs()]
        shapes = [value.shape for value in self.session.get_outputs()]
        self.is_of_tokens = [shape[1:2] == ["sequence_length"] for shape in shapes]
        """For each output: true where it has an entry for each token."""

    @property
    def device(self) -> torch.device:
        """Return the CPU."""
        return torch.device("cpu")

    def forward(
        self,
        input_ids: Int[Tensor, " tokens"],
        attention_mask: None,
        token_type_ids: Int[Tensor, " tokens"] | None,
        sequences: Sequences,
        target_positions: Int[Tensor, " targets"] | None = None,
    ) -> Any:
        """Compute the outputs of packed texts: of each token, or one for each text."""
        ids = sequences.pad(input_ids)  # (sequences, length)
        feed = {"input_ids": ids, "attention_mask": sequences.is_token.long()}
        if "token_type_ids" in self.input_names:
            types = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
            feed["token_type_ids"] = sequences.pad(types)
        found = self.session.run(None, {name: x.numpy() for name, x in feed.items()})
        outputs = [
            sequences.unpad(torch.from_numpy(x)) if of_tokens else torch.from_numpy(x)
            for x, of_tokens in zip(found, self.is_of_tokens, strict=True)
        ]
        if self.output_names[-1] == "sentence_embedding":
            return outputs[-1]
        if target_positions is not None:
            outputs = [outputs[0][target_positions]]
        return outputs[0] if len(outputs) == 1 else tuple(outputs)
