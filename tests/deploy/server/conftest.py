"""A server in a thread, on a free port, with tiny models of several tasks."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from plainformer.encoder import (
    ChoiceScorer,
    MaskedLM,
    QuestionAnswerer,
    SentenceEncoder,
    SequenceClassifier,
    TokenClassifier,
)
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.task_file import save_task
from plainformer.finetune.tasks import TASKS
from plainformer.tokenizer import train_tokenizer
from tests.encoder.tools import randomise
from tests.finetune.conftest import files, models, one_thread, tokenizer  # noqa: F401
from tests.pretrain import tiny

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")

from plainformer.deploy.server import Limits, Models, create_app, load_models
from plainformer.deploy.server.run import listen, make_server

WEB = httpx.Client(timeout=30, limits=httpx.Limits(max_keepalive_connections=0))
"""A client that opens a connection for each request."""


@pytest.fixture(scope="package")
def runs(tmp_path_factory) -> dict[str, Path]:
    """A folder for each task, with random weights that tell texts apart."""
    root = tmp_path_factory.mktemp("runs")
    signs = ["@ # * ^"] * 50  # relations are marked by them
    tokenizer = train_tokenizer([*tiny.sentences(400), *signs], kind="wordpiece", vocab_size=70)  # noqa: F811
    config = tiny.shape("modern", tokenizer)
    labels, tags = ("beast", "bird", "fish"), ("O", "B-animal", "I-animal")
    length = {"max_length": 16}
    words = {"words": ("cat", "hen", "fish"), "word_ids": (10, 11, 12)}
    prompt = {"template": "{text} [MASK]", "mask_id": tokenizer.mask_id, **words}
    classifier = SequenceClassifier(config, labels=labels)
    scorer = SequenceClassifier(config, labels=("LABEL_0",))
    made: dict[str, tuple[PretrainedModel, str, dict[str, Any]]] = {
        "labels": (classifier, "classification", {"labels": labels, **length}),
        "topics": (classifier, "multi-label", {"labels": labels, **length}),
        "links": (classifier, "relation", {"labels": labels, "negative": None, "max_length": 24}),
        "words": (MaskedLM(config), "prompt", {"labels": labels, **prompt, **length}),
        "score": (scorer, "regression", length),
        "choice": (ChoiceScorer(config), "multiple-choice", length),
        "entities": (
            TokenClassifier(config, labels=tags),
            "tagging",
            {"labels": tags, "decoding": "legal", "overflow": "truncate", **length},
        ),
        "answers": (QuestionAnswerer(config), "question-answering", {"max_length": 24}),
        "vectors": (
            SentenceEncoder(config),
            "sentence-embedding",
            {"scale": (0.0, 5.0), **length},
        ),
    }
    for number, (name, (model, task, fields)) in enumerate(made.items()):
        torch.manual_seed(number)
        randomise(model).save_pretrained(root / name)
        tokenizer.save(root / name)
        save_task(TASKS[task](**fields), root / name)
    return {name: root / name for name in made}


@contextmanager
def served(models: Models, token: str | None = None, keep_alive: int = 75) -> Iterator[str]:  # noqa: F811
    """Serve in a thread; yield the address."""
    with listen("127.0.0.1", 0) as listener:
        server = make_server(create_app(models, token), models.limits, keep_alive)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.005)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="package")
def address(runs, models) -> Iterator[str]:  # noqa: F811
    """A server of all these models, and of a pretrained encoder."""
    limits = Limits(max_body=20_000, max_texts=8, max_tokens=2000, wait_ms=1)
    with served(load_models([*runs.values(), models["bert"]], limits)) as found:
        yield found


@pytest.fixture(scope="package")
def post(address) -> Callable[..., Any]:
    """Post JSON to a route of that server; return the answer, which must be one."""

    def ask(route: str, **body: Any) -> Any:
        answer = WEB.post(address + route, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return ask
