"""The contenders of `speed.py` that encode texts as vectors, on the same weights.

A contender is a function of a `Case` that loads a model and returns a callable from texts to one
unit vector per text: the mean of its tokens' vectors. It takes strings and returns numpy arrays, so
tokenizing, batching and sorting are part of the time.

- as called: the texts in their given order, 32 at a time, padded to the longest;
- sorted: 32 texts of similar length at a time, the fastest form without packing.

`plainformer` sorts and packs by itself. A contender that a package or the device does not support
raises `LeftOut` or ImportError, and is left out.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn
from workloads import Case

from plainformer.encoder import SentenceEncoder, quantize_static, use_huge_pages
from plainformer.encoder.ops import shared_kernels
from plainformer.finetune import Embedder
from plainformer.finetune.data.batch import Batch, by_length

BATCH = 32
Embed = Callable[[Sequence[str]], np.ndarray]
Padded = Callable[[dict[str, Tensor]], Tensor]
"""input_ids, attention_mask, token_type_ids (batch, seq) → token vectors (batch, seq, hidden)"""


class LeftOut(Exception):
    """The error of a contender that cannot run here."""


def plainformer(case: Case) -> Embed:
    """Return `finetune.Embedder`."""
    longest, device = case.workload.longest, case.device
    return Embedder.load(
        case.folder, max_length=longest, device=str(device), precision=case.precision
    )


def plainformer_served(case: Case) -> Embed:
    """Return `finetune.Embedder` as `serve` runs it: on pages of 2 MB, with shared kernels."""
    on_cpu(case)
    if case.workload.calls < case.workload.texts:
        raise LeftOut("it is for single texts")
    embedder = Embedder.load(case.folder, max_length=case.workload.longest)
    use_huge_pages(embedder.model)

    def embed(texts: Sequence[str]) -> np.ndarray:
        with patch.object(shared_kernels, "KEEPS_FEW_KERNELS", True):
            return embedder(texts)

    return embed


def plainformer_int8(case: Case) -> Embed:
    """Return `finetune.Embedder` in int8, with ranges of activations found on other texts."""
    on_cpu(case)
    embedder = Embedder.load(case.folder, max_length=case.workload.longest)
    batches = by_length(embedder.items(case.calibration))
    inputs = [Batch.of([item for _, item in some]).encoder_inputs for some in batches]
    model = SentenceEncoder.from_pretrained(case.folder)
    return replace(embedder, model=quantize_static(model, inputs))


def plainformer_dynamic(case: Case) -> Embed:
    """Return `finetune.Embedder` in int8, with the ranges of activations as they come."""
    on_cpu(case)
    return Embedder.load(case.folder, max_length=case.workload.longest, int8=True)


def transformers(
    case: Case, attention: str = "sdpa", is_sorted: bool = False, is_compiled: bool = False
) -> Embed:
    """Run `AutoTokenizer` and `AutoModel`."""
    model = their_model(case, attention)
    if is_compiled:
        model = torch.compile(model, dynamic=True)
    return pooled(case, lambda batch: model(**batch).last_hidden_state, is_sorted)


def pipeline(case: Case) -> Embed:
    """Run the pipeline of transformers, by default one text at a time."""
    import transformers

    feature = transformers.pipeline(
        "feature-extraction",
        model=their_model(case, "sdpa"),
        tokenizer=their_tokenizer(case),
        device=case.device,
    )

    def embed(texts: Sequence[str]) -> np.ndarray:
        states = feature(list(texts), return_tensors=True, truncation=True)
        vectors = torch.stack([state[0].float().mean(0) for state in states])
        return unit(vectors).cpu().numpy()

    return embed


def torch_encoder(case: Case, is_sorted: bool = False) -> Embed:
    """Run `torch.nn.TransformerEncoder` on its fast path, with transformers' embeddings."""
    bert = their_model(case, "sdpa")
    encoder = torch_layers(bert).to(case.device, case.dtype)

    def states(batch: dict[str, Tensor]) -> Tensor:
        x = bert.embeddings(batch["input_ids"], batch["token_type_ids"])
        y: Tensor = encoder(x, src_key_padding_mask=batch["attention_mask"] == 0)
        missing = batch["input_ids"].shape[1] - y.shape[1]
        return nn.functional.pad(y, (0, 0, 0, missing))

    return pooled(case, states, is_sorted)


def torch_layers(bert: Any) -> nn.TransformerEncoder:
    """Copy the layers of a BERT of transformers into those of torch."""
    shape = bert.config
    layer = nn.TransformerEncoderLayer(
        shape.hidden_size,
        shape.num_attention_heads,
        shape.intermediate_size,
        activation="gelu",
        layer_norm_eps=shape.layer_norm_eps,
        batch_first=True,
    )
    encoder = nn.TransformerEncoder(layer, shape.num_hidden_layers).eval()
    for own, their in zip(encoder.layers, bert.encoder.layer, strict=True):
        attention = their.attention.self
        projections = (attention.query, attention.key, attention.value)
        own.self_attn.in_proj_weight.data = torch.cat([p.weight.data for p in projections])
        own.self_attn.in_proj_bias.data = torch.cat([p.bias.data for p in projections])
        own.self_attn.out_proj = their.attention.output.dense
        own.norm1 = their.attention.output.LayerNorm
        own.linear1, own.linear2 = their.intermediate.dense, their.output.dense
        own.norm2 = their.output.LayerNorm
    return encoder


def x_transformers(case: Case) -> Embed:
    """Run the encoder of x-transformers with flash attention and the same weights."""
    from x_transformers import Encoder

    bert = their_model(case, "sdpa")
    shape = bert.config
    heads = shape.num_attention_heads
    encoder = Encoder(
        dim=shape.hidden_size,
        depth=shape.num_hidden_layers,
        heads=heads,
        attn_dim_head=shape.hidden_size // heads,
        attn_flash=True,
        pre_norm=False,
    ).eval()
    blocks = list(encoder.layers)
    for (norms, attention, _), (norms2, feed, _), their in zip(
        blocks[::2], blocks[1::2], bert.encoder.layer, strict=True
    ):
        own = their.attention.self
        attention.to_q, attention.to_k, attention.to_v = own.query, own.key, own.value
        attention.to_out = their.attention.output.dense
        norms[2] = their.attention.output.LayerNorm
        feed.ff[0][0], feed.ff[2] = their.intermediate.dense, their.output.dense
        norms2[2] = their.output.LayerNorm
    encoder.to(case.device, case.dtype)

    def states(batch: dict[str, Tensor]) -> Tensor:
        x = bert.embeddings(batch["input_ids"], batch["token_type_ids"])
        y: Tensor = encoder(x, mask=batch["attention_mask"].bool())
        return y

    return pooled(case, states, is_sorted=False)


def sentence_transformers(case: Case) -> Embed:
    """Run `SentenceTransformer.encode`, which sorts by length."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    reader = Transformer(str(case.folder), max_seq_length=case.workload.longest)
    pooling = Pooling(reader.get_embedding_dimension(), "mean")
    model = SentenceTransformer(modules=[reader, pooling, Normalize()], device=str(case.device))
    model.to(case.dtype)
    return lambda texts: np.asarray(model.encode(list(texts), show_progress_bar=False), np.float32)


def onnx_runtime(case: Case, is_int8: bool = False) -> Embed:
    """Run ONNX Runtime on the exported model with operators fused for BERT, sorted."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Else its threads keep spinning while the next contender is timed.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    provider = "CUDAExecutionProvider" if case.device.type == "cuda" else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise LeftOut(f"this onnxruntime has no {provider}")
    if case.precision != "fp32":
        raise LeftOut("the exported model is in fp32")
    model = str(exported(case, "int8" if is_int8 else "fused"))
    session = onnxruntime.InferenceSession(model, options, providers=[provider])
    names = [wanted.name for wanted in session.get_inputs()]

    def states(batch: dict[str, Tensor]) -> Tensor:
        arrays = {name: batch[name].cpu().numpy() for name in names}
        return torch.from_numpy(session.run(None, arrays)[0]).to(case.device)

    return pooled(case, states, is_sorted=True)


def exported(case: Case, kind: Literal["plain", "fused", "int8"]) -> Path:
    """Export the model to ONNX beside its weights, once; plain, or for ONNX Runtime."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers.optimizer import optimize_model

    plain, fused, int8 = (case.folder / f"{name}.onnx" for name in ("plain", "fused", "int8"))
    if not plain.exists():
        # The fusion recognises only the pattern of the older exporter with eager attention.
        model = their_model(replace(case, device=torch.device("cpu"), precision="fp32"), "eager")
        ids = torch.ones(2, 8, dtype=torch.long)
        names = ["input_ids", "attention_mask", "token_type_ids"]
        torch.onnx.export(
            States(model).eval(),
            (ids, ids, ids),
            str(plain),
            input_names=names,
            output_names=["states"],
            dynamic_axes={name: {0: "batch", 1: "seq"} for name in [*names, "states"]},
            opset_version=17,
            dynamo=False,
        )
    if kind != "plain" and not fused.exists():
        heads, hidden = case.config.num_attention_heads, case.config.hidden_size
        better = optimize_model(str(plain), "bert", num_heads=heads, hidden_size=hidden)
        better.save_model_to_file(str(fused))
    if kind == "int8" and not int8.exists():
        floats = {
            "DefaultTensorType": onnx.TensorProto.FLOAT
        }  # it does not know the fused operators
        quantize_dynamic(
            fused, int8, per_channel=True, weight_type=QuantType.QInt8, extra_options=floats
        )
    return case.folder / f"{kind}.onnx"


class States(nn.Module):
    """A model of transformers that returns only its last hidden states."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return the last hidden states of a padded batch."""
        out = self.model(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        states: Tensor = out.last_hidden_state
        return states


def their_model(case: Case, attention: str) -> Any:
    """Load the encoder of the folder with transformers."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(
        case.folder, attn_implementation=attention, dtype=case.dtype, local_files_only=True
    )
    return model.to(case.device).eval()


def their_tokenizer(case: Case) -> Any:
    """Load the tokenizer of the folder with transformers, with the same truncation."""
    from transformers import AutoTokenizer

    names = ["input_ids", "attention_mask"]
    if case.config.type_vocab_size:
        names.append("token_type_ids")
    return AutoTokenizer.from_pretrained(
        case.folder,
        model_max_length=case.workload.longest,
        model_input_names=names,
        local_files_only=True,
    )


def pooled(case: Case, states: Padded, is_sorted: bool) -> Embed:
    """Encode padded batches of texts, and take the mean of their token vectors."""
    tokenizer = their_tokenizer(case)

    @torch.no_grad()
    def embed(texts: Sequence[str]) -> np.ndarray:
        batches = sorted_batches(tokenizer, texts) if is_sorted else as_called(tokenizer, texts)
        vectors = np.zeros((len(texts), case.config.hidden_size), np.float32)
        for chosen, padded in batches:
            batch = {name: padded[name].to(case.device) for name in tokenizer.model_input_names}
            mask = batch["attention_mask"][..., None]
            mean = (states(batch) * mask).sum(1) / mask.sum(1)
            vectors[chosen] = unit(mean.float()).cpu().numpy()
        return vectors

    return embed


def as_called(tokenizer: Any, texts: Sequence[str]) -> Iterator[tuple[list[int], Any]]:
    """Batch 32 texts at a time, in their order."""
    for i in range(0, len(texts), BATCH):
        some = list(texts[i : i + BATCH])
        batch = tokenizer(some, padding=True, truncation=True, return_tensors="pt")
        yield list(range(i, i + len(some))), batch


def sorted_batches(tokenizer: Any, texts: Sequence[str]) -> Iterator[tuple[list[int], Any]]:
    """Batch 32 texts of similar length at a time."""
    ids = tokenizer(list(texts), truncation=True)["input_ids"]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    for i in range(0, len(order), BATCH):
        chosen = order[i : i + BATCH]
        batch = tokenizer.pad({"input_ids": [ids[j] for j in chosen]}, return_tensors="pt")
        if "token_type_ids" in tokenizer.model_input_names:
            batch["token_type_ids"] = torch.zeros_like(batch["input_ids"])
        yield chosen, batch


def unit(x: Tensor) -> Tensor:
    """Scale rows to length 1."""
    return nn.functional.normalize(x, dim=-1)


def on_cpu(case: Case) -> None:
    """Raise `LeftOut` unless the device is a CPU."""
    if case.device.type != "cpu":
        raise LeftOut("it runs on a CPU only")


def bert_only(make: Callable[[Case], Embed]) -> Callable[[Case], Embed]:
    """Limit a contender to models with BERT's layers."""

    def checked(case: Case) -> Embed:
        if case.config.architecture != "bert":
            raise LeftOut(f"its layers are not those of {case.config.architecture}")
        return make(case)

    return checked


def loading(make: Callable[[Case], Embed]) -> Callable[[Case], Embed]:
    """Make a contender load its folder in every call."""
    return lambda case: lambda texts: make(case)(texts)


SDPA = partial(transformers, attention="sdpa")
INT8: dict[str, Callable[[Case], Embed]] = {
    "plainformer, int8": plainformer_int8,
    "plainformer, int8 dynamic": plainformer_dynamic,
    "plainformer": plainformer,
    "transformers sdpa, as called": SDPA,
    "ONNX Runtime, int8, sorted": partial(onnx_runtime, is_int8=True),
}
EMBED: dict[str, Callable[[Case], Embed]] = {
    "plainformer": plainformer,
    "plainformer, as served": plainformer_served,
    "transformers eager, as called": partial(transformers, attention="eager"),
    "transformers sdpa, as called": SDPA,
    "transformers sdpa, sorted": partial(SDPA, is_sorted=True),
    "transformers sdpa, compiled": partial(SDPA, is_compiled=True),
    "transformers sdpa, compiled, sorted": partial(SDPA, is_sorted=True, is_compiled=True),
    "transformers pipeline": pipeline,
    "transformers FlashAttention-2, sorted": partial(
        transformers, attention="flash_attention_2", is_sorted=True
    ),
    "torch TransformerEncoder, as called": bert_only(torch_encoder),
    "torch TransformerEncoder, sorted": bert_only(partial(torch_encoder, is_sorted=True)),
    "sentence-transformers encode": sentence_transformers,
    "x-transformers, as called": bert_only(x_transformers),
    "ONNX Runtime, sorted": bert_only(onnx_runtime),
}
LOAD: dict[str, Callable[[Case], Embed]] = {
    name: loading(EMBED[name])
    for name in (
        "plainformer",
        "transformers sdpa, as called",
        "sentence-transformers encode",
        "ONNX Runtime, sorted",
    )
}
