"""The model and the tokenizer that a run starts from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from plainformer.encoder import EncoderConfig
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.pretrain.config import PretrainConfig
from plainformer.pretrain.neighbours import add_neighbour_heads
from plainformer.pretrain.objectives import PretrainingObjective
from plainformer.pretrain.plan import sizes
from plainformer.tokenizer import Tokenizer, load_tokenizer


@dataclass(frozen=True)
class Start:
    """A new model, or one to continue from; its vocabulary may have grown."""

    model: PretrainedModel
    tokenizer: Tokenizer
    old_tokenizer: Tokenizer
    """The tokenizer of the model before its vocabulary grew."""
    new_words: Sequence[str] = ()


def new_start(config: PretrainConfig, objective: PretrainingObjective[Any]) -> Start:
    """Start from random weights."""
    tokenizer = load_tokenizer(config.tokenizer or "")
    return Start(build_model(config, objective, tokenizer), tokenizer, tokenizer)


def build_model(
    config: PretrainConfig, objective: PretrainingObjective[Any], tokenizer: Tokenizer
) -> PretrainedModel:
    """Build a model of the preset's shape for this vocabulary, with weights drawn from the seed.

    The smallest preset where a budget is still to choose one.
    """
    preset = sizes(config)[0] if config.budget else config.preset
    assert preset is not None
    shape = EncoderConfig.preset(
        preset, vocab_size=tokenizer.vocab_size, pad_token_id=tokenizer.pad_id
    )
    shape.check_max_length(config.max_length, preset)
    torch.manual_seed(config.training.seed)
    model: PretrainedModel = objective.build(config, shape)
    add_neighbour_heads(model.base)
    return model
