"""Run an exported model in OpenVINO, which reads the file of ONNX.

model = OpenVinoModel(folder / "onnx/model.onnx", config)
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, Shaped

from plainformer.deploy.runtime_model import RuntimeModel
from plainformer.encoder.config import EncoderConfig


class OpenVinoModel(RuntimeModel):
    """An exported model in OpenVINO, on a CPU, in fp32: by default it may round to bf16."""

    def __init__(self, path: Path, config: EncoderConfig, threads: int = 0) -> None:
        super().__init__(config)
        import openvino

        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads or torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
        }
        compiled = openvino.compile_model(str(path), "CPU", settings)
        self.request = compiled.create_infer_request()
        self.input_names = [value.get_any_name() for value in compiled.inputs]
        self.output_names = [value.get_any_name() for value in compiled.outputs]
        self.is_of_tokens = [value.partial_shape[1].is_dynamic for value in compiled.outputs]

    def run(
        self, inputs: dict[str, Int[np.ndarray, "sequences length"]]
    ) -> Sequence[Shaped[np.ndarray, "sequences ..."]]:
        """Compute the outputs of padded texts."""
        found = self.request.infer([inputs[name] for name in self.input_names], share_inputs=True)
        return [found[index] for index in range(len(self.output_names))]
