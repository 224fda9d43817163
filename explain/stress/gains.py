"""Compute by how much the loss grows, to the first order, when a word is replaced by another.

    gain(w → v) = Σ (e_v − e_t) · ∂L/∂e_t      over the tokens t at which w stands

e are the vectors of tokens (Ebrahimi et al. 2018, arXiv:1712.06751). A word stands at several
tokens where a long text is read in windows, and where options share a question.
"""

from difflib import SequenceMatcher
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from plainformer.encoder import SentenceEncoder
from plainformer.encoder.embedding_rows import embedding_rows
from plainformer.encoder.int8 import is_int8
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.explain.attribution.words import WordOf, words_of
from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.data.words import Word
from plainformer.finetune.prediction.predictor import Predictor, encode_all
from plainformer.finetune.task import AnyTask
from plainformer.finetune.tasks.sentence_embedding import SentenceEmbedding


def gains_of(
    predictor: Predictor, example: Any, ids: Int[np.ndarray, " vocabulary"]
) -> tuple[list[WordOf], Float[np.ndarray, "words vocabulary"]]:
    """Compute the gain of each word of one token, for each of some tokens in its place."""
    task, model, tokenizer = predictor.task, predictor.model, predictor.tokenizer
    ((_, item),) = encode_all(task, tokenizer, [example])
    words = [w for w in words_of(task, example, item, tokenizer)[1] if _is_one_token(w, item)]
    batch = Batch.of([item]).to(model.device)
    table = model.base.embeddings.tokens.weight.detach()
    vectors = table[batch.input_ids].requires_grad_()
    with torch.enable_grad(), embedding_rows(model, vectors):
        loss = loss_of(task, task.outputs(model, batch), batch)
        (gradient,) = torch.autograd.grad(loss, vectors)  # (tokens, size)
    starts = np.cumsum([0, *batch.sequences.lengths])[batch.places.cpu().numpy()]
    tokens = [[int(starts[s]) + position for s, position in word.places] for word in words]
    if not tokens:
        return [], np.zeros((0, len(ids)))
    sums = torch.stack([gradient[t].sum(0) for t in tokens])
    products = (gradient * vectors.detach()).sum(-1)
    own = torch.stack([products[t].sum() for t in tokens])
    new = sums @ table[ids].T  # (words, vocabulary)
    return words, (new - own[:, None]).cpu().double().numpy()


def can_flip(model: PretrainedModel) -> bool:
    """Tell whether a model has gradients to follow."""
    is_static = isinstance(model, SentenceEncoder) and model.layout.is_static
    return not is_int8(model) and not is_static


def loss_of(task: AnyTask, outputs: Any, batch: Batch[Any]) -> Float[Tensor, ""]:
    """Compute the loss of labelled items; of texts that are to find their pairs, −cosine."""
    if isinstance(task, SentenceEmbedding) and task.scale is None:
        return -torch.nn.functional.cosine_similarity(outputs[0], outputs[1], dim=-1)
    total: Float[Tensor, ""] = task.loss(outputs, batch)[0]
    return total


def aligned(words: list[Word], found: list[WordOf]) -> dict[int, int]:
    """Match words of the model's input with those of the example: index in `found` -> place.

    They differ where a template or marks stand between them, or the tokenizer splits otherwise.
    """
    texts = [word.text.lower() for word in words]
    strings = [word.string.lower() for word in found]
    blocks = SequenceMatcher(None, strings, texts, autojunk=False).get_matching_blocks()
    return {a + n: b + n for a, b, size in blocks for n in range(size)}


def _is_one_token(word: WordOf, item: Item) -> bool:
    """Tell whether a word is one and the same token in each sequence that holds it."""
    ids = {item.encodings[sequence].ids[place] for sequence, place in word.places}
    return len(ids) == 1 and len({sequence for sequence, _ in word.places}) == len(word.places)
