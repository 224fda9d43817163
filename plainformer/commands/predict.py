"""`plainformer predict RUN --text … | --file F`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from cellar import UserError
from plainformer.options import parse


@dataclass(frozen=True)
class PredictOptions:
    """Label texts with a fine-tuned model: one JSON object a line, in order."""

    run: tyro.conf.Positional[Path]
    """Folder of the fine-tuned model."""

    text: tuple[str, ...] = ()
    """Texts to label."""

    file: Path | None = None
    """A file of texts: a line each, or rows with a column `text` (and maybe `pair`)."""


def run(arguments: Sequence[str]) -> None:
    """Predict, and print a line for each text."""
    options = parse(PredictOptions, "predict", arguments)
    if bool(options.text) == (options.file is not None):
        raise UserError("give either --text or --file")
    from finetune import Classifier

    classifier = Classifier.load(options.run)
    texts = list(options.text) if options.file is None else read(options.file)
    for text, prediction in zip(texts, classifier(texts), strict=True):
        line = {
            "text": text,
            "label": prediction.label,
            "probabilities": {k: round(p, 6) for k, p in prediction.probabilities.items()},
        }
        print(json.dumps(line, ensure_ascii=False))


def read(file: Path) -> list[str | tuple[str, str]]:
    """The texts, or pairs, of a file."""
    from corpora import read_rows, read_texts

    if file.suffix.lower() not in (".jsonl", ".csv", ".tsv", ".parquet"):
        return list(read_texts(file))
    texts: list[str | tuple[str, str]] = []
    for row in read_rows(file):
        text = row.string("text")
        pair = row.string("pair") if row.fields.get("pair") is not None else None
        texts.append(text if pair is None else (text, pair))
    return texts
