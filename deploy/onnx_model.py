"""Run an exported model in ONNX Runtime.

model = OnnxModel(folder / "onnx/model.onnx", config)
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, Shaped

from plainformer.deploy.runtime_model import RuntimeModel
from plainformer.encoder.config import EncoderConfig


class OnnxModel(RuntimeModel):
    """An exported model in ONNX Runtime, on a CPU.

    A batch is computed on so many `threads`, by default on all of them.
    """

    def __init__(self, path: Path, config: EncoderConfig, threads: int = 0) -> None:
        super().__init__(config)
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        # Threads that wait must not spin: other batches need the processor.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        outputs = self.session.get_outputs()
        self.input_names = [value.name for value in self.session.get_inputs()]
        self.output_names = [value.name for value in outputs]
        self.is_of_tokens = [value.shape[1:2] == ["sequence_length"] for value in outputs]

    def run(
        self, inputs: dict[str, Int[np.ndarray, "sequences length"]]
    ) -> Sequence[Shaped[np.ndarray, "sequences ..."]]:
        """Compute the outputs of padded texts."""
        found: list[np.ndarray] = self.session.run(None, inputs)
        return found
