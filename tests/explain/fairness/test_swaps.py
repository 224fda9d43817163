"""Counterfactual swaps: the words, the versions of examples, the counts, and whole runs."""

import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import scipy.stats

from plainformer.__main__ import main
from plainformer.base import UserError
from plainformer.explain.fairness import BUILT_IN, Fairness, SwapList, gaps, load_list
from plainformer.explain.fairness.answers import Answer, answer_of
from plainformer.explain.fairness.flips import Versions, compare_sides, compare_versions
from plainformer.explain.fairness.page import write_report
from plainformer.explain.fairness.swap import (
    apply,
    edits_of,
    inverse,
    moved,
    side_of,
    texts_of,
    version,
)
from plainformer.finetune import FinetuneConfig, Predictor, finetune
from plainformer.finetune.data.rows import as_rows
from plainformer.finetune.tasks.classification import (
    Classification,
    ClassificationOptions,
    ClassPrediction,
)
from plainformer.finetune.tasks.question_answering import AnswerPrediction, Span
from plainformer.training import LoopConfig
from tests.encoder.tools import randomise
from tests.explain.page_text import Page
from tests.explain.test_attribution import TOKENIZER, tasks
from tests.pretrain import tiny

GENDER = load_list("gender")
HE, SHE = range(2)

VERSIONS = [
    ("He lost his bag; it is his.", "She lost her bag; it is hers."),
    ("I saw him himself, and HE saw Mr. Smith", "I saw her herself, and SHE saw Mrs. Smith"),
    ("his old car is his: it was given to him.", "her old car is hers: it was given to her."),
    ('he took his "new" hat', 'she took her "new" hat'),
    ("John's brother says he's here, there", "Mary's sister says she's here, there"),
    ("his", "hers"),
    ("He told her about his wife", "She told him about her husband"),
    ("他说他的父亲和其他人会弹吉他。", "她说她的母亲和其他人会弹吉他。"),
    ("王先生首先生产了他们的车", "王女士首先生产了她们的车"),
    ("小明和小红书", "小红和小红书"),
    ("the theme of the shelter", "the theme of the shelter"),
    ("ADAM and adam", "EMMA and emma"),
]  # fmt: skip


@pytest.mark.parametrize(("he", "she"), VERSIONS)
def test_a_text_is_written_for_either_side(he: str, she: str) -> None:
    for text, sides, wanted in (
        (he, (HE, SHE), she),
        (she, (SHE, HE), he),
        (he, (HE, HE), he),
        (she, (SHE, SHE), she),
    ):
        edits = edits_of(text, GENDER, sides)
        assert apply(text, edits) == wanted
        assert apply(wanted, inverse(edits, text)) == text


def test_what_stands_for_several_words_is_the_first() -> None:
    assert apply("Ms Lee", edits_of("Ms Lee", GENDER, (SHE, HE))) == "Mr Lee"
    assert apply("Mr Lee", edits_of("Mr Lee", GENDER, (HE, SHE))) == "Mrs Lee"


def test_a_text_is_of_the_side_of_its_first_word() -> None:
    three = SwapList(
        "l", ("x", "y", "z"), {"x": 0, "y": 1, "z": 2}, dict.fromkeys("xyz", tuple("xyz"))
    )
    example = read("classification", "a y met an X, z and y")
    assert side_of(example, three) == 1
    found = [version(example, three, (1, side)).text for side in range(3)]
    assert found == ["a x met an Y, z and x", example.text, "a z met an X, y and z"]
    assert side_of(read("classification", ("nobody", "she")), GENDER) == SHE
    assert side_of(read("classification", "其他"), GENDER) is None


@pytest.mark.parametrize("name", BUILT_IN)
def test_each_word_of_a_built_in_list_has_a_way_back(name: str) -> None:
    swaps = load_list(name)
    assert len(swaps.sides) == 2
    for word, side in swaps.side_of.items():
        (found,) = swaps.pattern.finditer(word)
        assert found.group() == word
        other = apply(word, edits_of(word, swaps, (HE, SHE)))
        assert (other == word) if side < 0 else swaps.side_of[other.casefold()] == 1 - side


def test_signs_that_fold_to_letters_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text('\ufeff"she","straße",Kelvin\r\n', encoding="utf-8")
    swaps = load_list(str(tmp_path / "list.csv"))
    assert swaps.sides == ("she", "straße", "Kelvin")
    for text in ("ſhe İSHE she", "STRASSE Straße", "\u212aelvin", "she\u0301"):
        for side in range(3):
            assert apply(text, edits_of(text, swaps, (side, (side + 1) % 3)))


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ("# only a remark\n", "no line has two words"),
        ("he, she\na, b, c\n", "list.txt:2: 3 words, where the first line has 2"),
        ("he, she\nshe, it\n", "list.txt:2: 'she' stands on two sides"),
        ("he, she\nhe\n", "list.txt:2: 'he' stands alone and on a side"),
        ("he,\n", "list.txt:1: a word is empty"),
    ],
)
def test_faults_of_a_list(tmp_path: Path, lines: str, fault: str) -> None:
    (tmp_path / "list.txt").write_text(lines)
    with pytest.raises(UserError, match=fault):
        load_list(str(tmp_path / "list.txt"))
    with pytest.raises(UserError, match="did you mean pronouns"):
        load_list("pronuns")


def read(name: str, given: Any) -> Any:
    task, *_ = tasks()[name]
    return task.read(next(iter(as_rows([given]))), labelled=False)


def test_the_parts_of_an_example_are_swapped() -> None:
    text = "Then John Smith met the man there"
    relation = version(
        read("relation", {"text": text, "head": [5, 15], "tail": [20, 27]}), GENDER, (HE, SHE)
    )
    assert relation.text[slice(*relation.head)] == "Mary Smith"
    assert relation.text[slice(*relation.tail)] == "the woman"
    words = ["He", "'s", "John-Paul", "先", "生", "男朋友"]
    tagged = version(read("tagging", {"words": words}), GENDER, (HE, SHE))
    assert tagged.words == ("She", "'s", "Mary-Margaret", "女", "士", "女朋友")
    assert [tagged.text[a:b] for a, b in tagged.offsets] == list(tagged.words)
    choice = version(
        read("multiple-choice", {"text": "he ran", "options": ["his", "b"]}), GENDER, (HE, SHE)
    )
    assert texts_of(choice) == ("she ran", "hers", "b")
    asked = version(
        read("question-answering", {"question": "who is he", "context": "he is Adam"}),
        GENDER,
        (HE, SHE),
    )
    assert texts_of(asked) == ("who is she", "she is Emma")


def test_an_answer_is_found_at_the_place_it_had() -> None:
    context = "He is John Smith, a man"
    task, *_ = tasks()["question-answering"]

    def answer(side: int, start: int, end: int) -> Answer:
        edits = edits_of(context, GENDER, (HE, side))
        span = Span("", *moved((start, end), edits), 1.0)
        return answer_of(task, AnswerPrediction((span,), None, 0.0, False), edits, context)

    assert answer(HE, 6, 16).key == answer(SHE, 6, 16).key == (6, 16)
    assert answer(SHE, 3, 16).key != answer(HE, 6, 16).key


def of_label(yes: float) -> Answer:
    task = Classification(labels=("no", "yes"), max_length=9)
    found = {"no": 1 - yes, "yes": yes}
    return answer_of(task, ClassPrediction("yes" if yes > 0.5 else "no", found))


def test_flips_and_their_direction_are_those_of_scipy() -> None:
    pairs = [(0.9, 0.2)] * 9 + [(0.2, 0.9)] * 2 + [(0.8, 0.7)] * 30
    every = [Versions("f:1", ("a", "b"), (of_label(x), of_label(y))) for x, y in pairs]
    sides = compare_sides(("he", "she"), every, (0, 1))
    assert sides.flips == 11 and sides.share is not None
    ends = scipy.stats.binomtest(11, 41).proportion_ci()
    assert (sides.share.low, sides.share.high) == pytest.approx((ends.low, ends.high), abs=1e-12)
    (yes,) = sides.directions
    assert (yes.label, yes.first, yes.second) == ("yes", 9, 2)
    assert yes.p == pytest.approx(scipy.stats.binomtest(9, 11).pvalue, abs=1e-12)
    logits = np.log(pairs) - np.log1p(-np.array(pairs))
    assert yes.change is not None
    assert yes.change.value == pytest.approx((logits[:, 1] - logits[:, 0]).mean(), abs=1e-9)
    assert yes.change.low < yes.change.value < yes.change.high
    assert [flip.answers for flip in sides.examples][:9] == [("yes", "no")] * 9


def test_numbers_have_a_sign_test_and_no_flips() -> None:
    every = [
        Versions(
            "f:1", ("a", "b"), tuple(Answer(str(x), None, {"score": x}, {"score": x}) for x in two)
        )
        for two in [(1.0, 2.0)] * 8 + [(2.0, 2.0)] * 3 + [(3.0, 2.5)]
    ]
    sides = compare_sides(("he", "she"), every, (0, 1))
    (score,) = sides.directions
    assert sides.flips is None and sides.share is None and len(sides.examples) == 9
    assert (score.first, score.second) == (1, 8)
    assert score.p == pytest.approx(scipy.stats.binomtest(1, 9).pvalue)
    assert sides.examples[0].size == 1 and sides.examples[-1].size == 0.5


def test_three_sides_are_compared_two_by_two() -> None:
    answers = tuple(map(of_label, (0.9, 0.9, 0.1)))
    report = compare_versions("l", ("x", "y", "z"), 3, [Versions("f:1", ("a", "b", "c"), answers)])
    assert [(s.first, s.second, s.flips) for s in report.pairs] == [
        ("x", "y", 0),
        ("x", "z", 1),
        ("y", "z", 1),
    ]


@pytest.mark.parametrize("name", tasks())
def test_each_task_is_asked_about_each_version(name: str, tmp_path: Path) -> None:
    task, model, given = tasks()[name]
    row = next(iter(as_rows([given]))).fields
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    words = {word for text in texts_of(read(name, given)) for word in text.split()}
    animal = next(word for word in tiny.ANIMALS if word in words)
    (tmp_path / "list.txt").write_text(f"{animal}, zebra\n")
    fairness = Fairness(Predictor(task, randomise(model).eval(), TOKENIZER))
    swaps = [str(tmp_path / "list.txt"), "pronouns"]
    found, nothing = fairness.of_swaps(str(tmp_path / "rows.jsonl"), swaps, quiet=True)
    (sides,) = found.pairs
    assert (found.rows, found.texts, nothing.texts, nothing.pairs) == (1, 1, 0, [])
    numbers = name in ("regression", "sentence-embedding")
    assert (sides.flips is None) == numbers
    changes = [abs(one.change.value) for one in sides.directions if one.change is not None]
    assert any(changes) or name in ("tagging", "multiple-choice", "question-answering")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of colours, and a file with a group whose labels are often wrong."""
    folder = tmp_path_factory.mktemp("fair")
    texts, random = tiny.sentences(300), Random(0)
    lines = [f"{t}\t{'yes' if t.split()[1] in tiny.COLOURS[:4] else 'no'}\n" for t in texts]
    (folder / "train.tsv").write_text("text\tlabel\n" + "".join(lines))
    rows = []
    for line in lines[:120]:
        text, label = line.strip().split("\t")
        place = random.choice(["<b>north</b>", "south"])
        if place == "south" and random.random() < 0.6:
            label = "yes" if label == "no" else "no"
        rows.append(f"{text}\t{label}\t{place}\n")
    rows += [f"{line.strip()}\tlonely\n" for line in lines[:1]]
    (folder / "test.tsv").write_text("text\tlabel\tplace\n" + "".join(rows))
    pairs = zip(tiny.COLOURS[:4], tiny.COLOURS[4:], strict=True)
    (folder / "swaps.txt").write_text("\n".join(", ".join(pair) for pair in pairs))
    config = FinetuneConfig(
        model=tiny.save_untrained(folder / "base", "bert", TOKENIZER),
        train=str(folder / "train.tsv"),
        out=folder / "run",
        epochs=4,
        batch_size=32,
        select=False,
        task=ClassificationOptions(),
        training=LoopConfig(learning_rate=3e-3, eval_every=0, checkpoint_every=0),
    )
    finetune(config, quiet=True)
    return folder


def test_planted_bias_is_found(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is wrong in the south, and that colours are answered differently."""
    monkeypatch.setattr(gaps, "SAMPLES", 300)
    command = ["fairness", str(run / "run"), "--data", str(run / "test.tsv"), "--group", "place"]
    command += ["--swap", str(run / "swaps.txt"), "--out"]
    assert main([*command, str(run / "out.json")]) == 0
    said = capsys.readouterr().out
    found = json.loads((run / "out.json").read_text())
    (groups,) = found["groups"]
    assert groups["worst"] == "south" and groups["rows"]["lonely"] == 1
    assert groups["differences"][0]["chance"] < 0.01
    assert "lonely (1)" in said and "<b>north</b>" in said
    (pair,) = found["swaps"][0]["pairs"]
    assert pair["texts"] == 121 and pair["flips"] > 90 and pair["share"]["low"] > 0.7
    (yes,) = pair["directions"]
    assert yes["label"] == "yes" and yes["first"] > 90 and yes["p"] < 1e-5


def test_what_users_wrote_stays_text_on_the_page(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gaps, "SAMPLES", 20)
    fairness = Fairness.load(run / "run")
    file = str(run / "test.tsv")
    groups = fairness.of_groups(file, ["place"], quiet=True)
    swaps = fairness.of_swaps(file, [str(run / "swaps.txt")], quiet=True)
    write_report(run / "out.html", "<script>", groups, swaps)
    page = Page()
    page.feed(source := (run / "out.html").read_text(encoding="utf-8"))
    assert not page.tags & {"img", "script", "link", "iframe", "b"}
    assert "<b>north</b>" in page.text and "<script>" in page.text
    assert "http" not in source.replace("http-equiv", "")


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ([], "give --group COLUMN, --swap LIST, or both"),
        (["--group", "a", "--smallest", "0"], "smallest must be at least 1"),
        (["--group", "a", "--out", "a.txt"], "must end in .html or .json"),
        (["--swap", "nonsense"], "there is no list of words 'nonsense': choose pronouns"),
        (["--group", "plce"], "no column 'plce'; columns: text, label, place; did you mean"),
        (["--group", "place", "--smallest", "100"], "fewer than two have 100 rows"),
    ],
)
def test_refusals_of_the_command(
    run: Path, arguments: list[str], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(run / "test.tsv")]
    assert main(["fairness", str(run / "run"), *data, *arguments]) == 2
    said = capsys.readouterr().err
    assert fault in said and "Traceback" not in said
