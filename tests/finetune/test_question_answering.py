"""Question answering: transformers' loss, the best span by brute force, and what can be learned."""

import json
import random
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from plainformer.base import UserError, write_json
from plainformer.corpora import Row
from plainformer.encoder import MaskedLM, QuestionAnswerer
from plainformer.finetune import (
    FinetuneConfig,
    Predictor,
    QuestionAnsweringOptions,
    evaluate_folder,
    finetune,
)
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.task_file import load_task, save_task
from plainformer.finetune.tasks.question_answering import (
    Passage,
    QuestionAnswering,
    QuestionExample,
)
from plainformer.tokenizer import train_tokenizer
from plainformer.training import LoopConfig
from tests.finetune.passages import STORY, TASK, about, example
from tests.pretrain import tiny

LONGEST_ANSWER = 30


def by_brute_force(item: Passage, windows: list[tuple[list[float], list[float]]]) -> dict:
    """The best score of each span of characters, one pair of tokens after the other."""
    scores: dict[tuple[int, int], float] = {}
    for encoding, (start, end) in zip(item.encodings, windows, strict=True):
        places = [i for i, part in enumerate(encoding.sequence_ids) if part == 1]
        for i, j in product(places, places):
            if i <= j < i + LONGEST_ANSWER:
                span = encoding.offsets[i][0], encoding.offsets[j][1]
                scores[span] = max(scores.get(span, -np.inf), start[i] + end[j])
    return scores


@pytest.mark.parametrize("architecture", ["bert", "modern"])
@pytest.mark.parametrize("threshold", [None, 0.0])
def test_loss_and_answers_are_those_of_transformers(
    tokenizer, models, architecture, threshold, tmp_path
):
    from transformers import AutoModelForQuestionAnswering

    torch.manual_seed(3)
    model = QuestionAnswerer.from_pretrained(models[architecture], new_head=True)
    for parameter in model.parameters():  # answers that differ, not only by rounding
        parameter.data += 0.3 * torch.randn_like(parameter)
    model.save_pretrained(tmp_path)
    theirs = AutoModelForQuestionAnswering.from_pretrained(tmp_path).eval()
    task = replace(TASK, threshold=threshold)
    examples = [
        about("hauls"),
        about(STORY.split(" . ")[3]),
        example("the fox .", STORY),
        about("dog", "the dog hunts ."),
    ]
    items = [task.encode(e, tokenizer) for e in examples]
    assert [len(item.encodings) > 1 for item in items] == [True, True, True, False]
    batch = Batch.of(items)

    pad = batch.sequences.pad
    types = {"token_type_ids": batch.token_type_ids} if architecture == "bert" else {}
    padded = theirs(
        input_ids=pad(batch.input_ids),
        attention_mask=pad(torch.ones_like(batch.input_ids)),
        **{name: pad(value) for name, value in types.items()},
    )
    # Their loss counts padding among the places of an answer, so they read each window alone.
    total = 0.0
    bounds = batch.sequences.cu_seqlens.tolist()
    for i, (first, last) in enumerate(batch.targets.tolist()):
        own = slice(bounds[i], bounds[i + 1])
        total += theirs(
            input_ids=batch.input_ids[own][None],
            start_positions=torch.tensor([first]),
            end_positions=torch.tensor([last]),
            **{name: value[own][None] for name, value in types.items()},
        ).loss.item()
    with torch.no_grad():
        outputs = task.outputs(model, batch)
        loss, said = task.loss(outputs, batch), task.predict(outputs, batch)
    assert loss.items == len(batch.targets) == sum(batch.counts)
    assert loss.total.item() == pytest.approx(total, rel=1e-5)
    guessed = torch.stack([padded.start_logits.argmax(-1), padded.end_logits.argmax(-1)], -1)
    right = (guessed == batch.targets).all(-1).sum()
    assert int(loss.metrics["exact"]) == int(right)

    starts, ends = batch.in_order(padded.start_logits), batch.in_order(padded.end_logits)
    rows = list(zip(starts.tolist(), ends.tolist(), strict=True))
    for item, asked, prediction in zip(items, examples, said, strict=True):
        mine, rows = rows[: len(item.encodings)], rows[len(item.encodings) :]
        scores = by_brute_force(item, mine)
        ranked = sorted(scores, key=scores.__getitem__, reverse=True)
        null = min(start[0] + end[0] for start, end in mine)
        weights = {span: np.exp(score) for span, score in scores.items()}
        whole = sum(weights.values()) + (0 if threshold is None else np.exp(null))
        assert [(s.start, s.end) for s in prediction.spans] == ranked[:3]
        for span in prediction.spans:
            assert span.answer == asked.context[span.start : span.end]
            chance = weights[span.start, span.end] / whole
            assert span.score == pytest.approx(chance, rel=1e-3)
        assert prediction.margin == pytest.approx(null - scores[ranked[0]], abs=1e-3)
        assert prediction.abstains == (threshold is not None and prediction.margin > threshold)
        if threshold is None:
            assert prediction.no_answer is None
        else:
            assert prediction.no_answer == pytest.approx(np.exp(null) / whole, rel=1e-3)


def test_one_example_is_answered_as_in_a_batch(tokenizer, models):
    torch.manual_seed(3)
    model = QuestionAnswerer.from_pretrained(models["bert"], new_head=True)
    items = [TASK.encode(about(text), tokenizer) for text in STORY.split(" . ")[:4]]
    with torch.no_grad():
        batch = Batch.of(items)
        together = TASK.predict(TASK.outputs(model, batch), batch)
        for item, said in zip(items, together, strict=True):
            batch = Batch.of([item])
            (alone,) = TASK.predict(TASK.outputs(model, batch), batch)
            assert (alone.spans[0].start, alone.spans[0].end) == (
                said.spans[0].start,
                said.spans[0].end,
            )
            assert alone.confidence == pytest.approx(said.confidence, rel=1e-4)


@pytest.mark.parametrize("threshold", [None, 0.0])
@pytest.mark.parametrize(
    ("question", "context"),
    [("", ""), ("the", " \n"), ("", "the cat"), ("the", "\u200b"), ("茶", "茶")],
)
def test_nothing_to_read_is_no_crash(tokenizer, models, question, context, threshold):
    model = QuestionAnswerer.from_pretrained(models["bert"], new_head=True)
    task = replace(TASK, threshold=threshold)
    (said,) = Predictor(task, model, tokenizer)([{"question": question, "context": context}])
    told = json.loads(json.dumps(said.to_json(), allow_nan=False))
    if not context.strip():
        assert (told["answer"], told["start"], told["best"]) == ("", None, [])
        assert told["no_answer"] == told["score"] == 1
    elif threshold is None and told["best"]:
        assert told["answer"] == context[told["start"] : told["end"]] != ""


@pytest.mark.parametrize("threshold", [None, -1.25])
def test_the_task_is_kept(tmp_path, threshold):
    task = replace(TASK, threshold=threshold)
    save_task(task, tmp_path)
    assert load_task(tmp_path) == task


def row(**fields) -> Row:
    given = {"question": "What?", "context": "a cat", "answers": [], "id": "q"}
    return Row(given | fields, Path("f.jsonl"), 3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"question": " "}, "f.jsonl:3: the question is empty"),
        ({"context": "\n"}, "f.jsonl:3: the context is empty"),
        ({"context": ["a"]}, "f.jsonl:3: column 'context' is not one text"),
        (
            {"answers": [{"text": "dog", "answer_start": 2}]},
            "question 'q': the passage has 'cat' at 2",
        ),
        ({"answers": None}, "f.jsonl:3: no value in column 'answers'"),
    ],
)
def test_a_wrong_row_is_refused(fields, message):
    with pytest.raises(UserError, match=message):
        QuestionAnswering.read(row(**fields))


def test_answers_may_be_missing_where_they_are_to_be_found():
    with pytest.raises(UserError, match="no column 'answers'; columns: question, context"):
        QuestionAnswering.read(Row({"question": "?", "context": "a"}, Path("f"), 1))
    asked = QuestionAnswering.read(Row({"question": "?", "context": "a"}, Path("f"), 1), False)
    assert asked.answers is None


def test_without_any_answer_there_is_nothing_to_learn():
    config = FinetuneConfig(
        model=Path("m"),
        train="t",
        valid="v",
        out=Path("o"),
        task=QuestionAnsweringOptions(),
        max_length=32,
    )
    with pytest.raises(UserError, match="f: no question has an answer"):
        QuestionAnswering.fit(config, [example("?", "a cat")] * 3)
    assert QuestionAnswering.fit(config, [about("hauls")]).threshold is None
    assert QuestionAnswering.fit(config, [about("hauls"), example("?", "a")]).threshold == 0


def test_a_model_from_elsewhere_answers(tokenizer, tmp_path):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    shape = transformers.BertConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    theirs = transformers.BertForQuestionAnswering(shape).eval()
    theirs.save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    predictor = Predictor.load(tmp_path)
    assert predictor.task == QuestionAnswering(max_length=64)
    asked = {"question": "the cat .", "context": STORY}
    (said,) = predictor([asked])
    item = predictor.task.encode(QuestionAnswering.read(row(**asked), False), tokenizer)
    assert isinstance(item, Passage) and len(item.encodings) > 1
    windows = []
    for window in item.encodings:
        with torch.no_grad():
            out = theirs(torch.tensor([window.ids]), token_type_ids=torch.tensor([window.type_ids]))
        windows.append((out.start_logits[0].tolist(), out.end_logits[0].tolist()))
    scores = by_brute_force(item, windows)
    assert (said.spans[0].start, said.spans[0].end) == max(scores, key=scores.__getitem__)


def story(rng: random.Random, number: int, missing: bool) -> dict:
    """A few sentences, each of another animal, and a question about one of them, or of a third."""
    asked, *others = rng.sample(range(len(tiny.ANIMALS)), 4)
    told = others if missing else [asked, *others[1:]]
    rng.shuffle(told)
    context = " ".join(
        f"the {rng.choice(tiny.COLOURS)} {tiny.ANIMALS[i]} {tiny.DEEDS[i]} the {tiny.FOOD[i]} ."
        for i in told
    )
    food = tiny.FOOD[asked]
    answers = [] if missing else [{"text": food, "answer_start": context.index(food)}]
    question = f"what {tiny.DEEDS[asked]} the {tiny.ANIMALS[asked]}"
    qa = {"id": str(number), "question": question, "answers": answers, "is_impossible": missing}
    return {"context": context, "qas": [qa]}


def write_stories(path: Path, count: int, seed: int, missing: float) -> str:
    rng = random.Random(seed)
    paragraphs = [story(rng, n, rng.random() < missing) for n in range(count)]
    write_json(path, {"version": "1", "data": [{"title": "t", "paragraphs": paragraphs}]})
    return str(path)


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_a_small_model_learns_to_answer_and_to_abstain(tmp_path, missing):
    texts = [*tiny.sentences(300), *[f"what {deed}" for deed in tiny.DEEDS] * 20]
    tokenizer = train_tokenizer(texts, kind="wordpiece", vocab_size=135)
    torch.manual_seed(0)
    MaskedLM(replace(tiny.shape("bert", tokenizer), initializer_range=0.2)).save_pretrained(
        tmp_path / "model"
    )
    tokenizer.save(tmp_path / "model")
    config = FinetuneConfig(
        model=tmp_path / "model",
        train=write_stories(tmp_path / "train.json", 400, 1, missing),
        valid=write_stories(tmp_path / "valid.json", 40, 2, missing),
        out=tmp_path / "run",
        task=QuestionAnsweringOptions(),
        epochs=6,
        batch_size=16,
        max_length=22,  # stories are read in two windows
        dropout=0.0,
        training=LoopConfig(learning_rate=5e-3, eval_every=75, checkpoint_every=0, seed=1),
    )
    outcome = finetune(config, quiet=True)
    assert outcome.score > 0.9
    test = write_stories(tmp_path / "test.json", 40, 3, missing)
    scores = evaluate_folder(tmp_path / "run", test).metric.scores()
    assert min(scores.values()) > 0.9
    assert ("no_answer_accuracy" in scores) is bool(missing)

    predictor = Predictor.load(tmp_path / "run")
    assert (predictor.task.threshold is None) is not bool(missing)
    context = (
        "the red cat eats the fish . the blue owl grabs the mice . the grey ant hauls the egg ."
    )
    told = predictor(
        [{"question": "what grabs the owl", "context": context}]
        + [{"question": "what sips the bee", "context": context}] * bool(missing)
    )
    start = context.index("mice")
    first = told[0].to_json()
    assert (first["answer"], first["start"], first["end"]) == ("mice", start, start + 4)
    assert 0.5 < first["score"] <= 1 and first["best"][0]["answer"] == "mice"
    assert len(first["best"]) == 3
    if missing:
        assert first["no_answer"] < 0.5
        assert told[1].to_json() | {"best": []} == {
            "answer": "",
            "start": None,
            "end": None,
            "score": told[1].no_answer,
            "no_answer": told[1].no_answer,
            "best": [],
        }


def test_a_long_question_on_an_empty_passage_has_no_answer(tokenizer):
    example = QuestionExample(question="the " * 99, context="", answers=None, source="f:1")
    item = QuestionAnswering(max_length=16).encode(example, tokenizer)
    assert len(item.encodings) == 1 and len(item.encodings[0]) == 16
