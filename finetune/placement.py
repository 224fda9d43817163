"""Place a model for inference: on a device, in a number format, in the layout of its kernels.

On a GPU the weights are in half precision, where it multiplies faster so; a head's logits are
rounded, too, and what is computed from them (probabilities, scores, cosines) is in fp32.
"""

from dataclasses import dataclass
from typing import TypeVar

import torch

from plainformer.base import AUTO, Inference, UserError
from plainformer.encoder import prepack_weights, quantize_int8
from plainformer.encoder.int8 import is_int8
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.training import choose_device, format_name, number_format

Model = TypeVar("Model", bound=PretrainedModel)


@dataclass(frozen=True)
class Placement:
    """The device and the number format of models."""

    options: Inference
    device: torch.device
    form: torch.dtype

    @classmethod
    def of(cls, options: Inference = AUTO) -> "Placement":
        """Choose them; raise `UserError` for a device that is not there, or lacks the format."""
        device = choose_device("cpu" if options.int8 else options.device)
        return cls(options, device, number_format(device, options.precision))

    def move(self, model: Model) -> Model:
        """Move a model in place; return it.

        One that is in int8 stays on the CPU. Raises `UserError` where `options` say otherwise.
        """
        if not is_int8(model):
            return model.to(self.device, self.form)
        if self.options.device not in ("auto", "cpu"):
            raise UserError(f"a model in int8 is for CPUs: leave out --device {self.device}")
        if self.options.precision not in ("auto", "fp32"):
            raise UserError(f"the model is in int8: leave out --precision {format_name(self.form)}")
        return model

    def prepare(self, model: Model) -> Model:
        """Move a model in place, and fix its weights for inference; return it.

        On a CPU they are prepacked (see `encoder.prepack_weights`), or quantised.
        """
        self.move(model)
        return quantize_int8(model) if self.options.int8 else prepack_weights(model)


def precision_of(model: PretrainedModel) -> str:
    """Return fp32, bf16, fp16 or int8."""
    return "int8" if is_int8(model) else format_name(next(model.parameters()).dtype)


def placement_of(model: PretrainedModel) -> str:
    """Return where a model computes and in which numbers, such as "on cuda:0 in bf16"."""
    return f"on {model.device} in {precision_of(model)}"
