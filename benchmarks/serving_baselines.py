"""Serve a text classifier without Plainformer: the servers that `serving.py` compares ours with.

    python benchmarks/serving_baselines.py transformers FOLDER
    python benchmarks/serving_baselines.py onnxruntime FOLDER fused.onnx
    python benchmarks/serving_baselines.py openvino FOLDER plain.onnx [--precision bf16]

FastAPI on uvicorn with uvloop and httptools. `transformers` answers one request at a time in
FastAPI's thread pool, as its tutorial has it. The two others batch: a queue, from which a thread
takes all that wait (up to 64 texts) after 2 ms, sorts them by length, and runs groups of like
length, padded to the longest. Requests and answers have the form of our /predict.
"""

import argparse
import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI
from fastapi.responses import Response
from pydantic import BaseModel

WAIT, BATCH, GROUP = 0.002, 64, 16
Run = Callable[[dict[str, np.ndarray]], np.ndarray]
"""Padded inputs (batch, seq) → logits (batch, labels)."""


class Body(BaseModel):
    """The body of a request."""

    inputs: list[str]


def answer(text: str, row: np.ndarray, labels: Sequence[str]) -> dict[str, Any]:
    """Describe the prediction for a text, by the logits of its labels."""
    shifted = np.exp(row - row.max())
    probabilities = dict(zip(labels, (shifted / shifted.sum()).tolist(), strict=True))
    label = max(probabilities, key=lambda name: probabilities[name])
    return {"text": text, "label": label, "probabilities": probabilities}


def one_at_a_time(folder: str) -> FastAPI:
    """Answer each request by itself, by transformers."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    labels = list(model.config.id2label.values())
    app, lock = FastAPI(), threading.Lock()

    @app.post("/predict")
    def predict(body: Body) -> dict[str, Any]:
        batch = tokenizer(body.inputs, padding=True, truncation=True, return_tensors="pt")
        with lock, torch.inference_mode():  # many models at once would share the same cores
            logits = model(**batch).logits.numpy()
        pairs = zip(body.inputs, logits, strict=True)
        return {"predictions": [answer(text, row, labels) for text, row in pairs]}

    return app


def batched(folder: str, run: Run) -> FastAPI:
    """Answer requests in batches sorted by length."""
    from tokenizers import Tokenizer
    from transformers import AutoConfig

    labels = list(AutoConfig.from_pretrained(folder).id2label.values())
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    tokenizer.no_padding()
    queue: asyncio.Queue[tuple[str, asyncio.Future[np.ndarray]]] = asyncio.Queue()
    pool = ThreadPoolExecutor(1)

    def compute(texts: list[str]) -> list[np.ndarray]:
        encodings = tokenizer.encode_batch_fast(texts)
        order = sorted(range(len(texts)), key=lambda index: len(encodings[index].ids))
        rows: list[np.ndarray] = [np.empty(0)] * len(texts)
        for begin in range(0, len(order), GROUP):
            chosen = order[begin : begin + GROUP]
            longest = len(encodings[chosen[-1]].ids)
            ids = np.zeros((len(chosen), longest), np.int64)
            mask = np.zeros_like(ids)
            for row, index in enumerate(chosen):
                found = encodings[index].ids
                ids[row, : len(found)] = found
                mask[row, : len(found)] = 1
            feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
            for index, logits in zip(chosen, run(feed), strict=True):
                rows[index] = logits
        return rows

    async def work() -> None:
        while True:
            waiting = [await queue.get()]
            if queue.qsize() < BATCH - 1:
                await asyncio.sleep(WAIT)
            while len(waiting) < BATCH and not queue.empty():
                waiting.append(queue.get_nowait())
            texts = [text for text, _ in waiting]
            rows = await asyncio.get_running_loop().run_in_executor(pool, compute, texts)
            for (_, future), row in zip(waiting, rows, strict=True):
                if not future.done():
                    future.set_result(row)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        worker = asyncio.create_task(work())
        yield
        worker.cancel()

    app = FastAPI(lifespan=lifespan)

    @app.post("/predict")
    async def predict(body: Body) -> Response:
        futures = [asyncio.get_running_loop().create_future() for _ in body.inputs]
        for pair in zip(body.inputs, futures, strict=True):
            queue.put_nowait(pair)
        rows = await asyncio.gather(*futures)
        said = [answer(text, row, labels) for text, row in zip(body.inputs, rows, strict=True)]
        text = json.dumps({"predictions": said}, ensure_ascii=False, separators=(",", ":"))
        return Response(text, media_type="application/json")

    return app


def onnx_runtime(path: str, threads: int) -> Run:
    """Run a file of ONNX in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [wanted.name for wanted in session.get_inputs()]
    return lambda feed: session.run(None, {name: feed[name] for name in names})[0]


def openvino(path: str, threads: int, precision: str) -> Run:
    """Run a file of ONNX in OpenVINO."""
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = openvino.compile_model(path, "CPU", settings).create_infer_request()
    names = [wanted.get_any_name() for wanted in request.model_inputs]
    return lambda feed: request.infer([feed[name] for name in names], share_inputs=True)[0].copy()


def main() -> None:
    """Serve on a free port, and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", choices=("transformers", "onnxruntime", "openvino"))
    parser.add_argument("folder")
    parser.add_argument("file", nargs="?", default="")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", default="f32")
    given = parser.parse_args()
    if given.kind == "transformers":
        import torch

        torch.set_num_threads(given.threads)
        app = one_at_a_time(given.folder)
    elif given.kind == "onnxruntime":
        app = batched(given.folder, onnx_runtime(given.file, given.threads))
    else:
        app = batched(given.folder, openvino(given.file, given.threads, given.precision))
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        print(f"at http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        config = uvicorn.Config(
            app, loop="uvloop", http="httptools", log_level="warning", access_log=False
        )
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
