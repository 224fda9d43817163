"""How parameters begin: the table of `encoder.init`, measured."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from plainformer.encoder import Encoder, EncoderConfig, MaskedLM, SequenceClassifier
from tests.encoder.tools import bert, modern

WIDE = {"vocab_size": 500, "hidden_size": 128, "num_attention_heads": 2, "intermediate_size": 256}
SIGMA = 0.05


def deviation(name: str, config: EncoderConfig) -> float:
    """The table again, by name."""
    if config.architecture == "bert":
        return SIGMA
    if name == "classifier.weight":
        return 128**-0.5
    outputs = ("attention.output", "feed_forward.down", "head.dense", "decoder")
    if name.removesuffix(".weight").endswith(outputs):
        return SIGMA / (2 * config.num_hidden_layers) ** 0.5
    return SIGMA


@pytest.mark.parametrize(
    "config",
    [
        bert(**WIDE, initializer_range=SIGMA),
        modern(**WIDE, initializer_range=SIGMA, norm_bias=True, bias=True),
        modern(**WIDE, initializer_range=SIGMA, tie_word_embeddings=False),
    ],
    ids=["bert", "modern", "untied modern"],
)
@pytest.mark.parametrize("cls", [MaskedLM, SequenceClassifier])
def test_the_table(config: EncoderConfig, cls: type) -> None:
    torch.manual_seed(0)
    labels = {} if cls is MaskedLM else {"labels": [str(i) for i in range(20)]}
    model = cls(config, **labels)
    matrices = 0
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            expected = 1.0 if name.endswith("norm.weight") else 0.0
            assert (parameter == expected).all(), name
            continue
        matrices += 1
        values = parameter.detach()
        if name.endswith("embeddings.tokens.weight"):
            assert not values[config.pad_token_id].any()
            values = values[torch.arange(500) != config.pad_token_id]
        std = deviation(name, config)
        cut = config.architecture == "modern"
        # Cut at two deviations, a normal distribution keeps 0.88 of its own.
        assert values.std().item() == pytest.approx(std * (0.88 if cut else 1), rel=0.1), name
        assert abs(values.mean().item()) < 5 * std / values.numel() ** 0.5, name
        assert (values.abs().max() <= 2 * std) == cut, name
    assert matrices > 8


@pytest.mark.parametrize("make", [bert, modern])
def test_what_a_folder_does_not_have_begins_as_the_table_says(
    make: Callable[..., EncoderConfig], tmp_path: Path
) -> None:
    config = make(**WIDE, initializer_range=SIGMA)
    MaskedLM(config).save_pretrained(tmp_path)
    labels = [str(i) for i in range(40)]
    deterministic = torch.are_deterministic_algorithms_enabled()
    try:
        torch.use_deterministic_algorithms(True)  # memory that nobody wrote is full of NaN
        model = SequenceClassifier.from_pretrained(tmp_path, labels=labels)
    finally:
        torch.use_deterministic_algorithms(deterministic)
    assert all(p.isfinite().all() for p in model.parameters())
    assert "classifier.weight" in model.newly_initialised
    for name, values in model.named_parameters():
        if name in model.newly_initialised and values.ndim == 1:
            assert not values.any()
        elif name in model.newly_initialised:
            std = deviation(name, config) * (0.88 if config.architecture == "modern" else 1)
            assert values.std().item() == pytest.approx(std, rel=0.1), name


def test_transformers_begin_alike() -> None:
    """Deviation by deviation: bert, and modern's four kinds of matrices."""
    transformers = pytest.importorskip("transformers")
    from plainformer.encoder.weights import FAMILIES

    torch.manual_seed(0)
    for config, cls in ((bert(**WIDE), "Bert"), (modern(**WIDE), "ModernBert")):
        family = FAMILIES[cls.lower()]
        ours = SequenceClassifier(config, labels=[str(i) for i in range(20)])
        settings = {**family.write_config(config), "num_labels": 20}
        del settings["model_type"]
        theirs = getattr(transformers, f"{cls}ForSequenceClassification")(
            getattr(transformers, f"{cls}Config")(**settings)
        )
        expected = dict(theirs.named_parameters())
        renamed = family.to_hf(dict(ours.named_parameters()), "SequenceClassifier")
        assert renamed.keys() == expected.keys()
        for name, tensor in renamed.items():
            std = expected[name].std().item()
            assert tensor.std().item() == pytest.approx(std, rel=0.1, abs=1e-12), name


def test_one_seed_one_model() -> None:
    def build(seed: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(seed)
        return Encoder(modern()).state_dict()

    first, second, other = build(1), build(1), build(2)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["embeddings.tokens.weight"], other["embeddings.tokens.weight"])


def test_a_first_prenorm_is_left_out() -> None:
    names = Encoder(modern()).state_dict().keys()
    assert "blocks.0.attention_norm.weight" not in names
    assert "blocks.1.attention_norm.weight" in names
    assert "final_norm.weight" in names
    assert "final_norm.weight" not in Encoder(bert()).state_dict()
