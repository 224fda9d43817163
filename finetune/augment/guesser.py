"""Guess words by a masked language model.

    p = softmax(logits at [MASK]),  of the `TOP` most probable words other than the masked one

A guess is a word that is one token of the vocabulary, drawn from these by their probabilities.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from plainformer.encoder import MaskedLM, check_finite
from plainformer.finetune.augment.whole_words import WholeWords
from plainformer.finetune.data.words import Word, join_text
from plainformer.tokenizer import Tokenizer, load_tokenizer

TOP = 10
"""The number of words that a guess is drawn from."""
TRIED = 100
"""The number of tokens, most probable first, among which whole words are looked for."""


@dataclass(frozen=True)
class Guesser:
    """A masked language model that guesses words."""

    model: MaskedLM
    tokenizer: Tokenizer
    words: WholeWords

    @classmethod
    def load(cls, folder: str | Path, device: torch.device | None = None) -> "Guesser":
        """Load a model; raise `UserError` for a folder without a masked language model."""
        tokenizer, model = load_tokenizer(folder), MaskedLM.from_pretrained(folder)
        tokenizer.check_vocabulary(model.config.vocab_size)
        return cls(model.to(device).eval(), tokenizer, WholeWords.of(tokenizer))

    @torch.no_grad()
    def guesses(self, words: list[Word], masked: list[int]) -> dict[int, Float[Tensor, " vocab"]]:
        """Predict the words of a text at these indices, masked together: index -> logits.

        What is beyond the longest sequence of the model is left out.
        """
        mask = self.tokenizer.token(self.tokenizer.mask_id)
        shown = [replace(w, text=mask) if n in masked else w for n, w in enumerate(words)]
        text, spans = join_text(shown)
        encoding = self.tokenizer.encode(text, max_length=self.model.config.max_position_embeddings)
        tokens = enumerate(zip(encoding.ids, encoding.offsets, strict=True))
        ends = {end: place for place, (id, (_, end)) in tokens if id == self.tokenizer.mask_id}
        kept = [n for n in masked if spans[n][1] in ends]
        if not kept:
            return {}
        ids = torch.tensor([encoding.ids, encoding.type_ids], device=self.model.bias.device)
        at = torch.zeros_like(ids[:1], dtype=torch.bool)
        at[0, [ends[spans[n][1]] for n in kept]] = True
        logits = self.model(ids[:1], token_type_ids=ids[1:], target_positions=at)
        check_finite(logits)
        return dict(zip(kept, logits.float().cpu(), strict=True))

    def draw(
        self, logits: Float[Tensor, " vocab"], word: str, generator: torch.Generator | None
    ) -> str:
        """Draw a word other than `word`; return `word` itself where the model has none."""
        p, ids = logits[: self.tokenizer.vocab_size].softmax(-1).sort(descending=True, stable=True)
        found = [
            (other, probability)
            for id, probability in zip(ids[:TRIED].tolist(), p[:TRIED].tolist(), strict=True)
            if (other := self.words.word(id)) and other.lower() != word.lower()
        ][:TOP]
        if not found:
            return word
        weights = torch.tensor([probability for _, probability in found], dtype=torch.float64)
        return found[int(torch.multinomial(weights, 1, generator=generator))][0]
