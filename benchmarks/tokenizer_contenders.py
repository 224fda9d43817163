"""The contenders of `speed.py` that tokenize: ours, and `tokenizers` (Rust) on one thread."""

import json
import os
from collections.abc import Callable, Sequence
from functools import partial

from workloads import Case

Tokens = list[tuple[list[int], list[tuple[int, int]]]]
"""The ids and offsets of each text."""
Tokenise = Callable[[Sequence[str]], Tokens]


def our_tokens(case: Case) -> Tokenise:
    """Run `encode` of our tokenizer with a warm cache; see also `wordpiece_speed.py`."""
    encode = case.tokenizer.encode
    return lambda texts: [(row.ids, row.offsets) for row in map(encode, texts)]


def their_tokens(case: Case, is_batch: bool = False) -> Tokenise:
    """Run `encode` of tokenizers, or `encode_batch` on one thread."""
    from tokenizers import Tokenizer

    definition = {**case.tokenizer.definition(), "truncation": None, "padding": None}
    tokenizer = Tokenizer.from_str(json.dumps(definition))

    def tokenise(texts: Sequence[str]) -> Tokens:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        rows = tokenizer.encode_batch(list(texts)) if is_batch else map(tokenizer.encode, texts)
        found = [(row.ids, row.offsets) for row in rows]
        del os.environ["TOKENIZERS_PARALLELISM"]
        return found

    return tokenise


TOKENISE: dict[str, Callable[[Case], Tokenise]] = {
    "plainformer": our_tokens,
    "tokenizers encode": their_tokens,
    "tokenizers encode_batch": partial(their_tokens, is_batch=True),
}
