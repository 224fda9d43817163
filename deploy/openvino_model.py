"""Run an exported model in OpenVINO, which reads the file of ONNX.

model = OpenVinoModel(folder / "onnx/model.onnx", config)
"""

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, Shaped

from plainformer.deploy.runtime_model import RuntimeModel
from plainformer.encoder.config import EncoderConfig


class OpenVinoModel(RuntimeModel):
    """An exported model in OpenVINO, on a CPU, in fp32: by default it may round to bf16.

    A batch is computed on so many `threads`, by default on all of them.
    """

    def __init__(self, path: Path, config: EncoderConfig, threads: int = 0) -> None:
        super().__init__(config)
        import openvino

        every = torch.get_num_threads()
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": every,
            "NUM_STREAMS": every // (threads or every),
        }
        compiled = openvino.compile_model(str(path), "CPU", settings)
        self._compiled, self._of_thread = compiled, threading.local()
        self.input_names = [value.get_any_name() for value in compiled.inputs]
        self.output_names = [value.get_any_name() for value in compiled.outputs]
        self.is_of_tokens = [value.partial_shape[1].is_dynamic for value in compiled.outputs]

    def run(
        self, inputs: dict[str, Int[np.ndarray, "sequences length"]]
    ) -> Sequence[Shaped[np.ndarray, "sequences ..."]]:
        """Compute the outputs of padded texts."""
        request = getattr(self._of_thread, "request", None)
        if request is None:  # one can compute a single batch at a time
            request = self._of_thread.request = self._compiled.create_infer_request()
        found = request.infer([inputs[name] for name in self.input_names], share_inputs=True)
        return [found[index] for index in range(len(self.output_names))]
