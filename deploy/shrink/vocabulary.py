"""Keep the tokens that occur in some texts: tokenizer, embeddings and decoder are cut together.

The table of embeddings is a large part of a small model, and a text in one language or of one field
needs a part of it (Abdaoui et al. 2020, arXiv:2010.05609). Special tokens and single characters are
kept, too, so that any other text can still be read. Outputs of the given texts do not change.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from plainformer.base import UserError
from plainformer.deploy.opened import Opened
from plainformer.deploy.shrink.prune import set_config
from plainformer.encoder.heads.masked_lm import VocabularyModel
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.unlabelled import read_unlabelled
from plainformer.finetune.prediction.predictor import encode_all
from plainformer.finetune.task import AnyTask
from plainformer.tokenizer import Tokenizer, always_kept, trim


def trim_vocabulary(
    opened: Opened, task: AnyTask, sources: Sequence[str], columns: Sequence[str] = ()
) -> Opened:
    """Return the model with the tokens of the texts of `sources` alone; it is cut in place.

    Raises `UserError` for a tokenizer that cannot be cut, or that would split the texts otherwise.
    """
    if hasattr(task, "mask_id"):
        raise UserError("a prompt is written in tokens of the whole vocabulary: it is not trimmed")
    naming = task.naming(columns, task.columns)
    examples = [e for source in sources for e in read_unlabelled(type(task), source, naming)]
    before = token_ids(task, opened.tokenizer, examples)
    kept = sorted(always_kept(opened.tokenizer).union(*before))
    tokenizer = trim(opened.tokenizer, kept)
    after = token_ids(task, tokenizer, examples)
    for example, old, new in zip(examples, before, after, strict=True):
        if old != [kept[id] for id in new]:
            raise UserError(
                f"{example.source}: without the other tokens this text is split otherwise: the "
                "vocabulary cannot be trimmed to it"
            )
    keep_tokens(opened.model, kept)
    return replace(opened, tokenizer=tokenizer)


def token_ids(task: AnyTask, tokenizer: Tokenizer, examples: Sequence[Any]) -> list[list[int]]:
    """Return the ids of each example, as the task encodes it."""
    return [
        [id for encoding in item.encodings for id in encoding.ids]
        for _, item in encode_all(task, tokenizer, examples)
    ]


@torch.no_grad()
def keep_tokens(model: PretrainedModel, kept: Sequence[int]) -> None:
    """Keep the embeddings of these ids, and their rows and biases of the decoder; in place."""

    def rows(table: Tensor) -> nn.Parameter:
        return nn.Parameter(table[list(kept)])

    tokens, pad = model.base.embeddings.tokens, kept.index(model.config.pad_token_id)
    tokens.weight, tokens.num_embeddings, tokens.padding_idx = rows(tokens.weight), len(kept), pad
    if isinstance(model, VocabularyModel):
        model.bias = rows(model.bias)
        if model.decoder is not None:
            model.decoder.weight = rows(model.decoder.weight)
            model.decoder.out_features = len(kept)
    set_config(model, vocab_size=len(kept), pad_token_id=pad)
