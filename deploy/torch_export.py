"""Export a model as a program of `torch.export`: its graph and its weights in one file.

    import torch

    program = torch.export.load("exported/torch/model.pt2").module()
    (logits,) = program(**tokenizer(texts, padding=True, return_tensors="pt"))

Inputs and outputs are those of `onnx_export`; the outputs have no names. The program needs torch
alone, and none of this code.

The file is a zip archive: the graph as JSON, the weights as plain bytes, and one pickle, the
example inputs. Ours holds nothing but tensors, but `torch.export.load` opens any pickle: like a
program, such a file is opened only where one trusts whoever made it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, Shaped

from plainformer.base import UserError, atomic_path
from plainformer.deploy.onnx_export import (
    PaddedModel,
    axes,
    example,
    input_names,
    output_names,
    silence,
)
from plainformer.deploy.runtime_model import RuntimeModel
from plainformer.encoder import use_backend
from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.int8 import is_int8
from plainformer.encoder.pretrained import PretrainedModel

NAMES = ("input_names", "output_names")
"""Further files of the archive: names, a line each."""


def export_torch(model: PretrainedModel, path: Path) -> None:
    """Write a model as one .pt2 file.

    Raises `UserError` for a quantised model, whose operations are not those of torch, and where the
    file cannot be written.
    """
    if is_int8(model):
        raise UserError("an int8 model cannot be exported: export it in fp32")
    names = dict(zip(NAMES, (input_names(model), output_names(model)), strict=True))
    with silence(), torch.no_grad(), use_backend("plain"):
        inputs = dict(zip(input_names(model), example(model), strict=True))
        shapes = dict(zip(input_names(model), axes(model), strict=True))
        program = torch.export.export(PaddedModel(model.eval()), (), inputs, dynamic_shapes=shapes)
        try:
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                lines = {name: "\n".join(listed) for name, listed in names.items()}
                torch.export.save(program, file, extra_files=lines)
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror or error}") from None


class TorchModel(RuntimeModel):
    """An exported program, on a CPU, behind the interface of a model.

    It opens the file with `torch.export.load`: only one that `export_torch` has written.
    """

    def __init__(self, path: Path, config: EncoderConfig) -> None:
        super().__init__(config)
        lines = dict.fromkeys(NAMES, "")
        with silence():
            program = torch.export.load(path, extra_files=lines)
        self.input_names, self.output_names = (lines[name].split("\n") for name in NAMES)
        nodes = {node.name: node for node in program.graph.nodes}
        outputs = [nodes[name].meta["val"] for name in program.graph_signature.user_outputs]
        self.is_of_tokens = [isinstance(output.shape[1], torch.SymInt) for output in outputs]
        self.program = program.module()

    def run(
        self, inputs: dict[str, Int[np.ndarray, "sequences length"]]
    ) -> Sequence[Shaped[np.ndarray, "sequences ..."]]:
        """Compute the outputs of padded texts."""
        with torch.no_grad():
            outputs = self.program(**{name: torch.from_numpy(x) for name, x in inputs.items()})
        return [output.numpy() for output in outputs]
