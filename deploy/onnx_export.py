"""Export a model to ONNX, with the names of inputs and outputs that `optimum` gives them.

    inputs     input_ids, attention_mask, token_type_ids    (batch, seq); the last where there are
    outputs    last_hidden_state       Encoder
               logits                  classifiers, masked-language models, discriminators
               start_logits, end_logits                     question answering
               token_embeddings, sentence_embedding         SentenceEncoder
               prediction_logits, seq_relationship_logits   PairedMaskedLM
               attentions          last, where asked for: (batch, layers, heads, queries, keys)

The graph takes any batch size, and any length up to the model's. It packs the batch by itself
(`TracedSequences`): padding costs no more than its place in attention. A row needs a token.
"""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from plainformer.base import UserError, atomic_path
from plainformer.base.extras import need
from plainformer.deploy.onnx_attention import translations
from plainformer.encoder import (
    Encoder,
    PairedMaskedLM,
    QuestionAnswerer,
    SentenceEncoder,
    TracedSequences,
    use_backend,
)
from plainformer.encoder.inputs import pack_inputs
from plainformer.encoder.int8 import is_int8
from plainformer.encoder.pretrained import PretrainedModel

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OPSET = 20
"""The first with GELU as one operation."""
WHOLE, QUANTISED = "model.onnx", "model_quantized.onnx"
"""The files in the folder `onnx/` of an exported model, as `optimum` names them."""
MOST_BYTES = 2**31 - 2**20
"""The largest size of an ONNX file, which is a protocol buffer."""
EXAMPLE_SHAPE = (2, 5)
"""Batch and sequence length of the traced example; both are dynamic in the graph."""


class PaddedModel(nn.Module):
    """A model on a padded batch, with its outputs in a tuple; the attention weights come last."""

    def __init__(self, model: PretrainedModel, attentions: bool = False) -> None:
        super().__init__()
        self.model = model
        self.attentions = attentions

    def forward(
        self,
        input_ids: Int[Tensor, "batch seq"],
        attention_mask: Int[Tensor, "batch seq"],
        token_type_ids: Int[Tensor, "batch seq"] | None = None,
    ) -> tuple[Float[Tensor, "batch *rest"], ...]:
        """Compute the outputs, in the order of `output_names`."""
        model, sequences = self.model, TracedSequences(attention_mask.bool())
        wanted = {"output_attentions": self.attentions}
        if isinstance(model, SentenceEncoder):
            inputs = pack_inputs(input_ids, None, token_type_ids, sequences)
            found = model.encoder(
                inputs.input_ids, None, inputs.token_type_ids, sequences, **wanted
            )
            pooled = model.apply_head(found, inputs)
            outputs: Any = (inputs.unpack(found.last_hidden_state), pooled)
        else:
            found = model(input_ids, None, token_type_ids, sequences, **wanted)
            outputs = getattr(found, "logits", found)
            outputs = found.last_hidden_state if isinstance(model, Encoder) else outputs
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        # layers × (batch, heads, queries, keys) → (batch, layers, heads, queries, keys)
        return (*outputs, torch.stack(found.attentions, dim=1)) if self.attentions else outputs


def output_names(model: PretrainedModel) -> tuple[str, ...]:
    """Return the names of the outputs of a model."""
    if isinstance(model, Encoder):
        return ("last_hidden_state",)
    if isinstance(model, SentenceEncoder):
        return ("token_embeddings", "sentence_embedding")
    if isinstance(model, QuestionAnswerer):
        return ("start_logits", "end_logits")
    if isinstance(model, PairedMaskedLM):
        return ("prediction_logits", "seq_relationship_logits")
    return ("logits",)


def input_names(model: PretrainedModel) -> tuple[str, ...]:
    """Return the names of the inputs: without token types where the model has no table of them."""
    return INPUTS if model.config.type_vocab_size else INPUTS[:2]


def example(model: PretrainedModel) -> tuple[Int[Tensor, "batch seq"], ...]:
    """Return inputs with which a model is traced."""
    ids = torch.ones(EXAMPLE_SHAPE, dtype=torch.int64)
    return (ids, torch.ones_like(ids), torch.zeros_like(ids))[: len(input_names(model))]


def axes(model: PretrainedModel) -> tuple[dict[int, Any], ...]:
    """Return the names and bounds of the axes of the inputs, which are dynamic."""
    batch = torch.export.Dim("batch_size")
    seq = torch.export.Dim("sequence_length", max=model.config.max_position_embeddings)
    return tuple({0: batch, 1: seq} for _ in input_names(model))


def export_onnx(model: PretrainedModel, path: Path, attentions: bool = False) -> None:
    """Write a model as one ONNX file; its weights in a second one where they take more than 2 GB.

    `attentions`: add the attention weights of all layers and heads to the outputs; those of a query
    that is padding mean nothing.

    Raises `UserError` for a quantised model, whose operations are not those of ONNX, and where the
    packages for it are missing, or the file cannot be written.
    """
    need("onnx", "onnxscript", extra="export", purpose="exporting to ONNX")
    if is_int8(model):
        raise UserError("an int8 model cannot be exported: export it in fp32, and quantise that")
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    with silence(), torch.no_grad(), use_backend("plain"):
        graph = torch.onnx.export(
            PaddedModel(model.eval(), attentions),
            example(model),
            dynamic_shapes=axes(model),
            input_names=input_names(model),
            output_names=(*output_names(model), *(("attentions",) if attentions else ())),
            opset_version=OPSET,
            custom_translation_table=translations(),
        )
    assert graph is not None
    import onnx_ir

    data = f"{path.name}_data" if size > MOST_BYTES else None
    try:
        with atomic_path(path) as temporary:
            onnx_ir.save(graph.model, temporary, external_data=data)
            if data is not None:
                (temporary.parent / data).replace(path.parent / data)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from None


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep what the exporter and the quantiser say about their own workings off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(None):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
