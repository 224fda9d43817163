"""Give every call that takes texts what is none, and print what each says, as JSON.

A program of its own, so that nothing of the tests checks a type before the code does.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow

from plainformer.base import UserError
from plainformer.encoder import Encoder, MaskedLM, SentenceEncoder, SequenceClassifier
from plainformer.finetune import Embedder, Predictor
from plainformer.finetune.tasks.classification import Classification
from plainformer.pretrain import fill_mask
from plainformer.tokenizer.inputs import LONGEST_TEXT
from tests.pretrain import tiny

TEXTS: dict[str, tuple[Any, str]] = {
    "none": (None, "not None"),
    "NaN": (float("nan"), "not nan"),
    "numpy's NaN": (np.float64("nan"), "not nan"),
    "a number": (7, "not int 7"),
    "a truth": (True, "not bool True"),
    "bytes": (b"text", "not bytes b'text'"),
    "an array": (np.array(["a", "b"]), "not ndarray"),
    "a set": ({"a"}, "not set {'a'}"),
    "too long": ("x" * (LONGEST_TEXT + 1), "has 4,194,305 characters, more than 4,194,304: split"),
}
"""what is no text, and what is said of it"""
PAIRS: dict[str, tuple[Any, str]] = {
    "three texts": (("a", "b", "c"), "not 3 items"),
    "one text": (("a",), "not 1 items"),
    "no text": ((), "not 0 items"),
    "none first": ((None, "b"), "first of its pair, must be a string, not None"),
    "none second": (("a", None), "second of its pair, must be a string, not None"),
    "NaN second": (["a", float("nan")], "second of its pair, must be a string, not nan"),
    "a pair of pairs": ((("a", "b"), "c"), "first of its pair, must be a string, not tuple"),
}
LISTS: dict[str, tuple[Any, str]] = {
    "a string": ("good movie", "must be a list: write [text]"),
    "bytes of a string": (b"good movie", "must be a list: write [text]"),
    "a row": ({"text": "good movie"}, "must be a list: write [row]"),
    "a table": (pyarrow.table({"text": ["a"]}), "must be a list, not a table"),
    "no list": (None, "must be a list, not None"),
    "one number": (3, "must be a list, not int 3"),
}

tokenizer = tiny.make_tokenizer()
shape = tiny.shape("bert", tokenizer)
task = Classification(labels=("a", "b"), max_length=16)
predictor = Predictor(task, SequenceClassifier(shape, ("a", "b")), tokenizer)
embedder = Embedder(SentenceEncoder(Encoder(shape)), tokenizer, max_length=16)
of_one: dict[str, Callable[[Any], Any]] = {
    "encode": tokenizer.encode,
    "encode, the pair": lambda given: given is None or tokenizer.encode("a", given),
    "windows": tokenizer.windows,
    "fill_mask": lambda given: fill_mask(MaskedLM(shape), tokenizer, given),
}
of_many: dict[str, Callable[[Any], Any]] = {
    "batch": tokenizer.batch,
    "Predictor": predictor,
    "Embedder": embedder,
}


def said(call: Callable[[Any], Any], given: Any) -> str:
    """What a call says of what it is given; anything but a `UserError` is raised."""
    try:
        call(given)
    except UserError as error:
        return str(error)
    return "nothing"


if __name__ == "__main__":
    found = {
        name: {case: said(call, given) for case, (given, _) in TEXTS.items()}
        for name, call in of_one.items()
    }
    for name, call in of_many.items():
        found[name] = {
            **{case: said(call, ["fine", given]) for case, (given, _) in (TEXTS | PAIRS).items()},
            **{case: said(call, given) for case, (given, _) in LISTS.items()},
        }
    found["word_tokens"] = {"a string": said(tokenizer.word_tokens, "good movie")}
    print(json.dumps(found))
