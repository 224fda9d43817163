"""The contenders of `speed.py` that run what `plainformer export` writes, as `serve` runs it.

The graph packs its batch by itself, and the vectors come from the same `Embedder`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from embedding_contenders import Embed, LeftOut, on_cpu
from workloads import Case

from plainformer.deploy import export_onnx
from plainformer.deploy.export import quantise
from plainformer.deploy.onnx_model import OnnxModel
from plainformer.deploy.openvino_model import OpenVinoModel
from plainformer.encoder import SentenceEncoder
from plainformer.finetune import Embedder
from plainformer.finetune.data.batch import by_length


def in_runtime(
    case: Case, runtime: type[OnnxModel] | type[OpenVinoModel], is_int8: bool = False
) -> Embed:
    """Return `Embedder` on the exported graph in a runtime."""
    on_cpu(case)
    if case.precision != "fp32":
        raise LeftOut("the exported model is in fp32")
    embedder = Embedder.load(case.folder, max_length=case.workload.longest)
    graph = runtime(packed_graph(case, is_int8), embedder.model.config)

    def embed(texts: Sequence[str]) -> np.ndarray:
        vectors = np.zeros((len(texts), case.config.hidden_size), np.float32)
        for some in by_length(embedder.items(texts)):
            vectors[[number for number, _ in some]] = embedder.vectors(
                [item for _, item in some], graph
            )
        return vectors

    return embed


def packed_graph(case: Case, is_int8: bool) -> Path:
    """Export the model beside its weights, once; return the file in fp32 or in int8."""
    whole, int8 = (case.folder / f"packed{kind}.onnx" for kind in ("", "-int8"))
    if not whole.exists():
        export_onnx(SentenceEncoder.from_pretrained(case.folder), whole)
    if is_int8 and not int8.exists():
        quantise(whole, int8)
    return int8 if is_int8 else whole


EMBED: dict[str, Callable[[Case], Embed]] = {
    "plainformer, exported, ONNX Runtime": partial(in_runtime, runtime=OnnxModel),
    "plainformer, exported, OpenVINO": partial(in_runtime, runtime=OpenVinoModel),
}
INT8: dict[str, Callable[[Case], Embed]] = {
    "plainformer, exported int8, ONNX Runtime": partial(
        in_runtime, runtime=OnnxModel, is_int8=True
    ),
}
