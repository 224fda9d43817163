"""What is wrong, too much or too slow is refused with a reason, and harms no other request."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from plainformer.base import UserError
from plainformer.deploy.server import Limits, load_models
from plainformer.deploy.server.guard import Guard
from plainformer.deploy.server.metrics import Metrics
from plainformer.deploy.server.run import listen
from plainformer.finetune import Predictor
from tests.deploy.server.conftest import WEB, served
from tests.plainformer.conftest import start
from tests.pretrain import tiny

ROUTE = "/predict"
FINE = {"inputs": ["the red hen"]}


@pytest.fixture
def refused(address):
    """Post a body; return status, type and message of the error."""

    def ask(body, route=ROUTE, **headers):
        content = body if isinstance(body, bytes) else json.dumps(body)
        headers = {"content-type": "application/json", **headers}
        said = WEB.post(address + route, content=content, headers=headers)
        error = said.json()["error"]
        assert set(error) == {"message", "type"} and len(error["message"]) < 400
        return said.status_code, error["type"], error["message"]

    yield ask
    assert WEB.post(address + ROUTE, json=FINE).status_code == 200


def test_bodies_that_are_not_read(refused, address):
    for body, reason in [
        (b"", "JSON object"),
        (b"[]", "JSON object"),
        (b"{}", "the field inputs is missing"),
        (b'{"inputs": []}', "inputs: List should have at least 1 item"),
        (b'{"inputs": [3]}', "inputs.0 has a form that is not among those"),
        (b'{"inputs": ["a", ["a", "b", "c"]]}', "inputs.1 has a form"),
        (b'{"inputs": ["a"], "model": 3}', "model: Input should be a valid string"),
        (b'{"inputs": ["a"], "truncate": true}', "there is no field truncate"),
        (b'{"inputs": [{"txt": "a"}]}', "no column 'text'"),
        (b'{"inputs": [{"text": ["a"]}]}', "is not one text"),
    ]:
        status, kind, message = refused(body)
        assert (status, kind) == (422, "invalid") and reason in message, message
    for body in (
        b'{"inputs": ["a"}',
        b'{"inputs": ["\xff"]}',
        b'{"inputs": ["\\ud800"]}',
        b'{"inputs": ["a\x00b"]}',
        b'{"inputs": [' + b"[" * 5000 + b"]" * 5000 + b"]}",
        b'{"inputs": [' + b"1" * 5000 + b"]}",
    ):
        status, kind, message = refused(body)
        assert (status, kind) == (400, "bad_request") and message.startswith("the body: "), message
    assert refused(json.dumps(FINE).encode(), **{"content-type": "text/plain"})[0] == 422
    assert refused({**FINE, "model": "lables"})[2] == (
        "there is no model 'lables'; did you mean labels?"
    )
    assert refused(FINE, route="/nowhere")[:2] == (404, "not_found")
    assert WEB.get(address + ROUTE).json()["error"]["type"] == "wrong_method"
    said = WEB.post(address + ROUTE, json={"inputs": ["a\x00\x1b[31m\u202eb\n"]})
    assert said.json()["predictions"][0]["text"] == "a\x00\x1b[31m\u202eb\n"


def test_what_a_model_is_not_for(refused):
    assert "fine-tuned for no task" in refused({**FINE, "model": "bert"})[2]
    assert (
        "this model is for classification"
        in refused({"inputs": "a", "model": "labels"}, route="/embed")[2]
    )
    for empty in ([], None, {}):
        for route, field in (("/embed", "inputs"), ("/v1/embeddings", "input")):
            assert refused({field: empty, "model": "bert"}, route=route)[:2] == (422, "invalid")
    asked = {"query": "a", "texts": ["b"], "model": "entities"}
    assert "or a regression on pairs" in refused(asked, route="/rerank")[2]
    ids = {"input": [[1, 2]], "model": "bert"}
    assert "send texts (in LangChain" in refused(ids, route="/v1/embeddings")[2]
    asked = {"input": "a", "model": "bert", "dimensions": 8}
    assert "have 32 numbers" in refused(asked, route="/v1/embeddings")[2]


def test_too_much(refused, address):
    assert refused({"inputs": ["a"] * 9})[::2] == (
        413, "9 inputs, more than 8: send several requests"
    )  # fmt: skip
    long = {"inputs": ["hen " * 3000], "model": "entities"}
    assert refused(long)[:2] == (413, "too_large") and "tokens, more than" in refused(long)[2]
    asked = {"inputs": ["hen " * 3000], "model": "bert"}
    assert refused(asked, route="/tokenize")[:2] == (413, "too_large")
    large = b'{"inputs": ["' + b"a" * 30_000 + b'"]}'
    assert refused(large)[2] == "the body has more than 20,000 bytes"
    chunks = (b"a" * 1000 for _ in range(10_000))  # 10 MB, without its length
    said = WEB.post(address + ROUTE, content=chunks)
    assert said.status_code == 413 and said.headers["connection"] == "close"


def test_what_is_too_much_is_not_kept():
    """The body is read to its end, in the memory of its limit."""
    parts = iter([bytes(10_000) for _ in range(2)] + [b"a" * 1_000_000] * 50)
    sent = []

    async def receive():
        part = next(parts, None)
        body = b"" if part is None else part + b"b"  # a new object
        return {"type": "http.request", "body": body, "more_body": part is not None}

    async def send(message):
        sent.append(message)

    guard = Guard(None, Limits(max_body=100_000), Metrics(), {})
    scope = {"type": "http", "method": "POST", "path": ROUTE, "headers": []}
    tracemalloc.start()
    asyncio.run(guard(scope, receive, send))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sent[0]["status"] == 413 and next(parts, None) is None and peak < 5_000_000


def test_a_queue_that_is_full_and_an_answer_that_is_late(runs):
    """One text is computed, one waits, the third is refused; those too late are given up."""
    models = load_models([runs["labels"]], Limits(max_texts=1, queue=1, timeout=1.0, wait_ms=0))
    engine = models.running["labels"].engine
    computed, whole = [], engine._compute

    def slow(items):
        computed.append(len(items))
        time.sleep(1.5 if len(computed) == 1 else 0)
        return whole(items)

    engine._compute = slow
    with served(models) as address, ThreadPoolExecutor(3) as pool:
        late = pool.submit(WEB.post, address + ROUTE, json=FINE)
        while not computed:
            time.sleep(0.001)
        waits = pool.submit(WEB.post, address + ROUTE, json=FINE)
        while not engine.waiting:
            time.sleep(0.001)
        full = WEB.post(address + ROUTE, json=FINE)
        assert full.status_code == 429 and full.headers["retry-after"] == "1"
        assert full.json()["error"]["type"] == "overloaded"
        for each in (late, waits):
            assert each.result().status_code == 504
            assert "within 1 s" in each.result().json()["error"]["message"]
        assert WEB.post(address + ROUTE, json=FINE).status_code == 200
    assert computed == [1, 1]  # what waited in vain was not computed


def test_clients_that_are_slow_or_gone(runs):
    models = load_models([runs["labels"]], Limits(timeout=0.5, wait_ms=200))
    running = models.running["labels"]
    with served(models, keep_alive=1) as address:
        place = ("127.0.0.1", int(address.rpartition(":")[2]))
        head = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        body = json.dumps(FINE).encode()
        with socket.create_connection(place) as slow:  # its body never ends
            slow.sendall(head + b"Content-Length: 100\r\n\r\n{")
            assert WEB.post(address + ROUTE, json=FINE).status_code == 200
            slow.settimeout(5)
            assert b" 408 " in slow.recv(100)
        with socket.create_connection(place) as gone:
            gone.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            while not running.engine.waiting:
                time.sleep(0.001)
        while running.users:  # given up before its turn came
            time.sleep(0.001)
        mute, endless = socket.create_connection(place), socket.create_connection(place)
        with mute, endless:  # no request, and the head of one that has no end
            for _ in range(3):
                endless.sendall(head if _ == 0 else b"X-More: a\r\n")
                time.sleep(0.05)
            for each in (mute, endless):
                each.settimeout(5)
                assert each.recv(100) == b""
        with socket.create_connection(place) as noise:
            noise.sendall(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
            noise.settimeout(5)
            assert b" 400 " in noise.recv(100)
        assert WEB.post(address + ROUTE, json=FINE).status_code == 200
        text = WEB.get(f"{address}/metrics").text
        assert 'te_request_failure{err="gone",route="/predict"} 1.0' in text
        assert 'te_request_failure{err="too_slow",route="/predict"} 1.0' in text
        assert "te_batch_next_size_sum 2.0" in text
        for body in (b"", b"Transfer-Encoding: chunked\r\n\r\n0\r\n"):
            with socket.create_connection(place) as long:  # a head, and what follows a body
                long.sendall(head + body)
                with contextlib.suppress(OSError):
                    for _ in range(40):
                        long.sendall(b"X-More: " + b"a" * 4000 + b"\r\n")
                long.settimeout(5)
                with contextlib.suppress(ConnectionResetError):
                    assert long.recv(100)[9:12] in (b"400", b"408" if body else b"")


def test_what_was_accepted_is_finished(runs):
    models = load_models([runs["labels"]])
    engine = models.running["labels"].engine
    begun, whole = threading.Event(), engine._compute

    def slow(items):
        begun.set()
        time.sleep(0.3)
        return whole(items)

    engine._compute = slow
    with ThreadPoolExecutor(1) as pool:
        with served(models) as address:
            accepted = pool.submit(WEB.post, address + ROUTE, json=FINE)
            assert begun.wait(10)
        assert accepted.result().status_code == 200
        with pytest.raises(httpx.ConnectError):
            WEB.post(address + ROUTE, json=FINE)
    engine.join(10)
    assert not any(thread.is_alive() for thread in engine._threads)


def test_a_failure_of_the_model_is_said_and_ends_that_request_alone(runs):
    models = load_models([runs["labels"]], Limits(wait_ms=50))
    engine = models.running["labels"].engine
    whole = engine._compute

    def faulty(items):
        if any(len(item.encodings[0]) == 2 for item in items):
            raise ZeroDivisionError
        return whole(items)

    engine._compute = faulty
    with served(models) as address, ThreadPoolExecutor(2) as pool:
        bodies = [{"inputs": [""]}, FINE]
        bad, good = pool.map(lambda body: WEB.post(address + ROUTE, json=body), bodies)
    assert good.status_code == 200 and bad.status_code == 500
    assert "ZeroDivisionError" in bad.json()["error"]["message"]


def test_a_token(runs):
    models = load_models([runs["labels"]])
    with served(models, token="t-1") as address:
        assert WEB.get(f"{address}/health").status_code == 200
        for headers in ({}, {"Authorization": "Bearer no"}, {"Authorization": "t-1"}):
            said = WEB.post(address + ROUTE, json=FINE, headers=headers)
            assert said.status_code == 401 and said.headers["www-authenticate"] == "Bearer"
            assert WEB.get(f"{address}/metrics", headers=headers).status_code == 401
        right = {"Authorization": "Bearer t-1"}
        assert WEB.post(address + ROUTE, json=FINE, headers=right).status_code == 200


def test_what_cannot_be_served(runs, tmp_path):
    with pytest.raises(UserError, match="have the same name"):
        load_models([runs["labels"], tmp_path / "labels"])
    with pytest.raises(UserError, match="at least max_texts 300"):
        Limits(max_texts=300, queue=10)
    with listen("127.0.0.1", 0) as taken, pytest.raises(UserError, match="cannot listen"):
        listen("127.0.0.1", taken.getsockname()[1])


@pytest.mark.slow
def test_reloaded_and_shut_down_under_load(runs, tmp_path):
    """SIGHUP loads new weights, SIGTERM finishes what was accepted: no request is lost."""
    folder = tmp_path / "labels"
    folder.mkdir()

    def put(source: Path) -> None:
        for file in source.iterdir():
            (folder / f"{file.name}.new").write_bytes(file.read_bytes())
            (folder / f"{file.name}.new").replace(folder / file.name)

    put(runs["labels"])
    texts = tiny.sentences(50)
    before = {t: p.label for t, p in zip(texts, Predictor.load(folder)(texts), strict=True)}
    server = start("serve", folder, "--port", 0, stdout=-1)
    address = server.stdout.readline().split()[-1]
    answered, ending = [], threading.Event()

    def ask(number: int) -> None:
        with httpx.Client(base_url=address, timeout=30) as client:
            while True:
                text = texts[(number + len(answered)) % len(texts)]
                try:
                    said = client.post(ROUTE, json={"inputs": [text] * 3})
                except httpx.TransportError:  # refused, or closed between two requests
                    assert ending.is_set()
                    return
                assert said.status_code == 200, said.text
                answered.append({one["label"] for one in said.json()["predictions"]})

    with ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(ask, number) for number in range(8)]
        time.sleep(1)
        os.kill(server.pid, signal.SIGHUP)
        assert server.stderr.readline() == "labels is reloaded\n"
        config = json.loads((folder / "task.json").read_text())
        changed = [label.upper() for label in config["labels"]]
        for name in ("task.json", "config.json"):
            text = (folder / name).read_text()
            for label, new in zip(config["labels"], changed, strict=True):
                text = text.replace(f'"{label}"', f'"{new}"')
            (folder / name).write_text(text)
        os.kill(server.pid, signal.SIGHUP)
        assert server.stderr.readline() == "labels is reloaded\n"
        time.sleep(0.5)
        (folder / "task.json").write_text("{")
        os.kill(server.pid, signal.SIGHUP)
        assert server.stderr.readline().startswith("labels is not reloaded: ")
        time.sleep(0.5)
        ending.set()
        server.terminate()
        for client in clients:
            client.result(60)
    assert server.wait(60) == 0 and server.stderr.read() == ""
    said = set.union(*answered)
    assert set(before.values()) <= said and {label.upper() for label in before.values()} <= said
    assert all(len(labels) >= 1 for labels in answered) and len(answered) > 100
