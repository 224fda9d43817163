"""Folders of sentence-transformers by what they declare."""

from tests.finetune.sentence_folders.files import (
    BARE,
    MEAN,
    SIZE,
    TO_8,
    Files,
    dense,
    mode,
    modules,
    old,
    pooled,
    prompts,
    reader,
    torch_name,
)

CASES: dict[str, Files] = {
    "cls": pooled("Normalize", **mode("cls")),
    "max": pooled("Normalize", **mode("max")),
    "mean": MEAN,
    "sqrt": pooled("Normalize", **mode("mean_sqrt_len_tokens")),
    "weighted": pooled("Normalize", **mode("weightedmean")),
    "last": pooled("Normalize", **mode("lasttoken")),
    "bare cls": pooled(**mode("cls")),
    "bare max": pooled(**mode("max")),
    "bare mean": BARE,
    "bare sqrt": pooled(**mode("mean_sqrt_len_tokens")),
    "two": pooled(**mode("cls", "mean")),
    "two, the other way": pooled("Normalize", **mode("mean", "cls")),
    "three": pooled(**mode("max", "mean", "mean_sqrt_len_tokens")),
    "all, in no order": pooled(
        **mode("lasttoken", "weightedmean", "mean", "max", "mean_sqrt_len_tokens", "cls")
    ),
    "one in a list": pooled(pooling_mode=["max"]),
    "one twice": pooled(**mode("cls", "cls")),
    "no mode": pooled(),
    "old cls": pooled("Normalize", **old("cls_token")),
    "old max": pooled(**old("max_tokens")),
    "old mean": pooled(**old("mean_tokens")),
    "old sqrt": pooled(**old("mean_sqrt_len_tokens")),
    "old two": pooled(**old("mean_tokens", "cls_token")),
    "old three": pooled(**old("mean_sqrt_len_tokens", "max_tokens", "mean_tokens")),
    "old none": pooled(**old()),
    "old, of later versions": pooled(
        **old("cls_token"), pooling_mode_weightedmean_tokens=True, pooling_mode_lasttoken=True
    ),
    "old and new": pooled(**old("cls_token"), **mode("max")),
    "new name of the size": {**BARE, "1_Pooling/config.json": {"embedding_dimension": SIZE}},
    "new names of modules": {
        **BARE,
        "modules.json": [
            {**module, "type": f"sentence_transformers.{path}"}
            for module, path in zip(
                modules("Transformer", "Pooling"),
                (
                    "base.modules.transformer.Transformer",
                    "sentence_transformer.modules.pooling.Pooling",
                ),
                strict=True,
            )
        ],
    },
    "dense": pooled("Dense", **mode("mean")) | TO_8,
    "dense without bias": pooled("Dense") | dense(SIZE, 8, bias=False),
    "dense, normalised": pooled("Dense", "Normalize") | TO_8,
    "normalised, dense": pooled("Normalize", "Dense") | dense(SIZE, 8, "3_Dense"),
    "dense on two": pooled("Dense", **mode("cls", "max")) | dense(2 * SIZE, 24),
    "two dense": pooled("Dense", "Dense")
    | dense(SIZE, 8, **torch_name("ReLU"))
    | dense(8, 12, "3_Dense", **torch_name("Identity")),
    "residual": pooled("Dense") | dense(SIZE, SIZE, use_residual=True),
    "residual, projected": pooled("Dense") | dense(SIZE, 8, use_residual=True),
    **{
        name: pooled("Dense") | dense(SIZE, 8, **torch_name(name))
        for name in ("Tanh", "Identity", "ReLU", "GELU", "Sigmoid", "SiLU")
    },
    "short name of torch": pooled("Dense") | dense(SIZE, 8, activation_function="torch.nn.ReLU"),
    "names of inputs": pooled("Dense")
    | dense(
        SIZE, 8, module_input_name="sentence_embedding", module_output_name="sentence_embedding"
    ),
    "cut at 8": MEAN | reader(max_seq_length=8, do_lower_case=False),
    "cut at 30, more than the tokenizer says": MEAN | reader(max_seq_length=30),
    "cut at 99, more than the model has positions": MEAN | reader(max_seq_length=99),
    "cut where the tokenizer says": MEAN | reader(max_seq_length=None),
    "cut, in another file": MEAN | {"sentence_roberta_config.json": {"max_seq_length": 7}},
    "cut, in both files": MEAN
    | reader(max_seq_length=9)
    | {"sentence_roberta_config.json": {"max_seq_length": 7}},
    "lower case": MEAN | reader(do_lower_case=True),
    "lower case, and a prompt": MEAN
    | reader(do_lower_case=True, max_seq_length=12)
    | prompts("passage"),
    "as 6.2 writes it": MEAN
    | reader(
        transformer_task="feature-extraction",
        modality_config={"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
        module_output_name="token_embeddings",
    ),
    "prompts that none asks for": MEAN | prompts(),
    "a default prompt": MEAN | prompts("passage"),
    "a default prompt, and cls": pooled(**mode("cls")) | prompts("query"),
    "a default prompt that is empty": MEAN | prompts("document"),
    **{
        f"a prompt that is not pooled: {name}": pooled(**mode(name), include_prompt=False)
        | prompts("query")
        for name in ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
    },
    "no prompt where none is pooled": pooled(**mode("max", "mean"), include_prompt=False),
    "the first numbers": pooled("Dense", "Normalize") | TO_8 | prompts(truncate_dim=5),
    "more numbers than there are": MEAN | prompts(truncate_dim=99),
    "another similarity": pooled(**mode("cls")) | prompts(similarity_fn_name="dot"),
}
