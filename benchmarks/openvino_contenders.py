"""The contenders of `speed.py` that run in OpenVINO: fp32, and int8 by NNCF with SmoothQuant.

Shapes are dynamic: one compiled model for all lengths. One of static shape takes a single text 5 to
13 % less time, but each shape would need a second to compile, and a copy of the weights.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from embedding_contenders import (
    Embed,
    LeftOut,
    bert_only,
    exported,
    on_cpu,
    pooled,
    their_tokenizer,
)
from torch import Tensor
from workloads import Case


def openvino(case: Case, is_int8: bool = False) -> Embed:
    """Run OpenVINO on the exported model, sorted."""
    import openvino

    on_cpu(case)
    if case.precision != "fp32":
        raise LeftOut("the exported model is in fp32")
    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    file = smoothed(case) if is_int8 else exported(case, "plain")
    request = openvino.compile_model(file, "CPU", settings).create_infer_request()
    names = [wanted.get_any_name() for wanted in request.model_inputs]

    def states(batch: dict[str, Tensor]) -> Tensor:
        found = request.infer([batch[name].numpy() for name in names], share_inputs=True)
        return torch.from_numpy(found[0].copy())

    return pooled(case, states, is_sorted=True)


def smoothed(case: Case) -> Path:
    """Quantise weights and inputs beside the weights, once: NNCF's SmoothQuant on lines of text."""
    import nncf
    import openvino

    file = case.folder / "smooth.xml"
    if file.exists():
        return file
    tokenizer = their_tokenizer(case)

    def feed(text: str) -> dict[str, np.ndarray]:
        batch = tokenizer([text], truncation=True, return_tensors="np")
        return {name: batch[name].astype(np.int64) for name in tokenizer.model_input_names}

    model = openvino.Core().read_model(exported(case, "plain"))
    kind = nncf.ModelType.TRANSFORMER
    quantised = nncf.quantize(model, nncf.Dataset(case.calibration, feed), model_type=kind)
    openvino.save_model(quantised, file)
    return file


def sentence_transformers(case: Case) -> Embed:
    """Run `SentenceTransformer.encode` on its OpenVINO backend, which needs optimum-intel."""
    from sentence_transformers import SentenceTransformer

    on_cpu(case)
    model = SentenceTransformer(
        str(case.folder),
        backend="openvino",
        model_kwargs={"file_name": None, "export": True},
        local_files_only=True,
    )
    model.max_seq_length = case.workload.longest

    def embed(texts: Sequence[str]) -> np.ndarray:
        found = model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(found, np.float32)

    return embed


EMBED: dict[str, Callable[[Case], Embed]] = {
    "OpenVINO, sorted": bert_only(openvino),
    "sentence-transformers, OpenVINO": bert_only(sentence_transformers),
}
INT8: dict[str, Callable[[Case], Embed]] = {
    "OpenVINO, int8 SmoothQuant, sorted": bert_only(partial(openvino, is_int8=True)),
}
