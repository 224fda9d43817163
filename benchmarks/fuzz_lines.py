"""Damage command lines: misspell, drop or swap letters, words and values."""

import os
import random
from contextlib import chdir
from pathlib import Path
from typing import Any

from plainformer.__main__ import main
from plainformer.base import UserError
from plainformer.options import parse

COMMAND_LINES = [
    "data list",
    "data fetch nothing",
    "runs runs --by tokens",
    "predict run --text the_cat an_owl --no-int8",
    "predict run --file rows.csv --out answers.jsonl",
    "evaluate run --data rows.csv --out report",
    "embed run --text the_cat --out v.npy --pooling cls --max-length 12",
    "fill-mask run --text the_[MASK] --top 3",
    "compare run --tolerance 1e-5",
    "convert run --out converted",
    "tokenizer train --files rows.csv --vocab-size 60 --kind wordpiece --out tok --no-lowercase",
    "corpus --files rows.csv --tokenizer run --out corpus --valid-share 0.1 --workers 1",
    "corpus check corpus",
    "finetune classification --model run --train rows.csv --valid rows.csv --out new "
    "--epochs 1 --batch-size 8 --max-length 16 --learning-rate 1e-4 --betas 0.9 0.98 --seed 1",
    "pretrain --corpus rows.csv --tokenizer run --out pre --preset bert-tiny --steps 2 "
    "--objective mlm --mask-ratio 0.3 --batch-tokens 256 --device cpu --eval-every 0",
    "pretrain --recipe bert --corpus rows.csv --tokenizer run --out pre --budget 30s",
    "demo --out demo --minutes 1 --seeds 2",
]
ONLY_PARSED = ("finetune", "pretrain", "demo", "compare")
"""Commands that are only parsed, since running them would take long."""
WORDS = (
    "", " ", "-", "--", "---", "-h", "--no-", "--=", "--x=", "-1", "0", "1", "1e309", "nan", "inf",
    "-inf", "99999999999999999999", "9" * 5000, "1.5", "None", "true", "../..", "/dev/null", ".",
    "/", "~", "~nobody", "a\0b", "\udcff", "猫", "[/x]", "[red]", "*", "**", "[", "x" * 5000, "http://[",
    "file:///x", "s3://x", "owner/name", "hf://x/y", "meta", "cuda:99", "{text}", "%s", "--config",
    "--recipe", "--debug",
)  # fmt: skip


def damaged_line(rng: random.Random) -> list[str]:
    """Draw a command line and damage some of its words."""
    words = [word.replace("_", " ") for word in rng.choice(COMMAND_LINES).split()]
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(words))
        operation = rng.randrange(7)
        if operation == 0 and len(words) > 1:
            del words[at]
        elif operation == 1:
            words.insert(at, words[at])
        elif operation == 2:
            other = rng.randrange(len(words))
            words[at], words[other] = words[other], words[at]
        elif operation == 3:
            words.insert(at + 1, rng.choice(WORDS))
        elif operation == 4 and words[at].startswith("--"):
            words[at] += "=" + rng.choice(WORDS)
        elif operation == 5 and words[at]:
            place = rng.randrange(len(words[at]))
            words[at] = words[at][:place] + words[at][place + 1 :]
        else:
            words[at] = rng.choice(WORDS)
        words = words or [""]
    return words


def run_line(words: list[str], folder: Path) -> tuple[str, str]:
    """Run a command in an empty folder; return the outcome and the message."""
    import io
    import sys

    said = io.StringIO()
    before, sys.stderr = sys.stderr, said
    try:
        with chdir(folder):
            os.environ["COLUMNS"] = "80"
            if words[0] in ONLY_PARSED and "--help" not in words and "-h" not in words:
                return only_parsed(words)
            code: Any = main(words)
    except SystemExit as leaving:
        code = leaving.code
    finally:
        sys.stderr = before
    text = said.getvalue()
    if code == 70 or "Traceback" in text:
        return "exit 70", text[-300:]
    if code not in (0, 1, 2, None):
        return f"exit {code}", text[-300:]
    lines = text.splitlines()
    if (
        code == 2
        and (len(lines) != 1 or len(lines[0]) > 1000)
        and words[0] not in ("data", "tokenizer")
    ):
        return "many lines", text[:300]
    return ("refused" if code else "read"), text[:200]


def only_parsed(words: list[str]) -> tuple[str, str]:
    """Parse the options of a command without running it."""
    from plainformer.commands.compare import CompareOptions
    from plainformer.demo import DemoOptions
    from plainformer.finetune import FinetuneConfig
    from plainformer.pretrain import RECIPES, PretrainConfig

    kinds = {"finetune": FinetuneConfig, "pretrain": PretrainConfig, "demo": DemoOptions}
    kind: type[Any] = kinds.get(words[0], CompareOptions)
    try:
        parse(kind, words[0], words[1:], RECIPES if words[0] == "pretrain" else {})
    except UserError as error:
        return ("refused" if len(str(error)) < 1000 else "long message"), str(error)
    return "read", ""
