"""Time an exported graph that packs its batch beside one that computes the padding.

    python benchmarks/packed_graph.py [--model minilm] [--threads 1] [--batches 12]

Both are exported from the same weights, in fp32 and int8, and run in ONNX Runtime (fp32 in
OpenVINO, too) on batches of TREC's test questions, each padded to its longest text, as a user of
`optimum` or transformers.js pads it. The largest difference between the two is printed, then the
milliseconds of a text: medians over the batches, the graphs in turns. Half a minute on an idle
machine.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from unittest.mock import patch

import numpy as np
import torch
from serving_baselines import onnx_runtime, openvino

from plainformer.base import find_folder
from plainformer.corpora import fetch
from plainformer.deploy import export_onnx, onnx_export
from plainformer.deploy.export import quantise
from plainformer.encoder import Encoder, PaddedSequences, TracedSequences
from plainformer.tokenizer import Tokenizer, load_tokenizer

Feed = dict[str, np.ndarray]
SIZES = (1, 4, 16, 64)
NAMES = ("input_ids", "attention_mask", "token_type_ids")


def padded(tokenizer: Tokenizer, texts: Sequence[str]) -> Feed:
    """Encode texts, and pad them to the longest."""
    found = [tokenizer.encode(text) for text in texts]
    shape = (len(found), max(map(len, found)))
    feed = {name: np.zeros(shape, np.int64) for name in NAMES}
    for row, encoding in enumerate(found):
        feed["input_ids"][row, : len(encoding)] = encoding.ids
        feed["attention_mask"][row, : len(encoding)] = 1
    return feed


def export(model: Encoder, folder: Path, threads: int) -> dict[str, Callable[[Feed], np.ndarray]]:
    """Export both graphs, and load each in the runtimes."""
    runs: dict[str, Callable[[Feed], np.ndarray]] = {}
    for name, kind in (("padded", PaddedSequences), ("packed", TracedSequences)):
        whole, int8 = folder / f"{name}.onnx", folder / f"{name}_int8.onnx"
        with patch.object(onnx_export, "TracedSequences", kind):
            export_onnx(model, whole)
        quantise(whole, int8)
        runs[f"ONNX Runtime, {name}"] = onnx_runtime(str(whole), threads)
        runs[f"ONNX Runtime int8, {name}"] = onnx_runtime(str(int8), threads)
        runs[f"OpenVINO, {name}"] = openvino(str(whole), threads, "f32")
    return runs


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batches", type=int, default=12)
    given = parser.parse_args()
    folder = find_folder(given.model)
    model, tokenizer = Encoder.from_pretrained(folder), load_tokenizer(folder)
    lines = (fetch("trec") / "test.jsonl").read_text(encoding="utf-8").splitlines()
    texts, rng = [json.loads(line)["text"] for line in lines], np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as place, torch.no_grad():
        runs = export(model, Path(place), given.threads)
        feed = padded(tokenizer, texts[:16])
        is_token = feed["attention_mask"].astype(bool)
        both = [runs[f"ONNX Runtime, {name}"](feed)[is_token] for name in ("padded", "packed")]
        print(f"largest difference on the tokens: {np.abs(both[0] - both[1]).max():.2g}")
        print(f"{'ms a text, in batches of':<30}" + "".join(f"{size:>8}" for size in SIZES))
        times = {name: list[float]() for name in runs}
        for size in SIZES:
            feeds = [padded(tokenizer, rng.choice(texts, size)) for _ in range(given.batches)]
            found = {name: list[float]() for name in runs}
            for feed in feeds:
                for name, run in runs.items():
                    run(feed)  # of a new shape
                    begin = perf_counter()
                    run(feed)
                    found[name].append(1e3 * (perf_counter() - begin) / size)
            for name in runs:
                times[name].append(float(np.median(found[name])))
        for name in sorted(times):
            print(f"{name:<30}" + "".join(f"{value:8.2f}" for value in times[name]))


if __name__ == "__main__":
    main()
