"""The stress test: scores as the metrics', intervals as SciPy's, gains as differences of losses."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch

from plainformer.__main__ import main
from plainformer.base import UserError, write_text
from plainformer.commands import stress as command
from plainformer.encoder import quantize_int8
from plainformer.explain.results.number_results import MeanResults
from plainformer.explain.stress import KINDS, HotFlip, Settings, effects, measure, stress
from plainformer.explain.stress.answers import is_flipped
from plainformer.explain.stress.effects import differences, effects_of
from plainformer.explain.stress.gains import gains_of, loss_of
from plainformer.explain.stress.measure import Answers, Comparison, Measured, answers
from plainformer.explain.stress.report import examples_of
from plainformer.finetune.augment.choose import free_places
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.data.rows import as_rows
from plainformer.finetune.data.words import split_text
from plainformer.finetune.prediction.predictor import Predictor, encode_all, no_progress
from plainformer.finetune.task_file import save_task
from plainformer.finetune.tasks.question_answering import AnswerPrediction, QuestionExample, Span
from plainformer.finetune.tasks.tagging.sentences import Tags
from tests.encoder.tools import randomise
from tests.explain.test_attribution import TOKENIZER, tasks
from tests.explain.test_explain_page import Page
from tests.finetune.test_augment import generator
from tests.pretrain import tiny

COUNT = 9


def labelled(name: str, number: int) -> dict[str, Any]:
    """A row of a task, whose label is drawn."""
    text, other = tiny.sentences(2, seed=number)
    label = "abc"[number % 3]
    return {
        "classification": {"text": text, "pair": other, "label": label},
        "prompt": {"text": text, "label": label},
        "multi-label": {"text": text, "labels": [label]},
        "regression": {"text": text, "score": float(number % 5)},
        "relation": {"text": text, "head": [0, 3], "tail": [4, 9], "label": label},
        "multiple-choice": {
            "text": text,
            "options": [other, "the cat", "the"],
            "label": number % 3,
        },
        "tagging": {"words": text.split(), "tags": [*["O", "B-x", "I-x", "O"] * 2][:8]},
        "question-answering": {
            "question": other,
            "context": f"{text} {other}",
            "answers": [{"text": text[4:9], "answer_start": 4}],
        },
        "sentence-embedding": {"text": text, "pair": other},
    }[name]


def prepared(name: str, seed: int = 0) -> tuple[Predictor, list[Any]]:
    """A model of random weights and labelled examples of its task."""
    torch.manual_seed(seed)
    task, model, _ = tasks()[name]
    predictor = Predictor(task, randomise(model).eval().requires_grad_(False), TOKENIZER)
    rows = as_rows([labelled(name, number) for number in range(COUNT)])
    return predictor, [task.read(row) for row in task.naming(()).of(rows)]


@pytest.mark.parametrize("name", tasks())
def test_every_task_is_measured(name: str) -> None:
    """The score is the first of the metric; without strength nothing drops, and none is flipped."""
    predictor, examples = prepared(name)
    task, rows = predictor.task, np.arange(COUNT)
    kinds = tuple(kind for kind in KINDS if kind != "paraphrases")
    still = measure([predictor], examples, Settings(kinds, strength=0.0), quiet=True)
    assert not differences(still, rows).any()
    assert not any(one.models[0].changed.any() for one in still)
    metric, before = task.metric(), still[0].models[0].before
    for example, prediction in zip(examples, before.predictions, strict=True):
        task.add_to(metric, example, prediction)
    assert before.score(rows) == pytest.approx(metric.scores()[task.monitor], abs=1e-12)
    some = measure([predictor], examples[:3], Settings(("typos", "hotflip"), 0.1), quiet=True)
    assert np.isfinite(differences(some, rows[:3])).all()
    for one in some:
        assert one.models[0].changed.any()
        is_number = name in ("regression", "sentence-embedding")
        assert np.isnan(one.models[0].flipped).all() == is_number
    assert len(examples_of(some)) == 2


@pytest.mark.parametrize("name", ["classification", "multiple-choice", "tagging", "prompt"])
def test_the_gain_is_the_first_order_change_of_the_loss(name: str) -> None:
    """By the gradient of the table of embeddings, which adds up the places where a word stands."""
    predictor, examples = prepared(name)
    task, model, example = predictor.task, predictor.model, examples[0]
    ids, _, _ = HotFlip(predictor).vocabulary
    words, gains = gains_of(predictor, example, ids)
    table = model.base.embeddings.tokens.weight.requires_grad_()
    ((_, item),) = encode_all(task, TOKENIZER, [example])
    batch = Batch.of([item])
    (slope,) = torch.autograd.grad(loss_of(task, task.outputs(model, batch), batch), table)
    tokens = batch.input_ids.tolist()
    tried = 0
    for word, gain in zip(words, gains, strict=True):
        (own,) = TOKENIZER.tokens(word.string).ids
        if tokens.count(own) == len(word.places):  # and it is no part of other words
            wanted = (table[ids] - table[own]) @ slope[own]
            np.testing.assert_allclose(gain, wanted.detach(), atol=1e-6)
            tried += 1
    assert tried


def test_swaps_by_the_gradient_raise_the_loss_more_than_random_ones() -> None:
    """As many words swapped in the same texts; and what is swapped is the best that was tried."""
    predictor, examples = prepared("classification")
    flip, draw = HotFlip(predictor), np.random.default_rng(0)
    worse = chance = 0.0
    for example in examples[:5]:
        after, words = flip(example, 0.15, generator()), list(example.to_words())
        changed = [
            n for n, (a, b) in enumerate(zip(words, after.to_words(), strict=True)) if a != b
        ]
        assert len(changed) <= round(0.15 * len(free_places(words)))
        for place in draw.choice(free_places(words), len(changed), replace=False):
            words[place] = split_text(str(draw.choice(flip.vocabulary[1])), words[place].part)[0]
        before, worst, drawn = flip.losses([example, after, example.with_words(tuple(words))])
        assert worst > before or not changed
        worse, chance = worse + worst - before, chance + drawn - before
    assert worse > 3 * abs(chance)
    swaps = flip.swaps(examples[0], list(examples[0].to_words()), set())
    once = flip(examples[0], 0.01, generator())
    losses = []
    for place, text in swaps:
        one = list(examples[0].to_words())
        one[place] = split_text(text, one[place].part)[0]
        losses += flip.losses([examples[0].with_words(tuple(one))])
    assert flip.losses([once])[0] == pytest.approx(max(losses), abs=1e-5)


def test_hotflip_leaves_answers_and_tagged_words() -> None:
    for name in ("tagging", "question-answering", "relation"):
        predictor, examples = prepared(name)
        for example in examples[:1]:
            after = HotFlip(predictor)(example, 1.0, generator())
            pairs = [*zip(example.to_words(), after.to_words(), strict=True)]
            kept = [(a.text, b.text) for a, b in pairs if a.is_fixed or not a.is_untagged]
            assert kept and all(a == b for a, b in kept) and any(a.text != b.text for a, b in pairs)


def test_int8_has_no_gradient_to_follow() -> None:
    predictor, _ = prepared("classification")
    quantize_int8(predictor.model)
    with pytest.raises(UserError, match="hotflip needs the gradients"):
        HotFlip(predictor)


def test_the_interval_of_a_drop_is_that_of_the_paired_bootstrap() -> None:
    """As SciPy's, which resamples both sides by the same rows."""
    predictor, examples = prepared("classification")
    numbers = np.random.default_rng(0)
    right = np.stack([numbers.random(200) < 0.8, np.ones(200)], 1)
    after = np.stack([(right[:, 0] > 0) & (numbers.random(200) < 0.85), np.ones(200)], 1)
    sides = []
    for table in (right, after):
        side = Answers(predictor, examples, ())
        results = vars(side)["results"] = MeanResults({"accuracy": lambda right, _: right})
        for row in table[:, 0]:
            results.add(float(row), None)
        results.finish()
        sides.append(side)
    comparison = Comparison(*sides)
    vars(comparison).update(flipped=np.zeros(200), changed=np.ones(200))
    (found,) = effects_of([Measured("typos", (comparison,))], {"all": np.arange(200)})
    wanted = scipy.stats.bootstrap(
        (right[:, 0], after[:, 0]),
        lambda a, b, axis: a.mean(axis) - b.mean(axis),
        paired=True,
        method="percentile",
        n_resamples=4000,
        rng=np.random.default_rng(1),
    ).confidence_interval
    np.testing.assert_allclose(found.own.interval, (wanted.low, wanted.high), atol=0.012)
    assert found.own.drop == pytest.approx(float((right - after)[:, 0].mean()))


def test_two_models_see_the_same_changes_and_the_gain_is_the_difference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(effects, "SAMPLES", 100)
    one, examples = prepared("classification")
    other, _ = prepared("classification", seed=1)
    (found,) = measure([one, other], examples, Settings(("typos",), 0.5), quiet=True)
    own, others = found.models
    assert own.after.examples == others.after.examples != examples
    rows = np.arange(COUNT)
    (effect,) = effects_of([found], {"all": rows})
    assert effect.other is not None and effect.won_back is not None
    assert effect.won_back.value == effect.own.drop - effect.other.drop
    assert effect.own.drop == own.before.score(rows) - own.after.score(rows)
    again = answers(one, own.after.examples, no_progress)
    assert again.predictions == own.after.predictions


def test_tags_are_compared_by_the_words_that_are_still_there() -> None:
    def said(words: str, tags: str) -> tuple[None, Tags]:
        given = tuple(words.split())
        return None, Tags(given, tuple(tags.split()), (1.0,) * len(given), None)

    task, _, _ = tasks()["tagging"]
    before = said("Ada met Bo here", "P O P O")
    assert not is_flipped(task, before, said("Ada Bo here", "P P O"))
    assert is_flipped(task, before, said("Ada Bo here", "P O O"))
    assert not is_flipped(task, before, said("Ada met Bo Bo here", "P O P O O"))
    assert is_flipped(task, before, said("Adq met Bo here", "O O P O"))


def test_spans_are_compared_by_their_words_in_the_context() -> None:
    def said(context: str, answer: str) -> tuple[QuestionExample, AnswerPrediction]:
        example = QuestionExample(question="q", context=context, answers=(), source="f:1")
        start = context.find(answer)
        spans = (Span(answer, start, start + len(answer), 1.0),)
        return example, AnswerPrediction(spans, None, 0.0, not answer)

    task, _, _ = tasks()["question-answering"]
    before = said("Ada met the old Bo there.", "Bo")
    for context, answer, flips in (
        ("Ada met the old Bp there.", "Bp", False),
        ("Ada met the old Bo there", "the old Bo", True),
        ("Ada met the old Bo there", "Ada", True),
        ("Ada met the old B\u200bo there", "B\u200bo", False),
        ("Ada met Bo Bo there.", "Bo", False),
        ("Ada met the old there.", "old", True),
        ("Ada met the old Bo there.", "", True),
        ("Ada met the old Bp there. Cy met Bo.", "Cy", True),
    ):
        assert is_flipped(task, before, said(context, answer)) == flips, context


def folder(path: Path, name: str, seed: int = 0) -> Path:
    predictor, _ = prepared(name, seed)
    predictor.model.save_pretrained(path)
    predictor.tokenizer.save(path)
    save_task(predictor.task, path)
    return path


def test_the_command_in_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table with groups and another model, examples, a page that is safe, and numbers."""
    runs = [folder(tmp_path / name, "multi-label", seed) for seed, name in enumerate("ab")]
    data = tmp_path / "data.jsonl"
    rows = [labelled("multi-label", n) | {"sex": "f<b>" if n % 2 else "m"} for n in range(COUNT)]
    rows[0]["text"] += " <img src=x> [bold]"
    write_text(data, "".join(f"{json.dumps(row)}\n" for row in rows))
    write_text(tmp_path / "list.txt", "the, a\n")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(effects, "SAMPLES", 100)
    line = ["stress", str(runs[0]), "--data", str(data), "--against", str(runs[1])]
    line += ["--kinds", "homophones", "paraphrases", "--limit", "8"]
    line += ["--group", "sex", "--smallest", "3"]
    line += ["--paraphrases", str(tmp_path / "list.txt"), "--out", str(tmp_path / "out.json")]
    assert main(line) == 0
    out = capsys.readouterr().out
    assert "nothing to change: homophones" in out and "won back" in out and "f<b>" in out
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["metric"] == "micro_f1" and found["examples"] == 8
    assert [(row["kind"], row["group"]) for row in found["changes"]] == [
        ("paraphrases", group) for group in ("all examples", "m", "f<b>")
    ]
    row = found["changes"][0]
    assert row["own"]["drop"] == row["own"]["before"] - row["own"]["after"]
    assert row["won_back"]["value"] == pytest.approx(row["own"]["drop"] - row["other"]["drop"])
    settings = Settings(("paraphrases",), paraphrases=tmp_path / "list.txt")
    again = stress(runs[:1], str(data), settings, limit=8, quiet=True)
    assert asdict(again.effects[0])["own"] == row["own"] | {"interval": (*row["own"]["interval"],)}
    again.write(tmp_path / "out.html")
    page = Page()
    page.feed(source := (tmp_path / "out.html").read_text(encoding="utf-8"))
    assert not page.tags & {"img", "script", "link", "b"} and "<img src=x>" in page.text
    assert "http" not in source.replace("http-equiv", "")


def test_kinds_of_the_command_are_those_of_the_library() -> None:
    assert sorted(command.KINDS) == sorted(KINDS)
    every = command.StressOptions(run=Path("r"), data="d").chosen
    assert {*KINDS} - {*every} == {"paraphrases"}


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["nowhere"], "nowhere"),
        (["RUN", "--kinds", "typo"], "did you mean typos"),
        (["RUN", "--kinds", "paraphrases"], "go together"),
        (["RUN", "--strength", "1.5"], "strength must be"),
        (["RUN", "--out", "a.txt"], "must end in .html"),
        (["RUN", "--group", "sex"], "no column 'sex'"),
        (["RUN", "--group", "text"], "fewer than two have 20 rows"),
        (["RUN", "--against", "OTHER"], "has another task"),
    ],
)
def test_faults_are_named(
    arguments: list[str], fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"RUN": "regression", "OTHER": "multi-label"}
    data = tmp_path / "data.jsonl"
    write_text(data, "".join(f"{json.dumps(labelled('regression', n))}\n" for n in range(3)))
    line = [str(folder(tmp_path / a, names[a])) if a in names else a for a in arguments]
    assert main(["stress", *line, "--data", str(data)]) == 2
    assert fault in " ".join(capsys.readouterr().err.split())
