"""What occurs in training and again in what is measured is told, by place."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plainformer.corpora import text_key
from plainformer.finetune import FinetuneConfig, evaluate_folder, finetune
from plainformer.finetune.data.leakage import Overlap, fingerprint
from plainformer.finetune.tasks.classification import ClassExample
from plainformer.training import LoopConfig


def example(text: str, label: str = "x", place: str = "f:1") -> ClassExample:
    return ClassExample(text=text, label=label, source=place)


def overlap(training: list[ClassExample], others: list[ClassExample]) -> Overlap[ClassExample]:
    made = Overlap(lambda: training)
    for other in others:
        made.add(other)
    return made


texts = st.lists(st.text("abAB .,!猫🙂", max_size=3), max_size=20)


@given(texts, texts)
def test_common_texts_are_those_of_a_plain_count(training, others):
    """Held against sets of keys; a text that is all punctuation is its own key."""
    known = {text_key(text) or text for text in training}
    found = overlap([example(t) for t in training], [example(t) for t in others])
    again = [text for text in others if (text_key(text) or text) in known]
    assert (found.count, found.common) == (len(others), len(again))
    assert (found.first.text if found.first else None) == (again[0] if again else None)


def test_the_first_of_each_is_named():
    training = [example("a cat", place="train:1"), example("The dog!", place="train:2")]
    others = [example("a cow", place="test:1"), example("the  DOG", place="test:2")]
    (warning,) = overlap(training, others * 3).warnings()
    assert "3 of 6 examples" in warning
    assert "test:2, as train:2: 'the  DOG'" in warning


def test_labels_of_one_side_are_named():
    training = [example(str(i), label=f"label {i}") for i in range(9)]
    common, measured = overlap(training, [example("?", "label 0"), example("!", "new")]).warnings()
    unseen = ", ".join(f"'label {i}'" for i in range(1, 6))
    assert common.endswith(f"only in the training examples: {unseen} and 3 more")
    assert measured.endswith("only in the examples that are measured on: 'new'")
    assert overlap(training, training[:0]).first is None
    assert overlap([example("a")], [example("b")]).warnings() == ()


def test_punctuation_alone_tells_texts_apart():
    assert fingerprint("🙂") != fingerprint("🙁") != fingerprint("?!")
    assert fingerprint("Ｗｈｙ ?") == fingerprint("why")


def test_marks_and_signs_tell_texts_apart():
    training = [example(text) for text in ("दिन", "C++", "مُعَلِّم")]
    others = [example(text) for text in ("दीन", "C#", "مَعْلَم", "दिन।")]
    assert overlap(training, others).common == 1


@pytest.fixture(scope="module")
def run(models, files, tmp_path_factory) -> FinetuneConfig:
    """A run on a training file of which half is the validation file."""
    folder = tmp_path_factory.mktemp("overlap")
    valid = Path(files("valid")).read_text().splitlines()
    train = [row for row in Path(files("train")).read_text().splitlines() if row not in valid[1:]]
    (folder / "train.tsv").write_text("\n".join([*train[:30], *valid[1:]]))
    config = FinetuneConfig(
        model=models["bert"],
        train=str(folder / "train.tsv"),
        valid=files("valid"),
        out=folder / "run",
        epochs=0.1,
        max_length=32,
        training=LoopConfig(eval_every=0, checkpoint_every=0),
    )
    warning, *_ = finetune(config, quiet=True).warnings
    assert warning.startswith("50 of 50 examples have a text that was trained on")
    return config


def test_evaluation_looks_into_the_training_file(run, tmp_path):
    found = evaluate_folder(run.out, run.valid, quiet=True)
    (warning,) = found.warnings
    assert warning.startswith("50 of 50") and f"{run.valid}:2, as {run.train}:31" in warning
    assert found.training == run.train
    (tmp_path / "new.tsv").write_text("text\tlabel\nwholly new\tbird\nnew, too\tbeast\n")
    assert evaluate_folder(run.out, str(tmp_path / "new.tsv"), quiet=True).warnings == ()


@pytest.mark.parametrize("damage", ["train file", "train file's content", "options"])
def test_evaluation_does_without_the_training_file(run, files, tmp_path, damage):
    train, options = Path(run.train), run.out / "options.json"
    hurt = options if damage == "options" else train
    whole = hurt.read_bytes()
    try:
        if damage == "train file":
            train.unlink()
        else:
            hurt.write_text("{" if damage == "options" else "text\tlabel\nonly one\n")
        found = evaluate_folder(run.out, run.valid, quiet=True)
    finally:
        hurt.write_bytes(whole)
    assert (found.training, found.warnings, found.metric.count) == (None, (), 50)
