"""Neighbours and influence of training examples: every task, by hand, and with a planted cause."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.func import functional_call

from plainformer.__main__ import main
from plainformer.base import UserError, write_text
from plainformer.encoder import MaskedLM, SequenceClassifier, use_backend
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.encoder.weights import FAMILIES
from plainformer.explain.inside import Shown, influences, neighbours, open_model, training_of
from plainformer.explain.inside.influence import (
    checkpoints_of,
    decisions,
    influences_on,
    load_checkpoint,
)
from plainformer.explain.inside.last_layer import linear_of, run_last_layer
from plainformer.explain.inside.neighbours import pooled_vectors, queries
from plainformer.explain.inside.training import label_text
from plainformer.finetune import FinetuneConfig, finetune
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.data.rows import as_rows
from plainformer.finetune.prediction.predictor import Predictor, encode_all
from plainformer.finetune.tasks.classification import Classification, ClassificationOptions
from plainformer.training import LoopConfig
from tests.encoder.families import CONFIGS
from tests.encoder.tools import randomise
from tests.explain.test_attribution import FIRST, SECOND, SHAPE, TOKENIZER, tasks, variants
from tests.pretrain import tiny

LABELLED: dict[str, list[Any]] = {
    "classification": [{"text": FIRST, "label": "b"}, {"text": f"{SECOND} {FIRST}", "label": "c"}],
    "prompt": [{"text": FIRST, "label": "b"}, {"text": SECOND, "label": "c"}],
    "multi-label": [{"text": FIRST, "labels": ["a", "b"]}, {"text": SECOND, "labels": []}],
    "regression": [{"text": FIRST, "score": 3.5}, {"text": SECOND, "score": -1}],
    "relation": [{"text": FIRST, "head": [0, 3], "tail": [4, 9], "label": "a"}],
    "multiple-choice": [
        {"text": FIRST, "options": [SECOND, "the"], "label": 1},
        {"text": SECOND, "options": ["a", "the", "cat"], "label": 0},
    ],
    "tagging": [{"words": ["a", "hen", "eats"], "tags": ["O", "B-x", "I-x"]}],
    "question-answering": [
        {"question": "who ?", "context": FIRST, "answers": {"text": ["the"], "answer_start": [0]}}
    ],
}
"""Training examples of each task."""


def training(predictor: Predictor, name: str) -> list[Shown]:
    rows = predictor.task.naming(()).of(as_rows(LABELLED[name]))
    return [Shown(one, label_text(one)) for one in map(predictor.task.read, rows)]


class WithWeights(PretrainedModel):
    """A model with other weights: torch.func runs it with them."""

    def __init__(self, model: PretrainedModel, weights: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.inner, self.weights = [model], weights

    def forward(self, *given: Any, **named: Any) -> Any:
        return functional_call(self.inner[0], self.weights, given, named)


@pytest.mark.parametrize("name", LABELLED)
def test_influence_is_the_product_of_gradients(name: str) -> None:
    """Each by autograd from the weights of the last layer on, one example at a time."""
    _, explainer, given = variants(name)
    predictor = explainer.predictor
    weights = ["classifier.weight", "classifier.bias"]
    if name == "prompt":  # a table of its own: the gradient is of the output alone
        torch.manual_seed(0)
        model = randomise(MaskedLM(replace(SHAPE, tie_word_embeddings=False))).eval()
        predictor, weights = replace(predictor, model=model), ["decoder.weight", "bias"]
    task, model = predictor.task, predictor.model
    parameters = {k: model.get_parameter(k).detach().clone().requires_grad_() for k in weights}

    def gradient(number: Callable[[Any, Batch[Any]], torch.Tensor], item: Any) -> torch.Tensor:
        batch = Batch.of([item])

        with use_backend("plain"):
            outputs = task.outputs(WithWeights(model, parameters), batch)
        parts = torch.autograd.grad(number(outputs, batch), list(parameters.values()))
        return torch.cat([part.flatten() for part in parts])

    ((found, *_),) = influences(predictor, [given], training(predictor, name))
    ((_, item),) = encode_all(
        task, TOKENIZER, queries(predictor, task.naming(()).of(as_rows([given])))
    )
    decision = decisions(predictor, item)[0]
    asked = gradient(lambda outputs, batch: decision.value(outputs, batch).squeeze(0), item)
    pairs = encode_all(task, TOKENIZER, [one.example for one in training(predictor, name)])
    expected = [
        -float(gradient(lambda o, batch: task.loss(o, batch).total, item) @ asked)
        for _, item in pairs
    ]
    assert found.decision == decision.name and np.abs(expected).max() > 1e-3
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found.numbers / scale, np.array(expected) / scale, atol=1e-6)


@pytest.mark.parametrize("name", ["classification", "regression", "relation", "multi-label"])
def test_a_vector_is_what_the_last_layer_reads(name: str) -> None:
    """From it the layer computes the outputs of a text, also of one in windows."""
    _, explainer, given = variants(name)
    predictor, task = explainer.predictor, explainer.predictor.task
    examples = queries(predictor, task.naming(()).of(as_rows([given, LABELLED[name][0]])))
    vectors = torch.from_numpy(pooled_vectors(predictor, examples))
    batch = Batch.of([item for _, item in encode_all(task, TOKENIZER, examples)])
    with torch.no_grad():
        expected = task.outputs(predictor.model, batch)
        found = linear_of(predictor.model)(vectors)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", CONFIGS)
def test_every_family_has_a_last_layer(family: str) -> None:
    config = replace(FAMILIES[family].read_config(CONFIGS[family]), vocab_size=TOKENIZER.vocab_size)
    task = Classification(labels=("a", "b"), max_length=30)
    model = randomise(SequenceClassifier(config, task.labels)).eval()
    predictor = Predictor(task, model, TOKENIZER)
    examples = queries(predictor, as_rows([FIRST, SECOND, (FIRST, SECOND)]))
    batch = Batch.of([item for _, item in encode_all(task, TOKENIZER, examples)])
    with torch.no_grad():
        found = linear_of(model)(torch.from_numpy(pooled_vectors(predictor, examples)))
        torch.testing.assert_close(found, task.outputs(model, batch), rtol=0, atol=1e-5)


OTHERS = {
    "relation": {"text": FIRST, "head": [4, 9], "tail": [0, 3]},
    "multiple-choice": {"text": FIRST, "options": ["the", "cat"]},
    "tagging": {"words": ["the"]},
    "question-answering": {"question": "who", "context": SECOND},
}


@pytest.mark.parametrize("name", tasks())
def test_the_nearest_is_the_text_itself(name: str) -> None:
    _, explainer, given = variants(name)
    predictor = explainer.predictor
    other: Any = OTHERS.get(name, SECOND)
    rows = predictor.task.naming(()).of(as_rows([other, given]))
    known = [Shown(example, "") for example in queries(predictor, rows)]
    ((nearest, second),) = neighbours(predictor, [given], known, count=5)
    assert nearest.shown is known[1] and nearest.cosine == pytest.approx(1, abs=1e-5)
    assert second.cosine < nearest.cosine


def test_outputs_are_kept_as_they_are() -> None:
    """Looking at the last layer changes nothing, and leaves no hook."""
    for name in LABELLED:
        predictor = variants(name)[1].predictor
        examples = [one.example for one in training(predictor, name)]
        items = [item for _, item in encode_all(predictor.task, TOKENIZER, examples)]
        batch = Batch.of(items)
        outputs, _ = run_last_layer(predictor.task, predictor.model, batch)
        with torch.no_grad():
            again = predictor.task.outputs(predictor.model, batch)
        expected = predictor.task.loss(again, batch).total
        torch.testing.assert_close(predictor.task.loss(outputs, batch).total, expected)


PLANTED = "the red owl grabs the red mice ."


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on birds and beasts in which one text is six times labelled wrongly."""
    folder = tmp_path_factory.mktemp("influence")
    texts = [text for text in tiny.sentences(160) if text != PLANTED]
    lines = [f"{t}\t{'bird' if t.split()[2] in ('hen', 'owl') else 'beast'}" for t in texts]
    lines[20:20] = [f"{PLANTED}\tbeast"] * 6
    write_text(folder / "train.tsv", "text\tlabel\n" + "\n".join(lines) + "\n")
    torch.manual_seed(0)
    config = FinetuneConfig(
        model=tiny.save_untrained(folder / "base", "modern", TOKENIZER),
        train=str(folder / "train.tsv"),
        out=folder / "run",
        epochs=3.5,
        batch_size=16,
        select=False,
        task=ClassificationOptions(),
        training=LoopConfig(learning_rate=3e-3, eval_every=0, checkpoint_every=10, keep=3),
    )
    finetune(config, quiet=True)
    return config.out


def test_a_planted_cause_is_found(run: Path) -> None:
    """Copies of a text with a wrong label pull most, towards it or away from the decision."""
    predictor = open_model(run)
    known = training_of(run, predictor, None)
    examples = queries(predictor, as_rows([PLANTED]))
    ((found,),) = influences_on(predictor, examples, known, checkpoints_of(run))
    strongest = found.strongest(6, towards=found.decision == "beast")
    assert [shown.text for shown, _ in strongest] == [PLANTED] * 6
    assert {shown.label for shown, _ in strongest} == {"beast"}


def test_over_checkpoints_it_is_the_mean(run: Path) -> None:
    predictor = open_model(run)
    known = training_of(run, predictor, None)[:40]
    examples = queries(predictor, as_rows([PLANTED]))
    folders = checkpoints_of(run)
    ((together,),) = influences_on(predictor, examples, known, folders)
    alone = []
    for folder in folders:
        fresh = open_model(run)
        load_checkpoint(fresh, folder)
        ((one,),) = influences_on(fresh, examples, known)
        assert one.decision == together.decision
        alone.append(one.numbers)
    assert len(alone) == 3 and np.abs(alone[0] - alone[1]).max() > 1e-3
    np.testing.assert_allclose(together.numbers, np.mean(alone, 0), rtol=1e-6)


def test_the_commands(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "influence", str(run), "--text", PLANTED, "--checkpoints"]) == 0
    said = capsys.readouterr().out
    assert "towards" in said and f"beast  {PLANTED}" in said
    assert main(["inspect", "neighbours", str(run), "--text", PLANTED, "--count", "3"]) == 0
    said = capsys.readouterr().out
    assert said.count(f"1.0000  beast  {PLANTED}") == 3
    base = run.parent / "base"
    for line, fault in [
        (["neighbours", str(base), "--text", "a"], "give --train"),
        (["influence", str(base), "--text", "a"], "no last layer that decides"),
        (["influence", str(run), "--text", "a", "--train", "nowhere.tsv"], "nowhere.tsv"),
        (["influence", str(run), "--text", ""], "empty"),
        (["neighbours", str(run), "--count", "0"], "count must be"),
    ]:
        assert main(["inspect", *line]) == 2
        assert fault in capsys.readouterr().err
    train = str(run.parent / "train.tsv")
    assert main(["inspect", "neighbours", str(base), "--text", "a red hen", "--train", train]) == 0
    assert "bird" in capsys.readouterr().out
    write_text(run.parent / "other.csv", f"t,l\n{PLANTED},bird\na,beast\n")
    columns = ["--columns", "text=t", "label=l", "--count", "1"]
    line = ["inspect", "influence", str(run), "--text", PLANTED, *columns]
    assert main([*line, "--train", str(run.parent / "other.csv")]) == 0
    assert f"bird  {PLANTED}" in capsys.readouterr().out


def test_too_few_checkpoints_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has 0 checkpoints"):
        checkpoints_of(tmp_path)
