"""Run any `tokenizer.json`, such as the byte-level BPE of RoBERTa, with Hugging Face `tokenizers`.

The template of special tokens is found by encoding a pair of one-letter texts.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from tokenizers import Tokenizer as Backend

from plainformer.base import UserError
from plainformer.tokenizer.base import Tokenizer
from plainformer.tokenizer.encoding import Template, TemplatePart, Tokens, trim
from plainformer.tokenizer.inputs import refuse_surrogates
from plainformer.tokenizer.word_ids import by_word, refine

_DEFAULT_NAMES = {
    "pad": ("[PAD]", "<pad>"),
    "unk": ("[UNK]", "<unk>"),
    "cls": ("[CLS]", "<s>"),
    "sep": ("[SEP]", "</s>"),
    "mask": ("[MASK]", "<mask>"),
}


class HuggingFace(Tokenizer):
    """A tokenizer run by `tokenizers`.

    `definition` is the content of `tokenizer.json`, `config` that of `tokenizer_config.json`. Roles
    missing in `special_tokens` are filled with their default names, if the vocabulary has them.

    Raises:
        UserError: `tokenizers` cannot read the definition.
    """

    def __init__(
        self,
        definition: dict[str, Any],
        *,
        config: dict[str, Any],
        special_tokens: dict[str, str],
        max_length: int | None = None,
    ) -> None:
        # Padding and truncation are arguments of each call; the saved settings are removed.
        self._definition = definition | {"truncation": None, "padding": None}
        with _rust("tokenizers cannot read this tokenizer.json"):
            self._backend = Backend.from_str(json.dumps(self._definition))
            self._backend.encode_special_tokens = bool(config.get("split_special_tokens"))
        self._added = frozenset(self._backend.get_added_tokens_decoder())
        self._config = config
        self.max_length = max_length
        self.special_tokens = {
            role: next(name for name in names if self._backend.token_to_id(name) is not None)
            for role, names in _DEFAULT_NAMES.items()
            if any(self._backend.token_to_id(name) is not None for name in names)
        } | special_tokens
        self.template = Template(self._parts(), self._parts("b"))

    def _parts(self, pair: str | None = None) -> tuple[TemplatePart, ...]:
        with _rust("tokenizers cannot encode by this tokenizer.json"):
            encoding = self._backend.encode("a", pair)
        parts: list[TemplatePart] = []
        for id, type_id, sequence in zip(
            encoding.ids, encoding.type_ids, encoding.sequence_ids, strict=True
        ):
            part: TemplatePart = (id if sequence is None else "b" if sequence else "a", type_id)
            if sequence is None or part not in parts:
                parts.append(part)
        if sum(isinstance(part, str) for part, _ in parts) != (1 if pair is None else 2):
            raise UserError("this tokenizer.json makes no token of a letter")
        return tuple(parts)

    @property
    def vocab_size(self) -> int:
        """Return the number of ids, including added tokens."""
        return self._backend.get_vocab_size()

    @cached_property
    def largest_id(self) -> int:
        """Return the largest id, which exceeds `vocab_size` where the ids have gaps."""
        return max(self._backend.get_vocab().values(), default=-1)

    @property
    def special_ids(self) -> frozenset[int]:
        """Return the ids of all special tokens."""
        added = self._backend.get_added_tokens_decoder()
        named = (self.id(token) for token in self.special_tokens.values())
        return frozenset(id for id, token in added.items() if token.special) | frozenset(named)

    def token(self, id: int) -> str:
        """Return the token of an id."""
        token = self._backend.id_to_token(id)
        if token is None:
            raise IndexError(f"no token has id {id}")
        return token

    def id(self, token: str) -> int:
        """Return the id of a token.

        Raises:
            UserError: the vocabulary has no such token.
        """
        id = self._backend.token_to_id(token)
        if id is None:
            raise UserError(f"the vocabulary has no token {token!r}")
        return id

    def words(self, text: str) -> list[list[int]]:
        """Return the ids of each word, without special tokens."""
        tokens = self.tokens(text)
        return by_word(tokens.ids, tokens.word_ids)

    def spell(self, word: str) -> list[int]:
        """Return the ids of one word that is normalised and pre-tokenized already."""
        return [token.id for token in self._backend.model.tokenize(word)]

    def tokens(self, text: str) -> Tokens:
        """Return the tokens of one text, without the template's special tokens."""
        refuse_surrogates(text)
        with _rust("tokenizers cannot encode this text"):
            encoding = self._backend.encode(text, add_special_tokens=False)
        offsets = [trim(text, start, end) for start, end in encoding.offsets]
        word_ids = [word or 0 for word in encoding.word_ids]
        apart = map(self._added.__contains__, encoding.ids)
        return Tokens(encoding.ids, offsets, refine(text, offsets, word_ids, apart))

    def _decode(self, ids: Sequence[int], skip_special_tokens: bool) -> str:
        return self._backend.decode(ids, skip_special_tokens=skip_special_tokens)

    def for_words(self) -> "HuggingFace":
        """Return the variant for word tagging: RoBERTa's with a space before each word.

        This is the convention for `transformers`, too; it is saved as `add_prefix_space`.
        """
        splits = self._definition.get("pre_tokenizer") or {}
        if self._config.get("tokenizer_class") != "RobertaTokenizer" or splits["add_prefix_space"]:
            return self
        prefixed: dict[str, Any] = {"add_prefix_space": True}
        processor = self._definition["post_processor"] | prefixed
        definition = {"pre_tokenizer": splits | prefixed, "post_processor": processor}
        other = HuggingFace(
            self._definition | definition,
            config=self._config | prefixed,
            special_tokens=self.special_tokens,
        )
        other.copy_settings(self)
        return other

    def definition(self) -> dict[str, Any]:
        """Return the content of `tokenizer.json`."""
        return self._definition

    def config(self) -> dict[str, Any]:
        """Return the loaded settings of `tokenizer_config.json`."""
        return {"tokenizer_class": "PreTrainedTokenizerFast"} | self._config


@contextmanager
def _rust(what: str) -> Iterator[None]:
    """Convert exceptions and panics of `tokenizers` to `UserError`."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, MemoryError, UserError):
        raise
    except BaseException as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{what}: {reason}") from None
