"""Fine-tuning begins with what a folder declares, and leaves it declared."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from plainformer.base import UserError
from plainformer.encoder import SentenceEncoder
from plainformer.encoder.weights.sentence import read_layout
from plainformer.encoder.weights.sentence_layout import Dense, Normalize
from plainformer.finetune import (
    Embedder,
    FinetuneConfig,
    Predictor,
    SentenceEmbeddingOptions,
    evaluate_folder,
    finetune,
)
from plainformer.finetune.task_file import load_task
from plainformer.training import LoopConfig
from tests.finetune.conftest import config_of
from tests.finetune.sentence_folders.cases import CASES
from tests.finetune.sentence_folders.files import (
    BARE,
    MEAN,
    SIZE,
    TEXTS,
    Files,
    dense,
    mode,
    pooled,
    prompts,
    reader,
)
from tests.finetune.sentence_folders.reference import close, theirs
from tests.pretrain import tiny


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def pairs(count: int, seed: int) -> list[dict[str, Any]]:
    texts = tiny.sentences(2 * count, seed)
    return [
        {"text": a, "pair": b, "score": n % 4}
        for n, (a, b) in enumerate(zip(texts[:count], texts[count:], strict=True))
    ]


LEARNED: dict[str, tuple[Files, dict[str, Any], dict[str, Any]]] = {
    "nothing declared": ({}, {"max_length": 20}, {"pooling": ("mean",), "max_length": 20}),
    "cls, cut at 8": (
        pooled("Normalize", **mode("cls")) | reader(max_seq_length=8),
        {},
        {"pooling": ("cls",), "max_length": 8},
    ),
    "cls and 8, but the mean and 12 are asked for": (
        pooled("Normalize", **mode("cls")) | reader(max_seq_length=8),
        {"pooling": "mean", "max_length": 12},
        {"pooling": ("mean",), "max_length": 12},
    ),
    "as long as the tokenizer says, and no length of 1": (
        BARE,
        {},
        {"layers": (), "max_length": 25},
    ),
    "a dense that is learned, too": (
        pooled("Dense", "Normalize", **mode("max", "mean")) | dense(2 * SIZE, 8),
        {},
        {"pooling": ("max", "mean"), "layers": (Dense(2 * SIZE, 8), Normalize())},
    ),
    "a default prompt, in lower case": (
        MEAN | reader(do_lower_case=True) | prompts("passage", truncate_dim=12),
        {},
        {"default_prompt": "passage", "lower_case": True, "truncate_dim": 12},
    ),
}


SLOW = ("nothing declared", "as long as the tokenizer says, and no length of 1")


@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=[pytest.mark.slow] if c in SLOW else []) for c in LEARNED]
)
def test_a_run_begins_with_what_is_declared_and_leaves_it(
    case: str, make: Callable[..., Path], tmp_path: Path
) -> None:
    """What the run's folder declares; and the same vectors here, there and in `predict`."""
    files, options, expected = LEARNED[case]
    folder, out = make(files), tmp_path / "run"
    finetune(
        config_of(
            SentenceEmbeddingOptions,
            model=folder,
            train=write(tmp_path / "train.jsonl", pairs(8, 0)),
            valid=write(tmp_path / "valid.jsonl", pairs(4, 1)),
            out=out,
            epochs=1,
            batch_size=4,
            dropout=0.0,
            select=False,
            training=LoopConfig(learning_rate=1e-2, eval_every=0, checkpoint_every=0),
            **options,
        ),
        quiet=True,
    )
    layout = read_layout(out)
    assert layout is not None
    assert {name: getattr(layout, name) for name in expected} == expected
    wanted = theirs(out)
    close(Embedder.load(out)(TEXTS), wanted)
    predictor = Predictor.load(out)
    close(np.concatenate([said.vectors for said in predictor(TEXTS)]), wanted)
    before, after = (SentenceEncoder.from_pretrained(f).state_dict() for f in (folder, out))
    learned = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert {name for name in after if name.startswith("layers.")} <= learned
    assert "encoder.embeddings.tokens.weight" in learned


def test_what_cannot_be_learned_is_refused(make: Callable[..., Path], tmp_path: Path) -> None:
    file = write(tmp_path / "train.jsonl", pairs(8, 0))
    for name, files, fault in (
        ("dot", CASES["another similarity"], "similarity_fn_name 'dot' is not supported where"),
        ("prompt", CASES["a prompt that is not pooled: mean"], "include_prompt false is not"),
        ("long", BARE, "max_length 41 is more than the 40 positions of the model in"),
    ):
        with pytest.raises(UserError, match=fault):
            finetune(
                FinetuneConfig(
                    model=make(files, name),
                    train=file,
                    valid=file,
                    out=tmp_path / "run",
                    task=SentenceEmbeddingOptions(),
                    max_length=41 if name == "long" else 0,
                ),
                quiet=True,
            )
        assert not (tmp_path / "run" / "model.safetensors").exists()


def test_a_folder_from_elsewhere_predicts_and_is_evaluated(
    make: Callable[..., Path], tmp_path: Path
) -> None:
    """Without a task.json it is a model of sentence vectors; a classifier stays one."""
    folder = make(CASES["cut at 8"] | prompts("passage"))
    said = Predictor.load(folder)(TEXTS)
    close(np.concatenate([one.vectors for one in said]), theirs(folder))
    rows = [{"text": text, "pair": text.title()} for text in TEXTS]
    scores = evaluate_folder(folder, write(tmp_path / "rows.jsonl", rows), quiet=True).metric
    assert scores.scores()["recall@5"] == 1
    file = write(tmp_path / "scored.jsonl", [row | {"score": n} for n, row in enumerate(rows)])
    with pytest.raises(UserError, match=r"scored\.jsonl:1: a score, but .* no scale .*epochs 0"):
        evaluate_folder(folder, file, quiet=True)
    out = tmp_path / "run"
    task = {"task": SentenceEmbeddingOptions(), "epochs": 0}
    finetune(FinetuneConfig(folder, file, out, valid=file, **task), quiet=True)
    close(np.concatenate([one.vectors for one in Predictor.load(out)(TEXTS)]), theirs(folder))
    assert "spearman" in evaluate_folder(out, file, quiet=True).metric.scores()
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["BertForSequenceClassification"]
    (folder / "config.json").write_text(json.dumps(config))
    assert type(load_task(folder)).__name__ == "Classification"
