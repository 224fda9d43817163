"""Answers over HTTP are those of `Predictor` and `Embedder`, for each client its own."""

import base64
import json
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from plainformer.deploy.server import create_app, load_models
from plainformer.finetune import Embedder, Predictor
from plainformer.finetune.prediction.outputs import answer
from plainformer.tokenizer import load_tokenizer
from tests.deploy.server.conftest import WEB, served
from tests.pretrain import tiny

TEXTS = [*tiny.sentences(4), "", "猫\x00\x07\u200b hen", "hen " * 40]


def close(found, wanted):
    """The same JSON, but for the last digits: a batch of other texts sums in another order."""
    if isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for name in wanted:
            close(found[name], wanted[name])
    elif isinstance(wanted, list):
        assert len(found) == len(wanted)
        for pair in zip(found, wanted, strict=True):
            close(*pair)
    else:
        is_number = isinstance(wanted, float)
        assert found == (pytest.approx(wanted, abs=2e-5) if is_number else wanted)


def printed(predictor, inputs):
    """What `plainformer predict` prints for these inputs."""
    from plainformer.finetune.data.rows import as_rows

    found = predictor.predict_rows(as_rows(inputs))
    return [json.loads(json.dumps(answer(row, prediction))) for row, _, prediction in found]


PAIRS = [*TEXTS[:4], ["the red hen", "a blue owl"], {"text": "cat", "id": 7, "score": None}]
OPTIONS = [{"text": text, "options": TEXTS[n + 1 : 4]} for n, text in enumerate(TEXTS[:2])]
LINKED = [{"text": "the red hen pecks the blue owl", "head": [8, 11], "tail": [27, 30]}]
INPUTS = {
    "labels": PAIRS,
    "topics": PAIRS,
    "links": LINKED,
    "words": TEXTS[:6],
    "score": PAIRS,
    "choice": OPTIONS,
    "entities": ["the red hen .", {"words": ["the", "hen"]}, "", "the hen"],
    "vectors": [*TEXTS[:3], ["the red hen", "a blue owl"]],
}


@pytest.mark.parametrize("name", INPUTS)
def test_predictions_are_those_of_the_predictor(post, runs, name):
    said = post("/predict", inputs=INPUTS[name], model=name)
    assert said["model"] == name
    close(said["predictions"], printed(Predictor.load(runs[name]), INPUTS[name]))


def test_an_answer_has_its_place_in_the_passage(post, runs):
    rows = [
        {"question": "who pecks?", "context": " ".join(tiny.sentences(count, 3))}
        for count in (1, 6)  # one of several windows
    ]
    said = post("/predict", inputs=rows, model="answers")["predictions"]
    close(said, printed(Predictor.load(runs["answers"]), rows))
    assert said[1]["answer"] == rows[1]["context"][said[1]["start"] : said[1]["end"]]


def test_entities_have_offsets_in_texts_of_any_length(post, runs):
    """A tagger that was trained on cut texts reads all of a long one, in windows."""
    short, long = "the red hen .", "the red hen pecks .  " * 30
    cut = printed(Predictor.load(runs["entities"]), [short, long])
    whole = post("/predict", inputs=[short, long], model="entities")["predictions"]
    close(whole[0], cut[0])
    assert cut[1]["scores"][-1] == 0 < min(whole[1]["scores"])
    for entity in whole[1]["entities"]:
        start, end = entity["characters"]
        assert long[start:end] == entity["text"]
    assert max(entity["characters"][1] for entity in whole[1]["entities"]) > len(long) / 2


def test_vectors_are_those_of_the_embedder(post, models):
    texts = [text for text in TEXTS if text]
    wanted = Embedder.load(models["bert"])(texts)
    assert np.allclose(post("/embed", inputs=texts, model="bert"), wanted, atol=1e-6)
    assert np.allclose(post("/embed", inputs=texts[0], model="bert"), wanted[:1], atol=1e-6)

    said = post("/v1/embeddings", input=texts, model="bert", user="me")
    assert (said["object"], said["model"]) == ("list", "bert")
    assert [each["index"] for each in said["data"]] == list(range(len(texts)))
    assert np.allclose([each["embedding"] for each in said["data"]], wanted, atol=1e-6)
    asked = {"input": texts, "model": "bert", "encoding_format": "base64", "dimensions": 32}
    coded = post("/v1/embeddings", **asked)  # as OpenAI's client asks, and decodes it
    for each, vector in zip(coded["data"], wanted, strict=True):
        found = np.frombuffer(base64.b64decode(each["embedding"]), dtype="float32")
        assert np.allclose(found, vector, atol=1e-6)
    all_tokens = post("/tokenize", inputs=texts, model="bert")
    tokens = sum(min(len(some), 64) for some in all_tokens)  # the last text is cut
    assert coded["usage"]["prompt_tokens"] == said["usage"]["total_tokens"] == tokens


def test_texts_are_ranked(post, runs, models):
    query, *texts = tiny.sentences(5, 9)
    vectors = Embedder.load(models["bert"])([query, *texts])
    inputs = {"source_sentence": query, "sentences": texts}
    cosines = post("/similarity", inputs=inputs, model="bert")
    assert np.allclose(cosines, vectors[1:] @ vectors[0], atol=1e-6)
    said = post("/rerank", query=query, texts=texts, model="bert", return_text=True)
    assert [each["index"] for each in said] == sorted(range(4), key=lambda i: -cosines[i])
    assert all(each["text"] == texts[each["index"]] for each in said)

    pairs = Predictor.load(runs["score"])([(query, text) for text in texts])
    said = post("/rerank", query=query, texts=texts, model="score")
    assert [each["score"] for each in said] == sorted((e["score"] for e in said), reverse=True)
    for each in said:
        assert set(each) == {"index", "score"}
        assert each["score"] == pytest.approx(pairs[each["index"]].score, abs=1e-5)


def test_tokens_have_their_places(post, runs):
    text, tokenizer = "the hen, 猫", load_tokenizer(runs["labels"])
    (said,) = post("/tokenize", inputs=text)
    encoding = tokenizer.encode(text)
    assert [token["id"] for token in said] == encoding.ids
    assert all(t["text"] == text[t["start"] : t["stop"]] for t in said if not t["special"])
    (plain,) = post("/tokenize", inputs=[text], add_special_tokens=False)
    assert plain == said[1:-1]


def test_what_is_served_is_described(address, runs):
    info = WEB.get(f"{address}/info").json()
    assert [one["name"] for one in info["models"]] == [*runs, "bert"]
    assert info["models"][0]["labels"] == ["beast", "bird", "fish"]
    assert info["max_client_batch_size"] == 8
    assert WEB.get(f"{address}/health").status_code == 200
    page = WEB.get(f"{address}/openapi.json").json()
    assert {"/predict", "/embed", "/v1/embeddings", "/rerank", "/metrics"} <= page["paths"].keys()
    assert WEB.get(f"{address}/docs").status_code == 404  # it would load scripts from elsewhere


def test_each_client_gets_its_own_answers_and_the_metrics_add_up(runs):
    """Random texts of many clients at once, some of them faulty."""
    rng = random.Random(0)
    texts = [
        " ".join(rng.choices(tiny.ANIMALS + tiny.FOOD, k=rng.randint(1, 12))) for _ in "x" * 60
    ]
    wanted = Predictor.load(runs["labels"])(texts)
    expected = {text: one.probabilities for text, one in zip(texts, wanted, strict=True)}
    models = load_models([runs["labels"]])
    with served(models) as address:

        def ask(number: int) -> int:
            mine = random.Random(number).choices(texts, k=number % 4 + 1)
            faulty = number % 8 == 7
            body = {"inputs": [*mine, {"id": 1}] if faulty else mine}
            answer = WEB.post(f"{address}/predict", json=body)
            if faulty:
                assert answer.status_code == 422 and "no column 'text'" in answer.text
                return 0
            said = answer.json()["predictions"]
            assert [one["text"] for one in said] == mine
            for one in said:
                assert one["probabilities"] == pytest.approx(expected[one["text"]], abs=2e-5)
            return len(mine)

        with ThreadPoolExecutor(8) as pool:
            count = sum(pool.map(ask, range(80)))
        lines = WEB.get(f"{address}/metrics").text.splitlines()
    numbers = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    route = 'route="/predict"'
    assert float(numbers[f"te_request_count{{{route}}}"]) == 80
    assert float(numbers[f"te_request_success{{{route}}}"]) == 70
    assert float(numbers[f'te_request_failure{{err="invalid",{route}}}']) == 10
    assert float(numbers["te_request_duration_count"]) == 70
    assert float(numbers["te_batch_next_size_sum"]) == count
    assert float(numbers["te_batch_next_size_count"]) < 70  # some shared a batch
    assert float(numbers['te_queue_size{model="labels"}']) == 0


def test_it_can_be_mounted_in_another_application(runs):
    models = load_models([runs["labels"]])
    whole = FastAPI()
    whole.mount("/inner", create_app(models))
    with TestClient(whole) as client:
        text = "the red hen"
        found = client.post("/inner/predict", json={"inputs": [text]})
        assert found.status_code == 200, found.text
        assert client.get("/inner/info").status_code == 200
    models.close()
