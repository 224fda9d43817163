"""The commands on model folders of others: one segment, their labels, numbers that are none."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from plainformer.encoder import (
    ChoiceScorer,
    Encoder,
    MaskedLM,
    QuestionAnswerer,
    SequenceClassifier,
)
from plainformer.tokenizer import train_tokenizer
from tests.encoder.tools import bert, edit_config, randomise

TEXTS = ["the encoder reads", "from left to right, and back again", "tokens travel packed"]
SHAPE = bert(vocab_size=80, type_vocab_size=1, max_position_embeddings=64)
TASKS: dict[str, tuple[Any, str, list[dict[str, Any]]]] = {
    "classification": (
        SequenceClassifier,
        "classification",
        [{"text": a, "pair": b, "label": b[:3]} for a in TEXTS for b in TEXTS],
    ),
    "question-answering": (
        QuestionAnswerer,
        "question-answering",
        [
            {
                "question": TEXTS[0],
                "context": text,
                "answers": {"text": [text[:3]], "answer_start": [0]},
            }
            for text in TEXTS
        ],
    ),
    "multiple-choice": (
        ChoiceScorer,
        "multiple-choice",
        [{"text": text, "options": TEXTS, "label": number} for number, text in enumerate(TEXTS)],
    ),
}


def saved(model: Any, folder: Path) -> Path:
    tokenizer = train_tokenizer(TEXTS * 20, vocab_size=80)
    tokenizer.save(folder)
    randomise(model).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("task", list(TASKS))
def test_pairs_for_a_model_with_one_segment(
    task: str, call: Callable[..., Any], tmp_path: Path
) -> None:
    """Learned, evaluated and asked; what it says is what `transformers` says without segments."""
    kind, name, rows = TASKS[task]
    folder, out = saved(Encoder(SHAPE), tmp_path / "model"), tmp_path / "run"
    data = tmp_path / "rows.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)))
    done = call("finetune", name, "--model", folder, "--train", data, "--valid", data,
                "--out", out, "--epochs", 1, "--max-length", 40, "--device", "cpu")  # fmt: skip
    assert done.code == 0, done.err
    assert call("evaluate", out, "--data", data).code == 0
    done = call("predict", out, "--file", data)
    assert done.code == 0
    assert len(done.out.splitlines()) == len(rows)
    assert kind.from_pretrained(out).config.type_vocab_size == 1


def test_embed_and_next_sentences_with_one_segment(
    call: Callable[..., Any], tmp_path: Path
) -> None:
    folder = saved(MaskedLM(SHAPE), tmp_path / "model")
    data, out = tmp_path / "pairs.jsonl", tmp_path / "vectors.npy"
    data.write_text("\n".join(json.dumps({"text": a, "pair": b}) for a in TEXTS for b in TEXTS))
    assert call("embed", folder, "--file", data, "--out", out).code == 0
    assert np.isfinite(np.load(out)).all()
    corpus = tmp_path / "corpus.txt"
    words = " ".join(TEXTS).split()
    texts = [random.Random(i).choices(words, k=16) for i in range(300)]
    corpus.write_text("\n".join(map(" ".join, texts)))
    options = ["--objective", "mlm", "nsp", "--max-length", 24, "--steps", 2, "--device", "cpu"]
    done = call(
        "pretrain", "--model", folder, "--corpus", corpus, "--out", tmp_path / "run", *options
    )
    assert done.code == 0, done.err


def classifier(folder: Path) -> Path:
    model = SequenceClassifier(bert(vocab_size=80), ["no", "yes"])
    return saved(model, folder)


def overflow(folder: Path) -> None:
    """Finite weights, of which every answer is infinite or NaN."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    for name, tensor in tensors.items():
        if name.endswith("LayerNorm.weight"):
            tensor.fill_(1e38)
    save_file(tensors, path)


def spoil(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["bert.encoder.layer.0.output.dense.weight"][0, 0] = torch.nan
    save_file(tensors, path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [(spoil, "layer.0.output.dense.weight"), (overflow, "outputs are NaN or infinite")],
)
def test_no_answer_is_nan(
    damage: Callable[[Path], None],
    message: str,
    call: Callable[..., Any],
    refused: Callable[..., str],
    tmp_path: Path,
) -> None:
    folder = classifier(tmp_path / "model")
    damage(folder)
    rows, out = tmp_path / "rows.csv", tmp_path / "out.jsonl"
    rows.write_text("text,label\nthe encoder,no\nreads,yes\n")
    assert message in refused("predict", folder, "--text", "x", "--out", out)
    assert message in refused("evaluate", folder, "--data", rows, "--out", out)
    assert message in refused("embed", folder, "--text", "x", "--out", tmp_path / "v.npy")
    assert {p.name for p in tmp_path.iterdir()} == {"model", "rows.csv"}
    masked = saved(MaskedLM(bert(vocab_size=80)), tmp_path / "masked")
    damage(masked)
    done = call("fill-mask", masked, "--text", "the [MASK] reads")
    assert (done.code, message in done.err) == (2, True)


def test_the_labels_that_a_folder_declares(
    call: Callable[..., Any], refused: Callable[..., str], tmp_path: Path
) -> None:
    folder = classifier(tmp_path)

    def labels() -> set[str]:
        done = call("predict", folder, "--text", *TEXTS)
        assert done.code == 0, done.err
        return {
            label for line in done.out.splitlines() for label in json.loads(line)["probabilities"]
        }

    assert labels() == {"no", "yes"}
    edit_config(folder, id2label={"0": 0, "1": 1})
    assert labels() == {"0", "1"}
    edit_config(folder, id2label=None, num_labels=2)
    assert labels() == {"LABEL_0", "LABEL_1"}
    edit_config(folder, id2label={"0": "no", "1": "no"})
    assert "gives the name 'no' to 2 labels" in refused("predict", folder, "--text", "x")
    edit_config(folder, id2label={"0": "no", "2": "yes"})
    assert "without a gap" in refused("evaluate", folder, "--data", tmp_path / "config.json")
