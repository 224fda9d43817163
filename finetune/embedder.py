"""Embed a sentence as one vector, as the model's folder declares it.

    embedder = Embedder.load("path/to/minilm")
    a, b = embedder(["a man plays", "someone is playing"])
    a @ b

A folder of sentence-transformers declares pooling, length limit and prompts
(`encoder.heads.sentence`). Otherwise the vector is the mean over all tokens, special ones included,
scaled to length 1: the product of two vectors is then their cosine similarity (Reimers & Gurevych
2019, arXiv:1908.10084).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from plainformer.base import Inference, UserError, find_folder
from plainformer.base.inference import Precision
from plainformer.encoder import SentenceEncoder, check_finite
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.encoder.weights import tokenizer_folder
from plainformer.encoder.weights.sentence_layout import Mode, SentenceLayout
from plainformer.finetune.data.batch import Batch, Item, by_length
from plainformer.finetune.placement import Placement
from plainformer.finetune.tuning.adapter import add_tensors
from plainformer.tokenizer import Encoding, Tokenizer, as_list, load_tokenizer, text_and_pair
from plainformer.training import distributed_map


@dataclass(frozen=True)
class Embedder:
    """A sentence encoder with its tokenizer and prompt."""

    model: SentenceEncoder
    tokenizer: Tokenizer
    max_length: int
    prompt: str = ""

    @classmethod
    def load(
        cls,
        folder: str | Path,
        pooling: Mode | None = None,
        normalise: bool | None = None,
        max_length: int | None = None,
        int8: bool = False,
        device: str = "auto",
        prompt: str | None = None,
        precision: Precision = "auto",
    ) -> "Embedder":
        """Load the encoder of a model folder, with or without a head.

        None means what the folder declares: `pooling`, scaling to length 1 (`normalise`), the
        `max_length` to which texts are cut, and the default prompt. `prompt` names another prompt
        of the folder; an empty name is no prompt. The other options are those of
        `base.Inference`: on a GPU the weights are in half precision, on a CPU they are prepacked
        (see `encoder.prepack_weights`), or rounded (see `encoder.quantize_int8`).
        Raises `UserError` when the folder has no model or no tokenizer, they do not belong
        together, or the folder declares what is not supported.
        """
        placement = Placement.of(Inference(device, precision, int8))
        folder = find_folder(folder)
        model = SentenceEncoder.from_pretrained(
            folder, add=add_tensors, pooling=pooling, normalise=normalise
        )
        tokenizer = load_tokenizer(tokenizer_folder(folder / model.layout.encoder))
        tokenizer.check_vocabulary(model.config.vocab_size, f"the model in {folder}")
        prompted = model.base.prompt_length
        if max_length is None:
            positions = model.config.max_position_embeddings - prompted
            max_length = longest(model.layout, tokenizer, positions)
        model.config.check_max_length(max_length, f"the model in {folder}", prompted)
        before = model.layout.prompt if prompt is None else model.layout.named(prompt)
        model.base.pooler = None  # no sentence vector reads it
        return cls(placement.prepare(model), tokenizer, max_length, before)

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str | tuple[str, str]]) -> Float[np.ndarray, "texts size"]:
        """Return one float32 vector for each text (or pair), in order.

        Texts of like length are computed together. Several processes compute a part each, and
        return all vectors. Raises `UserError` for a text that gives no token at all.
        """
        items = self.items(texts)

        def embed(some: list[tuple[int, Item]]) -> tuple[list[int], Float[np.ndarray, "_ size"]]:
            return [number for number, _ in some], self.vectors([item for _, item in some])

        vectors = np.zeros((len(items), self.model.size), np.float32)
        for numbers, found in distributed_map(embed, by_length(items)):
            vectors[numbers] = found
        return vectors

    def items(self, texts: Sequence[str | tuple[str, str]]) -> list[Item]:
        """Encode texts, or pairs; raise `UserError` for one that gives no token at all."""
        pairs = [text_and_pair(text, f"text {n}") for n, text in enumerate(as_list(texts), start=1)]
        encodings = [self.encode(*pair) for pair in pairs]
        skip = self.skipped
        for number, encoding in enumerate(encodings, 1):
            if len(encoding) <= skip:
                what = "tokens beside the prompt's" if skip else "tokens"
                raise UserError(f"text {number} has no {what}: leave it out")
        return [Item((encoding,)) for encoding in encodings]

    @torch.inference_mode()
    def vectors(
        self, items: Sequence[Item], exported: PretrainedModel | None = None
    ) -> Float[np.ndarray, "sequences size"]:
        """Compute the vector of each sequence of the items, in order, as one batch.

        The model of the folder computes them, or an exported one.
        """
        model = exported or self.model
        batch = Batch.of(items).to(model.device)
        pooled = model(
            batch.input_ids, None, batch.token_type_ids, batch.sequences, skip=self.skipped
        ).float()
        check_finite(pooled)
        found: Float[np.ndarray, "sequences size"] = batch.in_order(pooled).cpu().numpy()
        return found

    def encode(self, text: str, pair: str | None = None) -> Encoding:
        """Tokenise a text, with the prompt before it and an optional pair after it."""
        lower = self.model.layout.lower_case
        text = as_declared(self.prompt + text, self.tokenizer, lower)
        pair = None if pair is None else as_declared(pair, self.tokenizer, lower)
        return self.tokenizer.encode(text, pair, max_length=self.max_length)

    @property
    def skipped(self) -> int:
        """Count the leading tokens that are not pooled."""
        if not self.prompt or self.model.layout.include_prompt:
            return 0
        ids = self.encode("").ids
        return len(ids) - (ids[-1] in self.tokenizer.special_ids)


def longest(layout: SentenceLayout, tokenizer: Tokenizer, positions: int) -> int:
    """Return the limit of a text in tokens: the declared one, or the model's if that is smaller."""
    return min(layout.max_length or tokenizer.max_length or positions, positions)


def as_declared(text: str, tokenizer: Tokenizer, lower_case: bool) -> str:
    """Lowercase a text, except its special tokens, where the folder declares it.

    Letter by letter, as `tokenizers` does it: a final Σ becomes σ.
    """
    if not lower_case:
        return text
    special = [re.escape(tokenizer.token(id)) for id in sorted(tokenizer.special_ids)]
    parts = re.split(f"({'|'.join(special)})", text) if special else [text]
    return "".join(
        part if number % 2 else "".join(letter.lower() for letter in part)
        for number, part in enumerate(parts)
    )
