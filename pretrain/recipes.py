"""Recipes: sets of options that belong together.

| recipe     | options                                                                            |
|------------|------------------------------------------------------------------------------------|
| `modern`   | all defaults: the settings that trained fastest in our experiments                 |
|            | (benchmarks/LOG.md)                                                                |
| `bert`     | BERT as published (Devlin et al. 2018, arXiv:1810.04805, A.2): BERT-base, masked   |
|            | words and next sentences, a million steps of 131,072 tokens, AdamW, a rate of      |
|            | 1e-4; but 512 tokens in every sequence, where BERT took 128 in 90 % of the steps   |
| `continue` | for a pretrained model: a rate that rises again and falls again (Gupta et al.      |
|            | 2023, arXiv:2308.04014); the default with `--model`                                |

Other options override those of a recipe: `--recipe bert --preset bert-mini --steps 20000`. Only the
command line applies recipes; in Python, `PretrainConfig` has the options of `modern` by default.
"""

RECIPES: dict[str, str] = {
    "modern": "",
    "bert": (
        "--preset bert-base --objective mlm nsp --mask-ratio 0.15 --masking tokens "
        "--max-length 512 --batch-tokens 8192 --accumulate 16 --steps 1000000 "
        "--optimizer adamw --learning-rate 1e-4 --betas 0.9 0.999 --eps 1e-6 --weight-decay 0.01 "
        "--schedule linear --warmup 0.01"
    ),
    "continue": (
        "--optimizer adamw --learning-rate 3e-4 --weight-decay 0.01 --schedule cosine --warmup 0.05"
    ),
}
