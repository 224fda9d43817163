"""A sentence as one vector: the mean of its tokens' vectors, scaled to length 1.

    e = m / |m|,    m = (1/n) Σ hᵢ   over the n real tokens, special ones among them

as in Sentence-BERT (Reimers & Gurevych 2019, arXiv:1908.10084); the product of two such vectors is
the cosine of the angle between them, a measure of how alike two sentences are.

    embedder = Embedder.load("path/to/minilm")
    a, b = embedder(["a man plays", "someone is playing"])
    a @ b
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from cellar import UserError
from encoder import Encoder, in_int8, pool, prepacked
from encoder.heads import Pooling
from finetune.batch import Item, by_length
from tokenizer import Tokenizer, listed, load_tokenizer, text_and_pair
from training import choose_device


@dataclass(frozen=True)
class Embedder:
    """An encoder with its tokenizer, and how its vectors become one."""

    model: Encoder
    tokenizer: Tokenizer
    max_length: int
    pooling: Pooling = "mean"
    normalise: bool = True

    @classmethod
    def load(
        cls,
        folder: str | Path,
        pooling: Pooling = "mean",
        normalise: bool = True,
        max_length: int | None = None,
        int8: bool = False,
        device: str = "auto",
    ) -> "Embedder":
        """The encoder of a model folder, with or without a head.

        `pooling`: the mean of all tokens, or the first one. `max_length`: longer texts are cut, by
        default at the longest that model and tokenizer take. On a CPU the weights are prepacked:
        see `encoder.prepacked`; with `int8` they are rounded, and the CPU it is: `encoder.in_int8`.
        Raises `UserError` when the folder has no model or no tokenizer, or they do not belong
        together.
        """
        tokenizer, model = load_tokenizer(folder), Encoder.from_pretrained(folder)
        if tokenizer.vocab_size > model.config.vocab_size:
            raise UserError(
                f"{folder}: the tokenizer has {tokenizer.vocab_size} tokens, the model only "
                f"{model.config.vocab_size}: they do not belong together"
            )
        longest = model.config.max_position_embeddings
        longest = min(tokenizer.max_length or longest, longest)
        if max_length is not None and max_length > longest:
            raise UserError(f"max_length {max_length} is more than the {longest} of this model")
        model.to(choose_device("cpu" if int8 else device))
        model = in_int8(model) if int8 else prepacked(model)
        return cls(
            model, tokenizer, longest if max_length is None else max_length, pooling, normalise
        )

    @torch.no_grad()
    def __call__(self, texts: Sequence[str | tuple[str, str]]) -> Float[np.ndarray, "texts hidden"]:
        """One float32 vector for each text (or pair), in order.

        Texts of like length are computed together. Raises `UserError` for a text that gives no
        token at all.
        """
        pairs = [text_and_pair(text, f"text {n}") for n, text in enumerate(listed(texts), start=1)]
        encodings = [self.tokenizer.encode(*pair, max_length=self.max_length) for pair in pairs]
        for number, encoding in enumerate(encodings, 1):
            if not len(encoding):
                raise UserError(f"text {number} has no tokens: leave it out")
        items = [Item((encoding,)) for encoding in encodings]
        device = next(self.model.parameters()).device
        vectors = np.zeros((len(pairs), self.model.config.hidden_size), np.float32)
        for chosen, batch in by_length(items):
            moved = batch.to(device)
            states = self.model(moved.input_ids, None, moved.token_type_ids, moved.sequences)
            pooled = pool(states.last_hidden_state, moved.sequences, self.pooling).float()
            if self.normalise:
                pooled = torch.nn.functional.normalize(pooled, dim=-1)
            vectors[chosen] = batch.in_order(pooled.cpu()).numpy()
        return vectors
