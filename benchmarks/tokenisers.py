"""Who takes part where texts become ids and offsets: ours, and `tokenizers` (Rust) on a thread."""

import json
import os
from collections.abc import Callable, Sequence
from functools import partial

from workloads import Case

Tokens = list[tuple[list[int], list[tuple[int, int]]]]
"""ids and offsets of each text"""
Tokenise = Callable[[Sequence[str]], Tokens]


def our_tokens(case: Case) -> Tokenise:
    """`encode` of our tokenizer, which remembers words; `tokenizing.py` has it cold, too."""
    encode = case.tokenizer.encode
    return lambda texts: [(row.ids, row.offsets) for row in map(encode, texts)]


def their_tokens(case: Case, is_batch: bool = False) -> Tokenise:
    """`encode` of tokenizers, in Rust, or `encode_batch` on one thread."""
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
