"""Tagging from files to a model and back: read, learned, predicted, reloaded."""

import gzip
import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from plainformer.base import UserError, write_text
from plainformer.corpora import Row
from plainformer.encoder import TokenClassifier
from plainformer.finetune import (
    FinetuneConfig,
    Predictor,
    TaggingOptions,
    evaluate_folder,
    finetune,
)
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.run import build
from plainformer.finetune.task_file import load_task
from plainformer.finetune.tasks.tagging.crf import ChainTagger
from plainformer.finetune.tasks.tagging.iob import spans
from plainformer.finetune.tasks.tagging.sentences import Sentence
from plainformer.finetune.tasks.tagging.task import IGNORED, Tagging
from plainformer.training import LoopConfig
from tests.finetune.conftest import config_of
from tests.finetune.sentences import TOKENIZERS, sentence
from tests.pretrain import tiny
from tests.tokenizer.test_families import FAMILIES


def written(path: Path, *rows: object) -> Path:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def config(model: Path, train: Path, out: Path, **changes) -> FinetuneConfig:
    settings = {"epochs": 8.0, "batch_size": 16, "max_length": 32}
    training = LoopConfig(learning_rate=1e-2, eval_every=0, checkpoint_every=0)
    return config_of(
        TaggingOptions,
        **{
            "model": model,
            "train": str(train),
            "valid": str(train),
            "out": out,
            "training": training,
        }
        | settings
        | changes,
    )


def fitted(path: Path, crf: bool = False) -> Tagging:
    examples = [Tagging.read(row) for row in Tagging.rows(path)]
    return Tagging.fit(config(Path("model"), path, Path("out"), crf=crf), examples)


def test_both_formats_give_the_same_sentences(tmp_path):
    words, tags = ["EU", "rejects"], ["B-ORG", "O"]
    write_text(tmp_path / "a.conll", "-DOCSTART- O\n\nEU B-ORG\nrejects O\n")
    written(tmp_path / "a.jsonl", {"words": words, "tags": tags})
    (column,) = map(Tagging.read, Tagging.rows(tmp_path / "a.conll"))
    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    line, same = (next(map(Tagging.read, Tagging.rows(p))) for p in (tmp_path / "a.jsonl", packed))
    assert (same.words, same.tags) == (line.words, line.tags)
    assert (column.words, column.tags, column.text) == (line.words, line.tags, "EU rejects")
    assert [column.source_of(n)[-2:] for n in (0, 1)] == [":3", ":4"]
    assert [line.source_of(n)[-2:] for n in (0, 1)] == [":1", ":1"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"words": ["a", "b"], "tags": ["O"]}, r"a.jsonl:1: 1 tag for 2 words"),
        ({"words": "a b", "tags": ["O"]}, r"a.jsonl:1: column 'words' is not a list of texts"),
        ({"words": ["a"], "tags": [["O"]]}, r"a.jsonl:1: column 'tags' is not a list of texts"),
        ({"words": ["a"]}, r"a.jsonl:1: no column 'tags'"),
        ({"text": "a", "label": "b"}, r"a.jsonl:1: no column 'words'; columns: text, label"),
        ({"words": [], "tags": []}, r"a.jsonl:1: there are no words"),
        ({"words": ["a"], "tags": [" "]}, r"a.jsonl:1: the tag of 'a' is empty"),
        ({"words": ["a"], "tags": ["O"]}, r"a.jsonl: every word has the tag 'O'"),
    ],
)
def test_a_row_at_fault_is_named(tmp_path, row, message):
    with pytest.raises(UserError, match=message):
        fitted(written(tmp_path / "a.jsonl", row))


def test_a_tag_outside_the_scheme_is_named_by_its_own_line(tmp_path):
    write_text(tmp_path / "a.txt", "EU B-ORG\nof O\n\nPeter B-PER\nBlackburn PER-I\n")
    with pytest.raises(UserError, match=r"a.txt:5: the tag 'PER-I' of 'Blackburn' is not of the"):
        fitted(tmp_path / "a.txt")
    path = tmp_path / "b.jsonl"
    written(path, {"words": ["EU"], "tags": ["B-ORG"]}, {"words": ["a", "b"], "tags": ["O", "NN"]})
    with pytest.raises(UserError, match=r"b.jsonl:2: the tag 'NN' of 'b' is not of the form O, B-"):
        fitted(path)


def test_types_that_training_has_not_seen_are_refused_but_plain_labels_count_as_mistakes(tmp_path):
    known = fitted(written(tmp_path / "a.jsonl", {"words": ["EU", "a"], "tags": ["S-ORG", "O"]}))
    assert known.labels == ("O", "B-ORG", "I-ORG") and known.decoding == "legal"
    other = sentence(["x", "Peter"], ["O", "I-PER"])
    with pytest.raises(UserError, match=r"f:1: the tag 'I-PER' of 'Peter' is not among .* I-ORG"):
        known.encode(other, TOKENIZERS["bpe"])
    plain = fitted(written(tmp_path / "b.jsonl", {"words": ["a", "("], "tags": ["NN", "-LRB-"]}))
    assert plain.labels == ("-LRB-", "NN") and plain.decoding == "each"
    (targets,) = plain.encode(sentence(["a", "b"], ["NN", "SYM"]), TOKENIZERS["wordpiece"]).targets
    assert np.unique(targets).tolist() == [IGNORED, 1]
    with pytest.raises(
        UserError, match=r"b.jsonl: the tags are no entities, for which crf is made"
    ):
        fitted(tmp_path / "b.jsonl", crf=True)


def test_raw_text_is_split_and_words_are_taken_as_they_are():
    from plainformer.finetune.data.rows import as_rows

    raw, given = (
        Tagging.read(row, labelled=False)
        for row in as_rows(["Herr Müller, 我!", {"words": ["Herr", "Müller"], "tags": ["?"]}])
    )
    assert raw.words == ("Herr", "Müller", ",", "我", "!") and raw.text == "Herr Müller, 我!"
    assert given.words == ("Herr", "Müller") and given.tags is None


def test_words_beside_a_text_are_looked_up_in_it():
    def read(text: str, words: list[str]) -> Sentence:
        return Tagging.read(Row({"text": text, "words": words}, Path("f"), 1), labelled=False)

    text = "«I  met Ada», said Ada."
    words = ["I", "met", "Ada", "Ada", "."]
    found = read(text, words)
    assert found.text == text and [text[a:b] for a, b in found.offsets] == words
    assert found.offsets[2:4] == ((8, 11), (19, 22))
    with pytest.raises(UserError, match=r"f:1: word 2, 'Ada', is not in the text after those bef"):
        read("Ada met me", ["met", "Ada"])
    assert read(" ", ["Ada"]).text == "Ada"


# Learning


def learnable(path: Path, count: int, seed: int, scheme: str = "{}") -> Path:
    """The colour and the animal are one entity, a bird or a beast; the food one of its own."""
    rows = []
    for text in tiny.sentences(count, seed):
        kind = "BIRD" if text.split()[2] in ("hen", "owl") else "BEAST"
        tags = ["O", f"B-{kind}", f"I-{kind}", "O", "O", "O", "B-FOOD", "O"]
        rows.append({"words": text.split(), "tags": tags})
    random.Random(seed).shuffle(rows)
    return written(path, *rows)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tagging")
    learnable(folder / "train.jsonl", 100, 0)
    return learnable(folder / "test.jsonl", 40, 1).parent


@pytest.fixture(scope="module", params=["legal", "crf"])
def trained(request, one_thread, models, data, tmp_path_factory) -> FinetuneConfig:
    out = tmp_path_factory.mktemp("runs") / request.param
    crf = request.param == "crf"
    settings = config(models["modern"], data / "train.jsonl", out, crf=crf, epochs=5.0)
    finetune(settings, quiet=True)
    return settings


def test_entities_are_learned_and_found_in_raw_text(trained, data):
    assert evaluate_folder(trained.out, str(data / "test.jsonl")).metric.scores()["f1"] > 0.95
    predictor = Predictor.load(trained.out)
    text = "the  red hen pecks\nthe red corn ."
    answer, from_words, empty = predictor([text, {"words": text.split()}, " "])
    bird, food = answer.entities
    assert (bird.type, bird.text, bird.words) == ("BIRD", "red hen", (1, 3))
    assert text[slice(*bird.characters)] == "red hen" and bird.characters == (5, 12)
    assert (food.type, text[slice(*food.characters)]) == ("FOOD", "corn")
    assert from_words.tags == answer.tags and from_words.entities[0].characters == (4, 11)
    assert (empty.words, empty.tags, empty.entities) == ((), (), ())
    shown = json.loads(json.dumps(answer.to_json()))
    assert shown["tags"][:3] == ["O", "B-BIRD", "I-BIRD"]
    assert shown["entities"][0].keys() == {"type", "text", "words", "characters", "score"}
    assert 0.5 < shown["entities"][0]["score"] <= 1


def test_a_batch_says_what_its_sentences_say(trained):
    predictor = Predictor.load(trained.out)
    texts = [*tiny.sentences(20, seed=9), "", "the", " ".join(tiny.sentences(5)), "猫 ☕ \u200b"]
    for text, answer in zip(texts, predictor(texts), strict=True):
        (alone,) = predictor([text])
        assert alone.tags == answer.tags
        assert alone.scores == pytest.approx(answer.scores, abs=1e-4)


def test_transformers_opens_the_folder_and_sees_the_same(trained, data):
    from transformers import AutoModelForTokenClassification

    theirs = AutoModelForTokenClassification.from_pretrained(trained.out).eval()
    predictor = Predictor.load(trained.out)
    assert tuple(theirs.config.id2label.values()) == predictor.task.labels
    item = predictor.task.encode(
        sentence(["the", "red", "hen", "pecks"], None), predictor.tokenizer
    )
    batch = Batch.of([item])
    with torch.no_grad():
        logits = theirs(batch.input_ids[None]).logits[0]
        ours = predictor.task.outputs(predictor.model, batch)
    torch.testing.assert_close(ours.logits, logits[ours.places], atol=1e-4, rtol=1e-4)


def test_a_resumed_run_is_the_run_that_was_not_stopped(models, data, tmp_path):
    """One loses its newest checkpoints and goes on: the same weights, the chain among them."""
    changes = {"crf": True, "epochs": 2.0, "batch_size": 50}
    stops = LoopConfig(learning_rate=1e-2, eval_every=2, checkpoint_every=1, keep=9)
    runs = [
        config(models["bert"], data / "train.jsonl", tmp_path / name, training=stops, **changes)
        for name in ("whole", "resumed")
    ]
    for run in runs:
        finetune(run, quiet=True)
    checkpoints = runs[1].out / "checkpoints"
    for newer in sorted(checkpoints.glob("step-*"))[1:]:
        for file in newer.iterdir():
            file.unlink()
        newer.rmdir()
    finetune(replace(runs[1], resume=True), quiet=True)
    whole, resumed = (Predictor.load(run.out).model.state_dict() for run in runs)
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())
    assert whole["crf.start"].any()


def test_from_scratch_the_chain_begins_at_nothing(models, data, tmp_path):
    settings = config(models["bert"], data / "train.jsonl", tmp_path, crf=True, from_scratch=True)
    model = build(fitted(data / "train.jsonl", crf=True), settings)
    assert isinstance(model, ChainTagger)
    assert all(not parameter.any() for parameter in model.crf.parameters())


def test_parts_of_speech_are_learned_by_accuracy(models, tmp_path):
    tags = ["DT", "JJ", "NN", "VBZ", "DT", "JJ", "NN", "."]
    path = written(
        tmp_path / "pos.jsonl", *({"words": t.split(), "tags": tags} for t in tiny.sentences(100))
    )
    settings = config(models["modern"], path, tmp_path / "out", overflow="windows", max_length=10)
    scores = finetune(settings, quiet=True).metric.scores()
    assert next(iter(scores)) == "accuracy" and scores["accuracy"] > 0.99
    (answer,) = Predictor.load(settings.out)(["the red hen"])
    assert answer.tags == ("DT", "JJ", "NN") and "entities" not in answer.to_json()


# Models from elsewhere


@pytest.mark.parametrize(
    "labels", [("O", "I-PER", "B-PER", "I-LOC"), ("B-PER", "I-PER", "E-PER", "S-PER", "S-LOC", "O")]
)
def test_a_foreign_folder_is_read_by_its_own_labels(labels, tokenizer, tmp_path):
    """IOB1 without a B-LOC, or BIOES: every word gets the tag that is the most probable."""
    torch.manual_seed(1)
    TokenClassifier(tiny.shape("bert", tokenizer), labels).save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    reader = load_task(tmp_path)
    assert reader == Tagging(labels=labels, decoding="each", max_length=64, overflow="windows")
    predictor = Predictor.load(tmp_path)
    texts = [*tiny.sentences(10), " ".join(tiny.sentences(20))]
    for text, answer in zip(texts, predictor(texts), strict=True):
        assert len(answer.tags) == len(text.split())
        item = reader.encode(Tagging.read(_row(text), labelled=False), tokenizer)
        outputs = reader.outputs(predictor.model, Batch.of([item]))
        tags = [labels[n] for n in outputs.logits.argmax(-1).tolist()]
        assert spans(answer.tags) == spans(tags)
        chances = outputs.logits.softmax(-1).amax(-1)
        assert answer.scores == pytest.approx(chances.tolist(), abs=1e-5)
    path = written(tmp_path / "a.jsonl", {"words": ["a", "b"], "tags": ["B-LOC", "O"]})
    assert evaluate_folder(tmp_path, str(path)).metric.count == 1


@pytest.mark.parametrize(("head", "prefixed"), [("MaskedLM", True), ("TokenClassification", False)])
def test_a_tagger_of_roberta_is_learned_with_words_behind_a_space(head, prefixed, tmp_path):
    """As with `transformers`, which wants `add_prefix_space`; a tagger reads as it has learned."""
    FAMILIES["roberta"]().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "roberta", "architectures": [f"RobertaFor{head}"]})
    )
    tokenizer = Tagging.foreign(("O", "B-X"), 16).tokenizer(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path, add_prefix_space=prefixed)
    words = ["the", "encoder", "house"]
    ids = tokenizer.template.encode(tokenizer.word_tokens(words), None).ids
    assert ids == theirs(words, is_split_into_words=True)["input_ids"]
    assert (ids == theirs("the encoder house")["input_ids"]) is prefixed


def _row(text: str):
    from plainformer.finetune.data.rows import as_rows

    (row,) = as_rows([text])
    return row
