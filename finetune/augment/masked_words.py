"""Replacement by the guesses of a masked language model (Kobayashi 2018, arXiv:1805.06201; with
BERT: Wu et al. 2018, arXiv:1812.06705).

    The [MASK] is good    →    p = softmax(logits at [MASK])    →    The story is good

Of n words, max(1, α n) are masked together; each gets one of the `TOP` most probable other words,
drawn by their probabilities: whole words that are one token of the vocabulary. The label is kept,
whether or not the guess goes with it: a model that was fine-tuned before may check it (`check.py`).
Words that have a tag of their own, or are a part of an entity, are not masked.
"""

from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from plainformer.base.words import is_of_letters, unspaced_edges
from plainformer.encoder import MaskedLM, check_finite
from plainformer.finetune.augment.choose import free_places, number_of, replaced, shuffled
from plainformer.finetune.data.example import ExampleT
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
    spelling: Tokenizer
    """The tokenizer as it spells a word behind a space."""
    known: dict[int, str] = field(default_factory=dict)
    """The word that each token is, of those that were looked at."""

    @classmethod
    def load(cls, folder: str | Path, device: torch.device | None = None) -> "Guesser":
        """Load a model; raise `UserError` for a folder without a masked language model."""
        tokenizer, model = load_tokenizer(folder), MaskedLM.from_pretrained(folder)
        tokenizer.check_vocabulary(model.config.vocab_size)
        return cls(model.to(device).eval(), tokenizer, tokenizer.for_words())

    @torch.no_grad()
    def guesses(self, words: list[Word], masked: list[int]) -> dict[int, Float[Tensor, " vocab"]]:
        """Predict the words of a text at these indices, masked together: index -> logits.

        What is beyond the longest sequence of the model is left out.
        """
        mask = self.tokenizer.special_tokens["mask"]
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
            if (other := self.whole_word(id)) and other.lower() != word.lower()
        ][:TOP]
        if not found:
            return word
        weights = torch.tensor([probability for _, probability in found], dtype=torch.float64)
        return found[int(torch.multinomial(weights, 1, generator=generator))][0]

    def whole_word(self, id: int) -> str:
        """Return the word that a token is; an empty string for a part of a word, or a sign."""
        if id not in self.known:
            text = self.tokenizer.decode([id]).strip()
            is_whole = all(unspaced_edges(text)) or self.spelling.whole_word_id(text) == id
            self.known[id] = text if is_of_letters(text) and is_whole else ""
        return self.known[id]


def guess_words(
    example: ExampleT,
    guesser: Guesser,
    share: float = 0.1,
    generator: torch.Generator | None = None,
) -> ExampleT:
    """Replace `share` of the words of an example by guesses from their context, at least one."""
    words = example.to_words()
    places = [
        place
        for place in free_places(words)
        if words[place].is_untagged and is_of_letters(words[place].text)
    ]
    masked = sorted(shuffled(places, generator)[: number_of(words, share)])
    changed: list[Word] = []
    begin = 0
    for _, part in groupby(words, lambda word: word.part):
        text = list(part)
        own = [place - begin for place in masked if begin <= place < begin + len(text)]
        logits = guesser.guesses(text, own)
        for place, word in enumerate(text):
            guess = guesser.draw(logits[place], word.text, generator) if place in logits else ""
            changed += replaced(word, guess) if guess else [word]
        begin += len(text)
    return example.with_words(tuple(changed))
