"""What a folder declares and is not supported is refused by its name."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from plainformer.base import UserError
from plainformer.finetune import Embedder
from tests.finetune.sentence_folders.files import (
    BARE,
    SIZE,
    Files,
    dense,
    mode,
    modules,
    pooled,
    prompts,
    reader,
)

REFUSED: list[tuple[Files, str]] = [
    ({"modules.json": {}}, r"modules\.json: not a JSON list"),
    ({"modules.json": []}, r"modules\.json: nothing is not supported: Transformer and Pooling"),
    ({"modules.json": modules("Transformer")}, "Transformer is not supported"),
    ({"modules.json": modules("Pooling", "Transformer")}, "Pooling, Transformer is not supported"),
    ({"modules.json": modules("BoW", "Normalize")}, "'.*BoW' is not supported"),
    ({"modules.json": modules("Transformer", "SpladePooling")}, "module 1: type '.*SpladePooling'"),
    ({"modules.json": modules("Transformer", "Pooling", "LSTM")}, "module 2: type '.*LSTM' is not"),
    ({"modules.json": modules("Transformer", "Pooling", "LayerNorm")}, "'.*LayerNorm' is not"),
    ({"modules.json": modules("Transformer", "Pooling", "Pooling")}, "a second Pooling is not"),
    ({"modules.json": [{"type": "mine.Transformer", "path": ""}]}, "'mine.Transformer' is not"),
    ({"modules.json": [{"path": ""}]}, "module 0: type is missing"),
    ({"modules.json": [{**modules("Transformer")[0], "path": "/etc"}]}, "leads out of the folder"),
    ({"modules.json": [{**modules("Transformer")[0], "path": "../x"}]}, "leads out of the folder"),
    (
        {"modules.json": modules("Transformer", "Pooling", first="0_Transformer")},
        "there is no folder '0_Transformer'",
    ),
    (pooled(**mode("median")), r"pooling_mode 'median' is not supported: cls, max, mean"),
    (pooled(**mode("cls", "first")), r"pooling_mode \['cls', 'first'\] is not supported"),
    (pooled(pooling_mode=3), "pooling_mode must be a text, not 3"),
    (pooled(pooling_mode_cls_token="yes"), "pooling_mode_cls_token must be true or false"),
    (pooled(pooling_mode_attention=True), "pooling_mode_attention is not supported"),
    (pooled(include_prompt=1), "include_prompt must be true or false"),
    (BARE | reader(max_seq_length="long"), "max_seq_length must be a whole number"),
    (BARE | reader(max_seq_length=0), "max_seq_length must be a whole number"),
    (BARE | reader(do_lower_case="no"), "do_lower_case must be true or false"),
    (BARE | reader(transformer_task="fill-mask"), "transformer_task 'fill-mask' is not supported"),
    (BARE | reader(module_output_name="sentence_embedding"), "module_output_name 'sentence_embed"),
    (BARE | reader(modality_config={"image": {}}), "modality_config .* is not supported"),
    (BARE | reader(processing_kwargs={"text": {"max_length": 5}}), "processing_kwargs .* is not"),
    (BARE | reader(query_length=32), "query_length 32 is not supported"),
    (BARE | reader(query_expansion={"length": 32}), "query_expansion .* is not supported"),
    (BARE | reader(model_args={"dtype": "float16"}), "model_args .* is not supported"),
    (BARE | reader(tokenizer_args={"do_lower_case": True}), "tokenizer_args .* is not supported"),
    (BARE | reader(window=5), "window is not supported"),
    (pooled("Normalize") | {"2_Normalize/config.json": {"module_input_name": "x"}}, "name 'x' is"),
    (pooled("Dense"), r"2_Dense/config\.json cannot be read"),
    (
        pooled("Dense") | dense(SIZE, 8, activation_function="mine.Act"),
        "'mine.Act' is not supported",
    ),
    (pooled("Dense") | dense(SIZE, 8, activation_function="torch.nn.Softmax"), "Softmax' is not"),
    (pooled("Dense") | dense(SIZE, 8, module_input_name="token_embeddings"), "'token_embeddings'"),
    (pooled("Dense") | dense(SIZE, 8, gate=True), "gate is not supported"),
    (pooled("Dense") | dense(SIZE, 8, in_features=None), "in_features is missing"),
    (pooled("Dense") | dense(24, 8), "a Dense layer expects vectors of size 24, but gets size 16"),
    (
        pooled("Dense")
        | dense(SIZE, 8)
        | {"2_Dense/config.json": {"in_features": SIZE, "out_features": 2**20}},
        r"linear.\w+ has dtype torch.float32 and shape .*, not numbers of shape \[1048576",
    ),
    (
        pooled("Dense")
        | dense(SIZE, 8)
        | {"2_Dense/model.safetensors": {"linear.weight": torch.ones(8, SIZE)}},
        "linear.bias is missing",
    ),
    (
        pooled("Dense")
        | dense(SIZE, 8, bias=False)
        | {
            "2_Dense/config.json": dense(SIZE, 8, bias=False, use_residual=True)[
                "2_Dense/config.json"
            ]
        },
        "residual.weight is missing",
    ),
    (BARE | prompts("nothing"), "default_prompt_name 'nothing' is not among the prompts"),
    (BARE | prompts(similarity_fn_name="maxsim"), "similarity_fn_name must be one of cosine, dot"),
    (BARE | prompts(truncate_dim=0), "truncate_dim must be a whole number"),
    (BARE | prompts(model_type="CrossEncoder"), "model_type 'CrossEncoder' is not supported"),
    (BARE | {"config_sentence_transformers.json": {"prompts": {"q": 3}}}, "prompts: q must be a t"),
]


@pytest.mark.parametrize(("files", "fault"), REFUSED, ids=[fault for _, fault in REFUSED])
def test_what_is_not_supported_is_refused_by_name(
    files: Files, fault: str, make: Callable[..., Path]
) -> None:
    folder = make(files)
    with pytest.raises(UserError, match=fault) as caught:
        Embedder.load(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
