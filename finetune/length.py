"""Choose the limit of a sequence, in tokens, where no option sets it."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from plainformer.base import UserError, read_json
from plainformer.encoder.weights import family_of
from plainformer.encoder.weights.folder import find

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig

DEFAULT, SHORTEST = 128, 3


def with_length(config: "FinetuneConfig") -> "FinetuneConfig":
    """Set the limit of a sequence, unless it is given or the task declares its own."""
    if config.max_length or config.task.declares_length:
        return config
    return replace(config, max_length=default_length(config.model, config.tuning.soft_prompt))


def default_length(folder: Path, prompt: int = 0) -> int:
    """Return the default limit, or the positions that a prompt leaves if they are fewer.

    Raises `UserError` where it leaves none for a text.
    """
    number = positions(folder)
    if prompt and number - prompt < SHORTEST:
        raise UserError(f"soft_prompt {prompt} leaves no room: the model has {number} positions")
    return min(DEFAULT, number - prompt)


def positions(folder: Path) -> int:
    """Read the number of positions of a model from its folder."""
    raw = read_json(find(folder) / "config.json")
    try:
        return family_of(raw).read_config(raw).max_position_embeddings
    except UserError as error:
        raise UserError(f"{folder}: {error}") from None
