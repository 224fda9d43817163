"""Probes: against scikit-learn, on planted knowledge, and what they refuse."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from plainformer.__main__ import main
from plainformer.base import UserError, write_text
from plainformer.explain.inside import States, hidden_states, probe_layers, read_labelled
from plainformer.explain.inside.labelled import has_words
from plainformer.explain.inside.probe import C, baseline, control_labels, predict
from tests.explain.test_attribution import FIRST, SECOND, TOKENIZER, variants
from tests.pretrain import tiny

WORDS = [f"w{n}" for n in range(40)]


def planted(sentences: int = 120, length: int = 5) -> States:
    """Three layers: noise, the label of each word with some noise, and the word itself."""
    rng = np.random.default_rng(0)
    names = rng.integers(len(WORDS), size=sentences * length)
    labels = rng.integers(3, size=len(names))  # which follow from no word
    noise = torch.from_numpy(rng.normal(size=(3, len(names), 50))).float()
    noise[1, :, :3] += 10 * torch.eye(3)[labels]
    noise[2, :, : len(WORDS)] += 10 * torch.eye(len(WORDS))[names]
    owners = np.repeat(np.arange(sentences), length)
    return States(
        noise,
        tuple("abc"[label] for label in labels),
        tuple(WORDS[n] for n in names),
        owners,
        owners % 4 == 0,
    )


def test_what_is_planted_is_found() -> None:
    """A label is selective; a word is not, though a probe learns any label that follows from it."""
    noise, label, word = probe_layers(planted())
    chance = baseline(planted())
    assert abs(noise.accuracy - chance) < 0.15 and abs(noise.selectivity) < 0.2
    assert label.accuracy > 0.97 and label.selectivity > 0.4
    assert word.control > 0.9 and word.selectivity < -0.4
    for layer in (noise, label, word):
        assert layer.selectivity == pytest.approx(layer.accuracy - layer.control)
        low, high = layer.accuracy_interval
        assert low <= layer.accuracy <= high
        low, high = layer.selectivity_interval
        assert low <= layer.selectivity <= high


def test_a_probe_is_that_of_scikit_learn() -> None:
    states = planted()
    labels = np.unique(states.labels, return_inverse=True)[1]
    for x in states.states:
        learned = ~states.held_out
        scaler = StandardScaler().fit(x[learned].numpy())
        theirs = LogisticRegression(C=C / learned.sum(), tol=1e-9, max_iter=5000)
        theirs.fit(scaler.transform(x[learned].numpy()), labels[learned])
        expected = theirs.predict(scaler.transform(x[states.held_out].numpy()))
        assert (predict(x, labels, states.held_out) == expected).mean() > 0.98


def test_control_labels_belong_to_words() -> None:
    rng = np.random.default_rng(0)
    names = tuple(map(str, rng.integers(2000, size=6000)))
    labels = (rng.random(6000) < 0.2).astype(np.int64)
    found = control_labels(names, labels, rng)
    assert len({*zip(names, found.tolist(), strict=True)}) == len({*names})
    assert found.mean() == pytest.approx(0.2, abs=0.03)
    assert abs(np.corrcoef(found, labels)[0, 1]) < 0.05


@pytest.fixture
def word_file(tmp_path: Path) -> str:
    """Sentences with the kind of each word, the word itself without a meaning."""
    kinds = dict.fromkeys(tiny.ANIMALS, "animal") | dict.fromkeys(tiny.COLOURS, "colour")
    lines = []
    for text in tiny.sentences(40):
        lines += [f"{word}\t{kinds.get(word, 'other')}" for word in text.split()] + [""]
    write_text(tmp_path / "words.conll", "\n".join(lines) + "\n")
    return str(tmp_path / "words.conll")


def test_states_are_those_of_each_text_and_word(word_file: str, tmp_path: Path) -> None:
    """A word has its first token; a text, also one in windows, the mean over its tokens."""
    predictor = variants("classification")[1].predictor  # of at most 12 tokens
    labelled = read_labelled(predictor, word_file, limit=100)
    found = hidden_states(predictor, labelled)
    assert 100 <= len(found.labels) < 110 and found.held_out.sum() > 10
    assert found.names[:3] == tuple(labelled.examples[0].words[:3])
    item = labelled.items()[0]
    encoding = item.encodings[0]
    with torch.no_grad():
        states = predictor.model.base(
            torch.tensor([encoding.ids]), output_hidden_states=True
        ).hidden_states
    for layer, expected in zip(found.states, states, strict=True):
        first = [encoding.word_ids.index(word) for word in range(3)]
        torch.testing.assert_close(layer[:3], expected[0, first], rtol=0, atol=1e-5)

    long = f"{FIRST} {SECOND}"
    lines = "".join(f"{letter} {long}\t{letter}\n" for letter in "abcdefgh")
    write_text(tmp_path / "texts.tsv", "text\tlabel\n" + lines)
    texts = read_labelled(predictor, str(tmp_path / "texts.tsv"))
    (one, *_), (item, *_) = texts.examples, texts.items()
    assert one.text == f"a {long}" and len(item.encodings) > 1
    means = []
    for encoding in item.encodings:
        with torch.no_grad():
            last = predictor.model.base(torch.tensor([encoding.ids])).last_hidden_state
        means.append(last.mean(1))
    found = hidden_states(predictor, texts)
    torch.testing.assert_close(found.states[-1, :1], torch.stack(means).mean(0), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "content", "columns", "expected"),
    [
        ("a.conll", "EU B-ORG\n\n", (), True),
        ("a.jsonl", '{"words": ["a"], "tags": ["x"]}\n', (), True),
        ("a.jsonl", '{"text": "a", "label": "x"}\n', (), False),
        ("a.jsonl", '{"tokens": ["a"], "ner": ["x"]}\n', ("words=tokens", "tags=ner"), True),
        ("a.tsv", "text\tlabel\na\tx\n", (), False),
        ("a.csv", "sentence,word,tag\n1,a,x\n", (), True),
    ],
)
def test_words_and_texts_are_told_apart(
    tmp_path: Path, name: str, content: str, columns: tuple[str, ...], expected: bool
) -> None:
    write_text(tmp_path / name, content)
    own = variants("regression")[1].predictor.task
    assert has_words(own, str(tmp_path / name), columns) == expected


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("text\tlabel\na\tx\nb\tx\n", "every label is 'x'"),
        ("text\tkind\na\tx\n", "no column 'label'"),
        ("text\tlabel\n", "no rows"),
        ("text\tlabel\na\tx\nb\ty\n", "2 texts with --limit 5000: at least 8"),
    ],
)
def test_refusals(tmp_path: Path, content: str, fault: str) -> None:
    predictor = variants("classification")[1].predictor
    write_text(tmp_path / "a.tsv", content)
    with pytest.raises(UserError, match=fault):
        hidden_states(predictor, read_labelled(predictor, str(tmp_path / "a.tsv")))


def test_other_tasks_and_sentence_vectors_are_probed(word_file: str) -> None:
    for task in ("tagging", "sentence-embedding", "multiple-choice"):
        predictor = variants(task)[1].predictor
        found = hidden_states(predictor, read_labelled(predictor, word_file, limit=120))
        assert found.states.shape[1] == len(found.labels) >= 120


def test_the_command(word_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    run = tiny.save_untrained(tmp_path / "base", "modern", TOKENIZER)
    out = tmp_path / "layers.png"
    line = ["inspect", "layers", str(run), "--data", word_file]
    assert main([*line, "--limit", "150", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "selectivity" in said and out.read_bytes().startswith(b"\x89PNG")
    for options, fault in [
        (["--out", "a.pdf"], "must end in .png"),
        (["--out", "no/where.png"], "there is no folder no"),
        (["--limit", "0"], "limit must be"),
        (["--data", "nowhere.tsv"], "nowhere.tsv"),
    ]:
        assert main([*line, *options]) == 2
        assert fault in capsys.readouterr().err
