"""From the names in a run's options to what they stand for: model, text, what is hidden, loss."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plainformer.base import UserError
from plainformer.encoder import EncoderConfig, MaskedLM, PairedMaskedLM
from plainformer.encoder.flops import discriminator_flops, masked_lm_flops, paired_masked_lm_flops
from plainformer.pretrain.batch import Corruption, MaskedBatch
from plainformer.pretrain.config import PretrainConfig
from plainformer.pretrain.corpus import Shard
from plainformer.pretrain.data import Chunks, TextSource, ordinary_ids
from plainformer.pretrain.masking import Masking
from plainformer.pretrain.objectives import (
    Denoising,
    Distillation,
    Electra,
    ReplacedTokens,
    SegmentPairs,
    SentencePairs,
    load_teacher,
    masked_lm,
    next_tokens,
    no_token_targets,
)
from plainformer.pretrain.objectives.replaced_tokens import DISCRIMINATOR_WEIGHT
from plainformer.tokenizer import Tokenizer
from plainformer.training import Flops, Objective

Model = Any
"""`MaskedLM`, `PairedMaskedLM` or `Electra`: whatever the loss takes, with `save_pretrained`"""


def build_model(config: PretrainConfig, shape: EncoderConfig) -> Model:
    """A fresh model of this shape with the heads that the objective needs.

    Raises `UserError` when the family of `shape` has no such heads.
    """
    if config.token_objective == "rtd":
        if shape.architecture != "electra":
            raise UserError(
                f"{config.preset} has no discriminator: for rtd choose a preset electra-tiny … "
                "electra-base"
            )
        return Electra.new(shape, config.generator_share)
    if config.pair_objective is None:
        return MaskedLM(shape)
    if shape.classifier_head != "pooler" or shape.type_vocab_size < 2:
        raise UserError(
            f"{config.preset} has no head for pairs: for {config.pair_objective} choose a preset "
            "bert-tiny … bert-base, albert-tiny or albert-base"
        )
    return PairedMaskedLM(shape)


def load_model(config: PretrainConfig, folder: Path) -> Model:
    """The model in `folder` with the heads that the objective needs; those it lacks begin anew.

    Raises `UserError` when there is no model, when its family has no such heads, and when it has
    fewer places than `max_length`.
    """
    if config.token_objective == "rtd":
        model: Model = Electra.from_pretrained(folder)
    else:
        kind = MaskedLM if config.pair_objective is None else PairedMaskedLM
        model = kind.from_pretrained(folder, new_head=True)
    places = shape(model).max_position_embeddings
    if config.max_length > places:
        raise UserError(
            f"max_length {config.max_length} is more than the {places} positions of {folder}"
        )
    return model


def read_text(config: PretrainConfig, shards: Sequence[Shard], tokenizer: Tokenizer) -> TextSource:
    """The documents in pieces, or in pairs of segments."""
    if config.pair_objective is None:
        return Chunks(shards, tokenizer, config.max_length)
    return SegmentPairs(Chunks(shards, tokenizer, config.max_length - 1), config.pair_objective)


def hide(config: PretrainConfig, tokenizer: Tokenizer) -> Corruption:
    """What is hidden of a text in training."""
    masking = Masking(
        tokenizer.mask_id,
        ordinary_ids(tokenizer),
        config.mask_ratio,
        config.masking,
        config.mask_ratio_end,
        config.training.steps,
    )
    return _hide(config, masking)


def hide_alike(config: PretrainConfig, tokenizer: Tokenizer) -> Corruption:
    """What is hidden of the held-out text: as BERT did, whatever the training, so runs compare."""
    return _hide(config, Masking(tokenizer.mask_id, ordinary_ids(tokenizer)))


def _hide(config: PretrainConfig, masking: Masking) -> Corruption:
    if config.token_objective is None:
        return no_token_targets
    if config.token_objective == "clm":
        return next_tokens
    return Denoising(masking) if config.token_objective == "denoise" else masking


def loss(config: PretrainConfig, tokenizer: Tokenizer) -> Objective[Model, MaskedBatch]:
    """What is learned."""
    if config.teacher is None:
        return measure(config, tokenizer)
    teacher = load_teacher(config.teacher, tokenizer, config.max_length)
    return Distillation(teacher, config.temperature, config.soft_share)


def measure(config: PretrainConfig, tokenizer: Tokenizer) -> Objective[Model, MaskedBatch]:
    """What is measured on held-out text: what is learned, but without a teacher."""
    if config.token_objective == "rtd":
        return ReplacedTokens(tokenizer.special_ids)
    if config.pair_objective is not None:
        return SentencePairs(config.pair_objective, config.token_objective)
    return masked_lm


def shape(model: Model) -> EncoderConfig:
    """That of the encoder which is learned for later."""
    config = model.discriminator.config if isinstance(model, Electra) else model.config
    assert isinstance(config, EncoderConfig)
    return config


def flops(model: Model, loss: Objective[Model, MaskedBatch]) -> Flops[MaskedBatch]:
    """What it costs to train `model` on a batch: three forward passes, and one of a teacher."""

    def forward(batch: MaskedBatch) -> int:
        sequences, asked = batch.sequences, len(batch.labels)
        if isinstance(model, Electra):
            return masked_lm_flops(model.generator.config, sequences, asked) + discriminator_flops(
                model.discriminator.config, sequences
            )
        if isinstance(model, PairedMaskedLM):
            return paired_masked_lm_flops(model.config, sequences, asked)
        return masked_lm_flops(model.config, sequences, asked)

    def training(batch: MaskedBatch) -> int:
        taught = 0
        if isinstance(loss, Distillation):
            taught = masked_lm_flops(loss.teacher.config, batch.sequences, len(batch.labels))
        return 3 * forward(batch) + taught

    return training


def token_loss(config: PretrainConfig) -> str | None:
    """Under which name the metrics hold the loss of a token, which `perplexity` is of."""
    if config.token_objective in (None, "rtd"):
        return None
    return "loss" if config.pair_objective is None else f"{config.token_objective}_loss"


def save(model: Model, tokenizer: Tokenizer, folder: Path) -> None:
    """Write the model folder; a generator gets one of its own, in `generator/`."""
    model.save_pretrained(folder)
    tokenizer.save(folder)
    if isinstance(model, Electra):
        tokenizer.save(folder / "generator")


def loss_label(config: PretrainConfig) -> str:
    """Return the label of the loss axis in a run's plot."""
    if config.token_objective == "rtd":
        return f"loss: mlm + {DISCRIMINATOR_WEIGHT:g} · rtd"
    if config.token_objective is None:
        return "loss, nats per pair"
    if config.pair_objective is not None:
        return f"loss: {config.token_objective} + {config.pair_objective}"
    if config.teacher is not None:
        return f"loss: {config.soft_share:g} of the teacher's, the rest of the tokens"
    unit = {"mlm": "masked token", "clm": "token", "denoise": "corrupted token"}
    return f"loss, nats per {unit[config.token_objective]}"
