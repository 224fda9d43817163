"""Prompt tuning (Lester et al. 2021, arXiv:2104.08691): learn vectors before each text.

    x = embed([P; E(text)])        P: (prompt, size), learned    E: the table of tokens, frozen

The vectors stand at the input alone, in the places of tokens: they take the first positions, and
the text follows, as in `peft`. They start as rows of the table, drawn at random. Nothing can be
merged.

The outputs are those of the text: a head reads its first token, or the mean of its tokens. `peft`
hands the outputs of the vectors to the head, too, whose first token is then the first vector, so
that the same vectors give other answers there: the folder has a layout of its own.

    add_soft_prompt(model, length=20)
"""

import torch

from plainformer.base import UserError
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.encoder.soft_prompt import SoftPrompt
from plainformer.finetune.tuning.layers import freeze_base, refuse_added


def add_soft_prompt(model: PretrainedModel, length: int = 20) -> None:
    """Put learned vectors before each text; freeze all else but the head.

    Raises `UserError` for a length that leaves no position for a text, and for a model with added
    parameters.
    """
    positions = model.config.max_position_embeddings
    if not 0 < length < positions:
        raise UserError(f"length must be from 1 to {positions - 1}, not {length}")
    refuse_added(model)
    table = model.base.embeddings.tokens.weight.detach()
    rows = torch.randint(len(table), (length,), device=table.device)
    model.base.soft_prompt = SoftPrompt(table[rows]).train(model.training)
    freeze_base(model)
