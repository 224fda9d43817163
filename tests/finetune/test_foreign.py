"""A folder that was fine-tuned elsewhere is used as if it had been here."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from plainformer.base import UserError
from plainformer.encoder.weights import FAMILIES
from plainformer.finetune import (
    FinetuneConfig,
    MultipleChoiceOptions,
    Predictor,
    evaluate_folder,
    finetune,
)
from tests.encoder.families import CONFIGS, FAMILY, their_class
from tests.encoder.tools import randomise

transformers = pytest.importorskip("transformers")

TEXTS = ["the red cat eats the red fish .", "the blue owl grabs the blue mice ."]


@pytest.fixture
def foreign(tokenizer, tmp_path):
    """A BERT of transformers with some head, saved with the toy language's tokenizer."""

    def make(head: str, **config: Any) -> tuple[Path, Any]:
        torch.manual_seed(0)
        shape = transformers.BertConfig(
            vocab_size=tokenizer.vocab_size,
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
            initializer_range=0.5,
            pad_token_id=tokenizer.pad_id,
            **config,
        )
        theirs = getattr(transformers, f"BertFor{head}")(shape).eval()
        theirs.save_pretrained(tmp_path)
        tokenizer.save(tmp_path)
        return tmp_path, theirs

    return make


def logits(theirs: Any, tokenizer: Any, text: str) -> torch.Tensor:
    with torch.no_grad():
        return theirs(torch.tensor([tokenizer.encode(text).ids])).logits[0]


def test_a_classifier(foreign, tokenizer) -> None:
    folder, theirs = foreign("SequenceClassification", id2label={0: "b", 1: "a", 2: "c"})
    predictor = Predictor.load(folder)
    assert predictor.task.labels == ("b", "a", "c")
    assert predictor.task.max_length == 64
    for text, said in zip(TEXTS, predictor(TEXTS), strict=True):
        expected = logits(theirs, tokenizer, text).softmax(-1)
        assert said.label == "bac"[int(expected.argmax())]
        for label, p in zip("bac", expected.tolist(), strict=True):
            assert said.probabilities[label] == pytest.approx(p, abs=1e-5)


def test_a_model_of_several_labels(foreign, tokenizer) -> None:
    folder, theirs = foreign(
        "SequenceClassification",
        problem_type="multi_label_classification",
        id2label={0: "b", 1: "a"},
    )
    for text, said in zip(TEXTS, Predictor.load(folder)(TEXTS), strict=True):
        expected = logits(theirs, tokenizer, text).sigmoid().tolist()
        assert [said.probabilities[label] for label in "ba"] == pytest.approx(expected, abs=1e-5)
        assert set(said.labels) == {n for n, p in zip("ba", expected, strict=True) if p >= 0.5}


@pytest.mark.parametrize("said", [None, "regression"])
def test_a_model_of_one_number(foreign, tokenizer, said) -> None:
    folder, theirs = foreign("SequenceClassification", num_labels=1, problem_type=said)
    for text, answer in zip(TEXTS, Predictor.load(folder)(TEXTS), strict=True):
        assert answer.score == pytest.approx(logits(theirs, tokenizer, text).item(), abs=1e-5)


def test_a_model_for_no_task(foreign, tmp_path: Path) -> None:
    folder, _ = foreign("MaskedLM")
    for path in (folder, tmp_path / "empty"):
        path.mkdir(exist_ok=True)
        with pytest.raises(UserError, match=r"holds no task\.json: it was not fine-tuned"):
            Predictor.load(path)


@FAMILY
def test_a_model_that_chooses(family, tokenizer, tmp_path: Path) -> None:
    """Answers, accuracy, and, where a run learns nothing, every tensor of the folder."""
    cls = their_class(family, "ChoiceScorer")
    ids = {"vocab_size": tokenizer.vocab_size, "pad_token_id": tokenizer.pad_id}
    ids |= {"pad_token_id": 1} if family == "mpnet" else {}
    segments = FAMILIES[family].read_config(CONFIGS[family]).type_vocab_size
    theirs = randomise(cls(cls.config_class(**{**CONFIGS[family], **ids})))
    folder = tmp_path / "foreign"
    theirs.save_pretrained(folder)
    tokenizer.save(folder)
    options = ["the hen .", "eats fish", "the blue owl grabs the mice ."]
    rows = [{"text": text, "options": options[n:]} for n, text in enumerate(TEXTS)]
    file = tmp_path / "rows.jsonl"
    right = []
    for row, said in zip(rows, Predictor.load(folder)(rows), strict=True):
        batch = tokenizer.batch([(row["text"], option) for option in row["options"]])
        batch["token_type_ids"] *= segments > 1
        if not segments:
            del batch["token_type_ids"]
        with torch.no_grad():
            expected = theirs(**{name: x[None] for name, x in batch.items()}).logits[0]
        assert said.probabilities == pytest.approx(expected.softmax(-1).tolist(), abs=1e-5)
        right.append(row | {"label": int(expected.argmax())})
    file.write_text("".join(json.dumps(row) + "\n" for row in right))
    assert evaluate_folder(folder, str(file), quiet=True).metric.scores()["accuracy"] == 1
    finetune(
        FinetuneConfig(
            model=folder,
            train=str(file),
            valid=str(file),
            out=tmp_path / "run",
            task=MultipleChoiceOptions(),
            epochs=0,
            max_length=32,
        ),
        quiet=True,
    )
    before, after = (load_file(f / "model.safetensors") for f in (folder, tmp_path / "run"))
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
