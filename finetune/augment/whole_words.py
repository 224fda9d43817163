"""Know which tokens of a vocabulary are whole words, for replacing one word by another."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from plainformer.base.words import is_of_letters, unspaced_edges
from plainformer.tokenizer import Tokenizer


@dataclass(frozen=True)
class WholeWords:
    """The whole words of a vocabulary; a token is looked at when it is asked for."""

    tokenizer: Tokenizer
    spelling: Tokenizer
    """The tokenizer as it spells a word behind a space."""
    known: dict[int, str] = field(default_factory=dict)
    """The word that each token is, of those that were looked at."""

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "WholeWords":
        """Make the list of a tokenizer."""
        return cls(tokenizer, tokenizer.for_words())

    def word(self, id: int) -> str:
        """Return the word that a token is; an empty string for a part of a word, or a sign."""
        if id not in self.known:
            text = self.tokenizer.decode([id]).strip()
            is_whole = all(unspaced_edges(text)) or self.spelling.whole_word_id(text) == id
            self.known[id] = text if is_of_letters(text) and is_whole else ""
        return self.known[id]

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """Yield each whole word of the vocabulary with its token."""
        for id in range(self.tokenizer.vocab_size):
            if word := self.word(id):
                yield id, word
