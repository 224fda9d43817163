"""The base class of all models: its backend, its encoder, saving and loading."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch
from torch import nn

from plainformer.encoder import weights
from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.ops import Backend, use_backend

if TYPE_CHECKING:
    from plainformer.encoder.model import Encoder

Model = TypeVar("Model", bound="PretrainedModel")


class PretrainedModel(nn.Module):
    """A model with a config and a backend, saved as a Hugging Face folder."""

    class_name: ClassVar[str]
    """The name of the class in the tables of `weights`; a subclass inherits it."""
    saved_settings: ClassVar[tuple[str, ...]] = ()
    """Attributes that `config.json` holds, and that the constructor takes."""
    has_decoder: ClassVar[bool] = False
    """True for a model with a decoder, which may be tied to the embeddings."""
    config: EncoderConfig
    backend: Backend = "fused"
    newly_initialised: tuple[str, ...] = ()
    """Parameters of a new head, which `from_pretrained` did not find in the folder."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run `forward` on this model's backend, unless `use_backend` says otherwise."""
        with use_backend(self.backend, override=False):
            return super().__call__(*args, **kwargs)

    @property
    def base(self) -> "Encoder":
        """Return the encoder in this model; `model.base.blocks` are its blocks."""
        raise NotImplementedError(f"{type(self).__name__} names no encoder")

    @property
    def device(self) -> torch.device:
        """Return the device of the model."""
        return next(self.parameters()).device

    def num_parameters(self) -> int:
        """Count the trainable parameters."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors` with the names that `transformers` expects.

        Parameters that a method added to the model are left out (see `save_added`). Raises
        `UserError` when the folder cannot be written.
        """
        self.save_files(Path(folder))
        weights.save(self.saved, Path(folder))

    @property
    def saved(self) -> "PretrainedModel":
        """Return the model whose config and weights are saved: this one, or one within it."""
        return self

    def save_files(self, folder: Path) -> None:
        """Write what else the model needs beside its config and weights: by default nothing."""

    @classmethod
    def from_pretrained(
        cls: "type[Model]",
        folder: str | Path,
        new_head: bool = False,
        *,
        add: weights.AddTensors | None = None,
        **settings: Any,
    ) -> "Model":
        """Load the model in `folder` (or of this name, see `base.find_folder`), in evaluation mode.

        `settings` are arguments of the constructor: new labels, a dropout. With `new_head` or new
        labels, a head that the folder does not have is initialised: `newly_initialised` names its
        parameters. With `add`, which adds the tensors of an adapter to its base model, the folder
        may be one of an adapter. Raises `UserError` when the folder has no such model, or its
        tensors do not fit.
        """
        return weights.load(cls, folder, new_head, settings, add)
