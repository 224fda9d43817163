"""Sentence vectors that are learned: losses written out, ranks by brute force, the folder opens."""

import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plainformer.base import UserError
from plainformer.corpora import Row
from plainformer.encoder import SentenceEncoder
from plainformer.finetune import (
    Embedder,
    FinetuneConfig,
    Predictor,
    SentenceEmbeddingOptions,
    evaluate_folder,
    finetune,
    read_examples,
)
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.metrics import NumberMetric, RetrievalMetric, retrieval
from plainformer.finetune.tasks.sentence_embedding import (
    SentenceEmbedding,
    SentenceExample,
    SentencePrediction,
)
from plainformer.training import LoopConfig
from tests.encoder.tools import randomise
from tests.finetune.conftest import config_of
from tests.pretrain import tiny

PAIRS = SentenceEmbedding(max_length=32, scale=None)
SCORED = SentenceEmbedding(max_length=32, scale=(1.0, 5.0))


def read(labelled: bool = True, **fields) -> SentenceExample:
    return SentenceEmbedding.read(Row(fields, Path("f.jsonl"), 3), labelled)


def config(folder: Path, **changes) -> FinetuneConfig:
    given_ = {"model": folder, "train": "t", "valid": "v", "out": folder / "run"}
    task = {"max_length": 32}
    return config_of(SentenceEmbeddingOptions, **{**given_, **task, **changes})


@pytest.fixture(scope="module", params=["bert", "modern"])
def model(request, models) -> SentenceEncoder:
    return randomise(SentenceEncoder.from_pretrained(models[request.param]))


def by_hand(model: SentenceEncoder, tokenizer, text: str) -> torch.Tensor:
    """One text at a time, in float64."""
    states = model.encoder(**tokenizer.batch([text])).last_hidden_state[0].double()
    mean = states.mean(0)
    return mean / mean.dot(mean).sqrt()


def test_the_loss_of_scored_pairs_is_the_squared_error_of_the_cosine(tokenizer, model):
    texts = tiny.sentences(8)
    some = [
        read(text=a, pair=b, score=score)
        for a, b, score in zip(texts[:4], texts[4:], [1, 5, 2.5, "4"], strict=True)
    ]
    with torch.no_grad():
        batch = Batch.of([SCORED.encode(e, tokenizer) for e in some])
        loss = SCORED.loss(SCORED.outputs(model, batch), batch)
        wanted = 0.0
        for e, target in zip(some, [0, 1, 0.375, 0.75], strict=True):
            cosine = by_hand(model, tokenizer, e.text) @ by_hand(model, tokenizer, e.pair)
            wanted += (cosine.item() - target) ** 2
    assert loss.items == 4
    assert loss.total.item() == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("negatives", [[], [0, 1, 2, 3], [1, 3]])
def test_the_loss_of_pairs_is_that_of_ranking_all_candidates(tokenizer, model, negatives):
    """Of text i: −log of exp(20 cos(i, pair i)) over the sum for all pairs and all negatives."""
    texts = tiny.sentences(12)
    some = [
        read(text=texts[i], pair=texts[4 + i], negative=texts[8 + i] if i in negatives else None)
        for i in range(4)
    ]
    with torch.no_grad():
        batch = Batch.of([PAIRS.encode(e, tokenizer) for e in some])
        loss = PAIRS.loss(PAIRS.outputs(model, batch), batch)
        candidates = [e.pair for e in some] + [e.negative for e in some if e.negative]
        total, right = 0.0, 0
        for i, e in enumerate(some):
            a = by_hand(model, tokenizer, e.text)
            scores = [20 * (a @ by_hand(model, tokenizer, c)).item() for c in candidates]
            total += math.log(sum(map(math.exp, scores))) - scores[i]
            right += scores[i] == max(scores)
    assert len(candidates) == 4 + len(negatives)
    assert loss.items == 4 and int(loss.metrics["accuracy"]) == right
    assert loss.total.item() == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize("task", [PAIRS, SCORED])
def test_the_gradient_reaches_the_encoder(tokenizer, models, task):
    model = SentenceEncoder.from_pretrained(models["modern"])
    score = None if task is PAIRS else 3
    some = [read(text=t, pair=t[:20], score=score) for t in tiny.sentences(4)]
    batch = Batch.of([task.encode(e, tokenizer) for e in some])
    task.loss(task.outputs(model, batch), batch).total.backward()
    grads = [p.grad for p in model.parameters()]
    assert all(g is not None and g.isfinite().all() for g in grads)
    assert sum(float(g.abs().sum()) for g in grads) > 0


def test_vectors_are_those_of_the_embedder(tokenizer, models):
    embedder = Embedder.load(models["bert"])
    texts = [*tiny.sentences(5), "the", ""]
    items = [SCORED.encode(read(False, text=t), tokenizer) for t in texts]
    with torch.no_grad():
        batch = Batch.of(items)
        said = SCORED.predict(SCORED.outputs(embedder.model, batch), batch)
    np.testing.assert_allclose(
        np.concatenate([s.vectors for s in said]), embedder(texts), atol=1e-6
    )
    assert [len(s.to_json()["vector"]) for s in said] == [32] * 7


def test_a_prediction_is_small():
    vectors = np.array([[1, 0], [0.6, 0.8]], np.float32)
    assert SentencePrediction(vectors[:1], None).to_json() == {"vector": [1.0, 0.0]}
    said = SentencePrediction(vectors, None)
    assert said.to_json() == {"cosine": pytest.approx(0.6)}
    assert said.vectors.shape == (2, 2)
    scored = SentencePrediction(vectors, (1.0, 5.0)).to_json()
    assert scored == {"cosine": pytest.approx(0.6), "score": pytest.approx(3.4)}


def found(pairs, vectors) -> RetrievalMetric:
    metric = RetrievalMetric()
    for number, (pair, two) in enumerate(zip(pairs, vectors, strict=True)):
        metric.add(SentencePrediction(two, None).directions, f"t{number}", pair, f"f:{number}")
    return metric


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7), st.integers(0, 7)), max_size=25),
    st.integers(2, 9),
)
def test_ranks_are_those_of_brute_force(rows, block):
    """Blocks one by one; what is left looks among the last of all. Directions are few: ties."""
    rows = [(f"p{name}", a, b) for a, b, name in rows]
    angles = np.arange(8) * math.pi / 8
    circle = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    vectors = [circle[[a, b]] for _, a, b in rows]
    before, retrieval.BLOCK = retrieval.BLOCK, block
    try:
        scores = found([name for name, _, _ in rows], vectors).scores()
    finally:
        retrieval.BLOCK = before
    ranks = []
    for i, (name, a, b) in enumerate(rows):
        end = min(len(rows), (i // block + 1) * block)
        candidates = rows[max(0, end - block) : end]
        nearer = [
            c
            for n, _, c in candidates
            if n != name and circle[a] @ circle[c] >= circle[a] @ circle[b] - 1e-6
        ]
        ranks.append(1 + len(nearer))
    share = len(ranks) or 1
    assert scores == {
        "recall@1": pytest.approx(sum(r <= 1 for r in ranks) / share),
        "recall@5": pytest.approx(sum(r <= 5 for r in ranks) / share),
        "recall@10": pytest.approx(sum(r <= 10 for r in ranks) / share),
        "mrr": pytest.approx(sum(1 / r for r in ranks) / share),
    }


def test_a_model_that_says_the_same_of_all_finds_nothing():
    rng = np.random.default_rng(0)
    one = rng.normal(size=(1, 16)).astype(np.float32).repeat(2, 0)
    one /= np.linalg.norm(one[0])
    metric = found([f"p{i}" for i in range(50)], [one] * 50)
    assert metric.scores()["recall@1"] == 0 and metric.scores()["mrr"] == pytest.approx(1 / 50)
    assert found(["p"] * 50, [one] * 50).scores()["recall@1"] == 1
    assert len(metric.mistakes) == 20 and metric.count == 50


def test_a_mistake_names_what_was_taken():
    vectors = [np.eye(3, dtype=np.float32)[[0, 1]], np.eye(3, dtype=np.float32)[[2, 0]]]
    (mistake, other) = found(["p0", "p1"], vectors).mistakes
    assert (mistake.text, mistake.true, mistake.predicted) == ("t0", "p0", "p1")
    assert mistake.score == 1 and mistake.source == "f:0" and other.text == "t1"


def test_it_does_not_grow():
    metric = RetrievalMetric()
    two = np.eye(2, dtype=np.float32)
    for number in range(2500):
        metric.add(two, f"t{number}", f"p{number}")
    assert len(metric._recent) == retrieval.BLOCK == 1000


def test_scores_of_the_training_examples_are_the_scale(tmp_path):
    some = [read(text="a", pair="b", score=s) for s in (3, -1, 0.5)]
    task = SentenceEmbedding.fit(config(tmp_path), some)
    assert task.scale == (-1.0, 3.0) and task.monitor == "spearman"
    assert isinstance(task.metric(), NumberMetric)
    task = SentenceEmbedding.fit(config(tmp_path), [read(text="a", pair="b")] * 2)
    assert task.scale is None and task.monitor == "recall@1"


@pytest.mark.parametrize(
    ("scores", "changes", "fault"),
    [
        ([1, None], {}, "f.jsonl:3: no score, where training examples have one"),
        ([2, 2], {}, "f.jsonl: every pair has the score 2.0: nothing to learn"),
        ([None], {}, "in-batch negatives need at least two pairs"),
        ([None, None], {"batch_size": 1}, "at least two pairs"),
    ],
)
def test_what_cannot_be_learned_is_refused(tmp_path, scores, changes, fault):
    some = [read(text="a", pair="b", score=s) for s in scores]
    with pytest.raises(UserError, match=fault):
        SentenceEmbedding.fit(config(tmp_path, **changes), some)


def test_held_out_pairs_are_of_the_same_kind(tokenizer):
    with pytest.raises(UserError, match=r"f\.jsonl:3: no score, where training examples have one"):
        SCORED.encode(read(text="a", pair="b"), tokenizer)
    with pytest.raises(UserError, match=r"f\.jsonl:3: a score, but the model knows no scale"):
        PAIRS.encode(read(text="a", pair="b", score=1), tokenizer)
    for task in (SCORED, PAIRS):
        item = task.encode(read(False, text="a", pair="b", score="?"), tokenizer)
        assert len(item.encodings) == 2 and item.targets == ()


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"pair": None}, "no value in column 'pair'"),
        ({"text": " "}, "the text is empty"),
        ({"pair": ""}, "the pair is empty"),
        ({"negative": " "}, "the negative is empty"),
        ({"score": "high"}, "no finite number"),
        ({"score": math.inf}, "no finite number"),
        ({"score": 1, "negative": "c"}, "a score or a negative, not both"),
    ],
)
def test_a_fault_is_named_by_file_and_line(fields, fault):
    with pytest.raises(UserError, match=rf"f\.jsonl:3: .*{fault}"):
        read(**{"text": "a", "pair": "b", **fields})


@pytest.mark.parametrize(
    ("given", "negative", "score"),
    [
        ("a,b,,", None, None),
        ("a,b,c,", "c", None),
        ("a,b,,0.5", None, 0.5),
        ("a,b,,NA", None, None),
        ('a,b,"NA",', "NA", None),
    ],
)
def test_a_cell_may_stay_open(tmp_path, given, negative, score):
    path = tmp_path / "f.csv"
    path.write_text(f"text,pair,negative,score\n{given}\n")
    (found,) = read_examples(SentenceEmbedding, str(path), "train")
    assert (found.pair, found.negative, found.score) == ("b", negative, score)


@pytest.mark.parametrize("given", ["a,b,NA", "a,NA,c"])
def test_a_bare_NA_is_no_text_that_may_stay_open(tmp_path, given):
    path = tmp_path / "f.csv"
    path.write_text(f"text,pair,negative\n{given}\n")
    with pytest.raises(UserError, match=r"f\.csv:2: NA in column .* may be a missing value:"):
        list(read_examples(SentenceEmbedding, str(path), "train"))


@pytest.mark.parametrize("missing", [math.nan, None])
def test_what_is_missing_in_json_is_open(missing):
    found = read(text="a", pair="b", score=missing, negative=missing)
    assert (found.score, found.negative) == (None, None)


def write(path: Path, count: int, seed: int, scored: bool) -> str:
    """An animal belongs to what it eats, and to nothing else; no word says so."""
    rng = random.Random(seed)
    with path.open("w") as file:
        for number in range(count):
            a = number % 8
            b = rng.randrange(8) if scored and rng.random() < 0.5 else a
            row = {"text": f"the {tiny.ANIMALS[a]} .", "pair": f"{tiny.FOOD[b]} ."}
            if scored:
                row["score"] = 5 if a == b else 1
            elif rng.random() < 0.3:
                row["negative"] = tiny.FOOD[(a + 1) % 8]
            file.write(json.dumps(row) + "\n")
    return str(path)


@pytest.mark.parametrize("scored", [False, True])
def test_it_is_learned_and_the_folder_opens_everywhere(models, tmp_path, scored):
    from transformers import AutoModel, AutoTokenizer

    train = write(tmp_path / "train.jsonl", 128, 0, scored)
    valid = write(tmp_path / "valid.jsonl", 32 if scored else 8, 1, scored)
    settings_ = config(
        models["bert"],
        train=train,
        valid=valid,
        out=tmp_path / "run",
        epochs=4,
        batch_size=16,
        max_length=16,
        training=LoopConfig(learning_rate=5e-3, eval_every=0, checkpoint_every=0),
    )
    outcome = finetune(settings_, quiet=True)
    assert outcome.score > 0.7, outcome.metric.scores()
    evaluated = evaluate_folder(settings_.out, valid).metric.scores()
    assert evaluated == outcome.metric.scores()

    texts = [json.loads(line)["text"] for line in Path(valid).read_text().splitlines()][:6]
    embedder = Embedder.load(settings_.out)
    assert embedder.max_length == 16
    predictor = Predictor.load(settings_.out)
    said = np.concatenate([p.vectors for p in predictor(texts)])
    np.testing.assert_allclose(said, embedder(texts), atol=1e-6)
    (pair,) = predictor([(texts[0], texts[1])])
    assert pair.cosine == pytest.approx(float(said[0] @ said[1]), abs=1e-5)

    theirs = AutoModel.from_pretrained(settings_.out).eval()
    tokenizer = AutoTokenizer.from_pretrained(settings_.out)
    with torch.no_grad():
        for text, vector in zip(texts, said, strict=True):
            mean = theirs(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0)
            np.testing.assert_allclose(vector, (mean / mean.norm()).numpy(), atol=1e-4)
