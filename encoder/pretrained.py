"""What every model here can do: be counted, switched between backends, saved and loaded."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from torch import nn

from plainformer.encoder import weights
from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.ops import Backend, use_backend

if TYPE_CHECKING:
    from plainformer.encoder.model import Encoder

Model = TypeVar("Model", bound="PretrainedModel")


class PretrainedModel(nn.Module):
    """A module with a config, a backend, and a Hugging Face folder as its form on disk."""

    class_name: ClassVar[str]
    """The name of the class in the tables of `weights`; a subclass inherits it."""
    saved_settings: ClassVar[tuple[str, ...]] = ()
    """Attributes that `config.json` holds, and that the constructor takes."""
    has_decoder: ClassVar[bool] = False
    """Whether there is a decoder, which may be tied to the embeddings."""
    config: EncoderConfig
    backend: Backend = "fused"
    newly_initialised: tuple[str, ...] = ()
    """parameters that `from_pretrained` did not find in the folder, and was told not to expect"""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run `forward` on this model's backend, unless `use_backend` says otherwise."""
        with use_backend(self.backend, override=False):
            return super().__call__(*args, **kwargs)

    @property
    def base(self) -> "Encoder":
        """Return the encoder in this model; `model.base.blocks` are its blocks."""
        raise NotImplementedError(f"{type(self).__name__} names no encoder")

    def num_parameters(self) -> int:
        """How many numbers are trained."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors` with the names that `transformers` expects.

        What a method added to the model is left out: see `save_added`. Raises `UserError` when the
        folder cannot be written.
        """
        weights.save(self, Path(folder))

    @classmethod
    def from_pretrained(
        cls: "type[Model]", folder: str | Path, new_head: bool = False, **settings: Any
    ) -> "Model":
        """The model in `folder` (or of a hub id, with `huggingface_hub`), in evaluation mode.

        `settings` go to the constructor: new labels, a dropout. With `new_head`, or new labels,
        what stands on the encoder may begin anew: `newly_initialised` names it.
        Raises `UserError` when the folder has no such model, or its tensors do not fit exactly.
        """
        return weights.load(cls, folder, new_head, settings)
