"""Relations: marks that are never lost, TACRED's micro F1, and they are learned."""

import json
import random
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from plainformer.base import UserError
from plainformer.corpora import Row
from plainformer.finetune import (
    FinetuneConfig,
    Predictor,
    RelationOptions,
    evaluate_folder,
    finetune,
)
from plainformer.finetune.metrics import RelationMetric
from plainformer.finetune.tasks.relation import Relation, RelationExample, marked
from plainformer.tokenizer import Tokenizer, load_tokenizer, train_tokenizer
from plainformer.tokenizer.base import SPECIAL_TOKENS
from plainformer.tokenizer.wordpiece import WordPiece
from plainformer.training import LoopConfig
from tests.finetune.conftest import config_of
from tests.pretrain import tiny

TEXTS = [*tiny.sentences(300), "@ a b @ c # d e f # g h i j k l m n o p q r s t u v w x y z ."] * 2
LABELS = ("no_relation", "of", "to")


@pytest.fixture(scope="module", params=["wordpiece", "unigram", "bpe"])
def marking(request) -> Tokenizer:
    """Tokenizers that know the marks."""
    size = {"wordpiece": 100, "unigram": 310, "bpe": 310}[request.param]
    return train_tokenizer(TEXTS, kind=request.param, vocab_size=size)


def read(labelled: bool = True, **fields) -> RelationExample:
    return Relation.read(Row(fields, Path("f.jsonl"), 3), labelled)


def config(folder: Path, **changes) -> FinetuneConfig:
    return config_of(
        RelationOptions,
        **{
            "model": folder,
            "train": "train.jsonl",
            "valid": "valid.jsonl",
            "out": folder / "run",
            "max_length": 64,
            **changes,
        },
    )


@pytest.mark.parametrize(
    ("text", "head", "tail", "wanted"),
    [
        ("the cat eats fish .", (4, 7), (13, 17), "the @ cat @ eats # fish # ."),
        ("the cat eats fish .", (13, 17), (4, 7), "the # cat # eats @ fish @ ."),
        ("cat-fish", (0, 3), (4, 8), "@ cat @ - # fish #"),
        ("猫吃鱼", (0, 1), (2, 3), "@ 猫 @ 吃 # 鱼 #"),
        ("ab", (0, 1), (1, 2), "@ a @ # b #"),
        ("ab", (1, 2), (0, 1), "# a # @ b @"),
        ("a b c", (0, 5), (2, 3), "@ a # b # c @"),
        ("a b c", (0, 3), (2, 5), "@ a # b @ c #"),
        (" a\tb\n", (1, 2), (3, 4), " @ a @\t# b #\n"),
    ],
)
def test_marks_stand_around_head_and_tail(text, head, tail, wanted):
    whole, (first, second) = marked(text, head, tail, "@#")
    assert whole == wanted
    assert whole[slice(*first)].startswith("@ ") and whole[slice(*first)].endswith(" @")
    assert whole[slice(*second)].startswith("# ") and whole[slice(*second)].endswith(" #")


spans = st.tuples(st.integers(0, 12), st.integers(1, 12)).map(lambda s: (s[0], s[0] + s[1]))


@given(st.text("ab @#\n猫", min_size=24, max_size=30), spans, spans)
def test_marks_add_nothing_but_themselves(text, head, tail):
    """Without white space: the text is the marked one without its marks, entities likewise."""
    whole, entities = marked(text, head, tail, "@#")
    marks = {place for start, end in entities for place in (start, end - 1)}
    assert len(marks) == 4 and {whole[i] for i in marks} == {"@", "#"}

    def bare(start: int, end: int) -> str:
        return "".join("".join(whole[i] for i in range(start, end) if i not in marks).split())

    assert bare(0, len(whole)) == "".join(text.split())
    for (start, end), span in zip(entities, (head, tail), strict=True):
        assert bare(start, end) == "".join(text[slice(*span)].split())
    for i in marks:
        assert whole[:i][-1:].strip() == "" and whole[i + 1 :][:1].strip() == ""


@given(
    st.lists(
        st.sampled_from(["the", "cat", "x@y", "#", "fish", "猫", "q"]), min_size=2, max_size=60
    ),
    st.data(),
)
def test_no_mark_is_ever_cut_away(marking, words, data):
    cuts = [
        sorted(data.draw(st.lists(st.integers(0, len(words)), min_size=2, max_size=2, unique=True)))
        for _ in "ht"
    ]
    room = data.draw(st.integers(14, 40))
    given_ = read(words=words, head=cuts[0], tail=cuts[1], label="of")
    task = Relation(labels=LABELS, negative="no_relation", max_length=room)
    (encoding,) = task.encode(given_, marking).encodings
    whole, entities = marked(given_.text, given_.head, given_.tail, "@#")
    assert len(encoding) <= room
    full = marking.encode(whole, max_length=10_000)
    assert encoding.dropped == len(full) - len(encoding)
    if len(full) <= room:
        assert encoding == full
        return
    assert len(encoding) == room
    kept = encoding.offsets[1:-1]
    assert kept == sorted(kept)
    for start, end in entities:
        for mark in (start, end - 1):
            assert any(a <= mark < b for a, b in kept)


def test_what_is_near_an_entity_is_kept(marking):
    """A stretch around each; the entities come whole before their surroundings do."""
    words = [f"{'ab'[i % 2]}" for i in range(200)]
    task = Relation(labels=LABELS, negative=None, max_length=34)

    def kept(head, tail):
        given_ = read(words=words, head=head, tail=tail, label="of")
        item = task.encode(given_, marking)
        assert item.is_cut
        (encoding,) = item.encodings
        text = marked(given_.text, given_.head, given_.tail, "@#")[0]
        return [text[a:b] for a, b in encoding.offsets[1:-1] if text[a:b].strip()]

    near = kept([100, 102], [104, 105])
    first, last = near.index("@"), len(near) - near[::-1].index("#")
    assert near[first:last] == ["@", "a", "b", "@", "a", "b", "#", "a", "#"]
    assert abs(first - (len(near) - last)) <= 1
    far = kept([20, 22], [150, 151])
    middle = far.index("#")
    assert far.index("@") > 2 and middle - len(far) < -3
    assert [far.count(sign) for sign in "@#"] == [2, 2]
    long = kept([0, 90], [100, 190])
    assert [long.count(sign) for sign in "@#"] == [2, 2] and long[0] == "@" and long[-1] == "#"


def test_too_little_room_even_for_the_marks_is_said(marking):
    given_ = read(words=["cat"] * 30, head=[0, 1], tail=[9, 10], label="of")
    task = Relation(labels=LABELS, negative=None, max_length=5)
    with pytest.raises(UserError, match="room for 3 tokens: too few to mark head and tail"):
        task.encode(given_, marking)


@pytest.mark.parametrize(
    ("signs", "chosen"), [("@#", "@#"), ("#*", "#*"), (".,@", "@."), ("?!", "!?"), ("", "")]
)
def test_a_tokenizer_marks_with_the_signs_that_it_has(signs, chosen):
    vocabulary = [*SPECIAL_TOKENS.values(), "the", "cat", *signs]
    tokenizer = WordPiece(vocabulary)
    given_ = read(text="the cat", head=[0, 3], tail=[4, 7], label="of")
    task = Relation(labels=LABELS, negative=None, max_length=16)
    if not chosen:
        with pytest.raises(UserError, match="the tokenizer has at most one: take a model"):
            task.encode(given_, tokenizer)
        return
    (encoding,) = task.encode(given_, tokenizer).encodings
    first, second = chosen
    marked_words = [first, "the", first, second, "cat", second]
    assert [tokenizer.token(id) for id in encoding.ids] == ["[CLS]", *marked_words, "[SEP]"]


def test_words_and_characters_are_the_same_to_it():
    by_words = read(words=["the", "cat", "eats"], head=[1, 2], tail=[2, 3], label="x")
    by_text = read(text="the cat eats", head=[4, 7], tail=[8, 12], label="x")
    assert by_words == by_text and by_text.preview == "the @ cat @ # eats #"
    assert read(False, text="a b", head=(0, 1), tail=(2, 3)).label is None
    assert by_text.category == "x"


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"head": [0, 4]}, r"the head \[0, 4\] is no part of 3 characters"),
        ({"head": [-1, 1]}, r"the head \[-1, 1\] is no part"),
        ({"tail": [2, 2]}, r"the tail \[2, 2\] is no part"),
        ({"tail": [2, 1]}, r"the tail \[2, 1\] is no part"),
        ({"tail": [0, True]}, r"'tail' is not \[start, end\]: \[0, True\]"),
        ({"tail": [0, 1.0]}, r"'tail' is not \[start, end\]"),
        ({"tail": [0, 1, 2]}, r"'tail' is not \[start, end\]"),
        ({"tail": "0 1"}, r"'tail' is not \[start, end\]: '0 1'"),
        ({"tail": None}, "no value in column 'tail'"),
        ({"tail": [1, 2]}, "there is nothing at the place of the tail"),
        ({"words": ["a"], "tail": [0, 2]}, r"the head \[0, 1\]|\[0, 2\] is no part of 1 word"),
        ({"words": "a b"}, "'words' is not a list of texts"),
        ({"words": ["a", None]}, "'words' is not a list of texts"),
        ({"words": []}, r"the head \[0, 1\] is no part of 0 words"),
        ({"label": " "}, "the label is empty"),
        ({"label": None}, "no value in column 'label'"),
    ],
)
def test_a_fault_is_named_by_file_and_line(fields, fault):
    with pytest.raises(UserError, match=rf"f\.jsonl:3: .*{fault}|f\.jsonl:3: {fault}"):
        read(**{"text": "a b", "head": [0, 1], "tail": [2, 3], "label": "x", **fields})


def relation(label: str) -> RelationExample:
    return RelationExample(text="a b", head=(0, 1), tail=(2, 3), label=label, source="f:1")


@pytest.mark.parametrize(
    ("labels", "negative"),
    [
        (["no_relation", "a"], "no_relation"),
        (["Other", "a"], "Other"),
        (["a", "NA"], "NA"),
        (["None", "a"], "None"),
        (["a", "b"], None),
        (["another", "nab"], None),
    ],
)
def test_a_label_may_say_that_there_is_no_relation(tmp_path, labels, negative):
    some = [relation(label) for label in labels]
    task = Relation.fit(config(tmp_path), some)
    assert task.negative == negative and task.labels == tuple(sorted(labels))


def test_two_such_labels_are_refused(tmp_path):
    some = [relation(x) for x in ("NA", "Other", "a")]
    with pytest.raises(UserError, match="f: NA and Other say both that there is no relation"):
        Relation.fit(config(tmp_path), some)


@given(
    st.lists(st.tuples(st.sampled_from("nabc"), st.sampled_from("nabc")), max_size=40),
    st.sampled_from(["n", None]),
)
@settings(max_examples=30)
@example([("n", "n")] * 3, "n")
def test_micro_f1_is_that_of_scikit_learn(pairs, negative):
    from sklearn.metrics import f1_score, precision_score, recall_score

    metric = RelationMetric("abcn", negative)
    for true, said in pairs:
        metric.add(true, said, {label: float(label == said) for label in "abcn"})
    scores = metric.scores()
    assert next(iter(scores)) == "micro_f1"
    if pairs:
        true, said = zip(*pairs, strict=True)
        positive = [label for label in "abcn" if label != negative]
        kind = {"labels": positive, "average": "micro", "zero_division": 0}
        assert scores["micro_f1"] == pytest.approx(f1_score(true, said, **kind))
        assert scores["micro_precision"] == pytest.approx(
            precision_score(true, said, **kind | {"zero_division": 1})  # as TACRED's scorer
        )
        assert scores["micro_recall"] == pytest.approx(recall_score(true, said, **kind))
    names = [row[0] for row in metric.tables()[0].rows]
    assert ("n (no relation)" in names) == (negative == "n")
    assert metric.to_json()["negative"] == negative


def write(path: Path, count: int, seed: int) -> str:
    """Does the first animal that is marked eat the food that is marked: before it, or behind it?"""
    rng = random.Random(seed)
    with path.open("w") as file:
        for number in range(count):
            a, b = rng.sample(range(3), 2)
            words = f"the {tiny.ANIMALS[a]} eats the {tiny.ANIMALS[b]} .".split()
            places = rng.sample([1, 4, 2], 2)
            kinds = {(1, 4): "eats", (4, 1): "eaten by"}
            label = kinds.get(tuple(places), "no_relation")
            row = {"label": label}
            if number % 2:
                spans = [[place, place + 1] for place in places]
                row |= {"words": words}
            else:
                starts = [len(" ".join([*words[:place], ""])) for place in places]
                spans = [[s, s + len(words[p])] for s, p in zip(starts, places, strict=True)]
                row |= {"text": " ".join(words)}
            file.write(json.dumps({**row, "head": spans[0], "tail": spans[1]}) + "\n")
    return str(path)


def test_it_is_learned_and_predicts(tmp_path):
    tokenizer = train_tokenizer(TEXTS, vocab_size=100)
    torch.manual_seed(0)
    folder = tiny.save_untrained(tmp_path / "model", "modern", tokenizer)
    train, valid = write(tmp_path / "train.jsonl", 320, 0), write(tmp_path / "valid.jsonl", 60, 1)
    options = config(
        folder,
        train=train,
        valid=valid,
        out=tmp_path / "run",
        epochs=14,
        batch_size=32,
        max_length=24,
        training=LoopConfig(learning_rate=5e-3, eval_every=50, checkpoint_every=0),
    )
    outcome = finetune(options, quiet=True)
    assert outcome.score > 0.9 and outcome.num_cut == 0
    assert evaluate_folder(options.out, valid).metric.scores() == outcome.metric.scores()
    predictor = Predictor.load(options.out)
    assert predictor.task.negative == "no_relation"
    rows = [json.loads(line) for line in Path(valid).read_text().splitlines()]
    labels = [row.pop("label") for row in rows]
    right = [p.label == label for p, label in zip(predictor(rows), labels, strict=True)]
    assert sum(right) / len(right) == outcome.metric.scores()["accuracy"]
    assert load_tokenizer(options.out).max_length == 24
    with pytest.raises(UserError, match="input:1: no column 'head'"):
        predictor(["the cat eats the dog"])
