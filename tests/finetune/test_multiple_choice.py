"""Multiple choice: the loss of transformers, options of any number, and it is learned."""

import json
import random
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plainformer.base import UserError
from plainformer.corpora import Row
from plainformer.encoder import ChoiceScorer
from plainformer.finetune import (
    FinetuneConfig,
    MultipleChoiceOptions,
    Predictor,
    evaluate_folder,
    finetune,
)
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.metrics import ChoiceMetric
from plainformer.finetune.tasks.multiple_choice import (
    ChoiceExample,
    MultipleChoice,
    by_item,
)
from plainformer.training import LoopConfig
from tests.encoder.tools import randomise
from tests.pretrain import tiny


def example(text: str, *options: str, right: int | None = 0) -> ChoiceExample:
    return ChoiceExample(text=text, options=options, right=right, source="f:1")


def read(labelled: bool = True, **fields) -> ChoiceExample:
    return MultipleChoice.read(Row(fields, Path("f.jsonl"), 3), labelled)


def test_loss_and_answers_equal_those_of_transformers(tokenizer, models, tmp_path):
    from transformers import BertForMultipleChoice

    model = randomise(ChoiceScorer.from_pretrained(models["bert"], new_head=True))
    model.save_pretrained(tmp_path)
    theirs = BertForMultipleChoice.from_pretrained(tmp_path).eval()
    assert theirs.classifier.weight.shape == (1, 32)

    texts = tiny.sentences(5)
    examples = [
        example(t, "the cat", "eats fish and grass", "the hen .", right=i % 3)
        for i, t in enumerate(texts)
    ]
    task = MultipleChoice(max_length=64)
    with torch.no_grad():
        batch = Batch.of([task.encode(e, tokenizer) for e in examples])
        outputs = task.outputs(model, batch)
        inputs = tokenizer.batch([(e.text, option) for e in examples for option in e.options])
        wanted = theirs(
            **{name: rows.view(5, 3, -1) for name, rows in inputs.items()},
            labels=torch.tensor([e.right for e in examples]),
        )
    loss = task.loss(outputs, batch)
    assert loss.items == 5
    assert loss.total.item() == pytest.approx(5 * wanted.loss.item(), rel=1e-5)
    right = wanted.logits.argmax(-1) == torch.tensor([e.right for e in examples])
    assert int(loss.metrics["accuracy"]) == int(right.sum())
    for said, row in zip(task.predict(outputs, batch), wanted.logits.softmax(-1), strict=True):
        assert said.probabilities == pytest.approx(row.tolist(), abs=1e-5)
        assert said.number == int(row.argmax())
        assert said.option == examples[0].options[said.number]
    assert wanted.logits.std() > 0.1


@settings(max_examples=12)
@given(st.lists(st.integers(2, 5), min_size=1, max_size=5), st.randoms())
def test_each_example_is_as_it_is_alone(tokenizer, models, counts, rng):
    """However many options the others have: scores, loss and gradient."""
    model = ChoiceScorer.from_pretrained(models["modern"], new_head=True)
    task = MultipleChoice(max_length=32)
    pool = tiny.sentences(40)
    items = [
        task.encode(example("the cat", *rng.sample(pool, n), right=rng.randrange(n)), tokenizer)
        for n in counts
    ]

    def run(some):
        model.zero_grad()
        batch = Batch.of(some)
        outputs = task.outputs(model, batch)
        loss = task.loss(outputs, batch)
        loss.total.backward()
        said = [p.probabilities for p in task.predict(outputs, batch)]
        return loss.total.item(), said, model.classifier.weight.grad.clone()

    total, together, grad = run(items)
    alone = [run([item]) for item in items]
    assert [len(p) for p in together] == counts
    assert total == pytest.approx(sum(a[0] for a in alone), rel=1e-4)
    torch.testing.assert_close(grad, sum(a[2] for a in alone), atol=1e-4, rtol=1e-4)
    for p, (_, (q,), _) in zip(together, alone, strict=True):
        assert sum(p) == pytest.approx(1, abs=1e-5) and p == pytest.approx(q, abs=1e-5)


def test_scores_go_back_to_their_options(tokenizer):
    """The longest option lies last in the batch, wherever it stands in its example."""
    task = MultipleChoice(max_length=32)
    items = [
        task.encode(example("the", "a a a a a", "a", "a a a"), tokenizer),
        task.encode(example("the", "a a", "a a a a"), tokenizer),
    ]
    batch = Batch.of(items)
    table = by_item(torch.tensor(batch.sequences.lengths).float()[:, None], batch)
    lengths = [[len(e) for e in item.encodings] for item in items]
    assert table.tolist() == [lengths[0], [*lengths[1], torch.finfo(table.dtype).min]]


@pytest.mark.parametrize(
    ("label", "options", "right"),
    [
        (1, ["a", "b"], 1),
        ("b", ["a", "b"], 1),
        ("1", ["a", "b"], 1),
        ("1", ["1", "0"], 0),
        (1, ["1", "0"], 1),
        (0, ["a", "a"], 0),
    ],
)
def test_a_label_is_a_number_or_a_text(label, options, right):
    assert read(text="x", options=options, label=label).right == right
    assert read(False, text="x", options=options).right is None


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"options": ["a", "b"], "label": 2}, "label 2 is neither an option nor a number from 0"),
        ({"options": ["a", "b"], "label": -1}, "label -1 is neither"),
        ({"options": ["a", "b"], "label": True}, "label True is neither"),
        ({"options": ["a", "b"], "label": 1.0}, "label 1.0 is neither"),
        ({"options": ["a", "b"], "label": "c"}, "label 'c' is neither"),
        ({"options": ["a", "b"], "label": "²"}, "label '²' is neither"),
        ({"options": ["a", "b"], "label": "٠"}, "label '٠' is neither"),
        ({"options": ["a", "b"], "label": "01"}, "label '01' is neither"),
        ({"options": ["a", "b"], "label": "1" * 5000}, "label '111.* is neither"),
        ({"options": ["a", "a"], "label": "a"}, "2 options read 'a': number it"),
        ({"options": ["a"], "label": 0}, "1 options leave nothing to choose"),
        ({"options": "a b", "label": 0}, "'options' is not a list of strings: 'a b'; in a cell"),
        ({"options": ["a", " "], "label": 0}, "option 1 is not a text: ' '"),
        ({"options": ["a", 3], "label": 0}, "option 1 is not a text: 3"),
        ({"options": ["a", "b"]}, "no column 'label'"),
        ({"label": 0}, "no column 'options'"),
        ({"options": ["a", "b"], "label": 0, "text": ""}, "the text is empty"),
    ],
)
def test_a_fault_is_named_by_file_and_line(fields, fault):
    with pytest.raises(UserError, match=rf"f\.jsonl:3: .*{fault}"):
        read(**{"text": "x", **fields})


def test_the_metric_counts_right_ones_and_chance():
    metric = ChoiceMetric()
    assert metric.scores() == {"accuracy": 0.0, "chance": 0.0}
    metric.add(1, 1, (0.3, 0.7), ("a", "b"))
    metric.add(0, 3, (0.2, 0.1, 0.1, 0.6), ("a", "b", "c", "d"), "f:1", "y")
    assert metric.scores() == {"accuracy": 0.5, "chance": 0.375}
    assert metric.to_json()["examples"] == 2
    (mistake,) = metric.mistakes
    assert (mistake.true, mistake.predicted, mistake.score) == ("a", "d", 0.6)
    assert (mistake.source, mistake.text) == ("f:1", "y")


def write(path: Path, count: int, seed: int) -> str:
    """Which food goes with the animal? Two options or more."""
    rng = random.Random(seed)
    with path.open("w") as file:
        for number in range(count):
            animal = rng.randrange(4)
            options = rng.sample(tiny.FOOD[:4], rng.randint(2, 4))
            if tiny.FOOD[animal] not in options:
                options[rng.randrange(len(options))] = tiny.FOOD[animal]
            right = options.index(tiny.FOOD[animal])
            text = f"the {rng.choice(tiny.COLOURS)} {tiny.ANIMALS[animal]}"
            label = right if number % 2 else options[right]
            file.write(json.dumps({"text": text, "options": options, "label": label}) + "\n")
    return str(path)


def test_it_is_learned_and_predicts(models, tmp_path):
    train, valid = write(tmp_path / "train.jsonl", 320, 0), write(tmp_path / "valid.jsonl", 60, 1)
    config = FinetuneConfig(
        model=models["modern"],
        train=train,
        valid=valid,
        out=tmp_path / "run",
        task=MultipleChoiceOptions(),
        epochs=12,
        batch_size=32,
        max_length=32,
        training=LoopConfig(learning_rate=1e-2, eval_every=60, checkpoint_every=0),
    )
    outcome = finetune(config, quiet=True)
    assert outcome.score > 0.9
    evaluated = evaluate_folder(config.out, valid).metric.scores()
    assert evaluated == outcome.metric.scores() and 0.25 < evaluated["chance"] < 0.5
    predictor = Predictor.load(config.out)
    rows = [json.loads(line) for line in Path(valid).read_text().splitlines()]
    unlabelled = [{"text": row["text"], "options": row["options"]} for row in rows]
    said = predictor(unlabelled)
    right = [
        p.option == r["label"] or p.number == r["label"] for p, r in zip(said, rows, strict=True)
    ]
    assert sum(right) / len(right) == outcome.score
    assert json.loads(json.dumps(said[0].to_json())).keys() == {"option", "number", "probabilities"}
    with pytest.raises(UserError, match="input:1: no column 'options'"):
        predictor(["the cat"])
