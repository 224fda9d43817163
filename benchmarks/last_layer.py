"""Compare a last layer that computes the tokens a head reads with one that computes all.

    python benchmarks/last_layer.py --material runs/bench [--rounds 10] [--threads 2]

The workloads are those of `speed.py`: steps of fine-tuning and of MLM, and a classifier's forward
pass on short and on long texts, in batches of 32 sorted by length. Both sides take turns on one
model; figures are the medians of the time, the median and the quartiles of the ratio of the two in
each round, and the ratio of the operations (`encoder/flops.py`).
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from training_contenders import our_steps
from workloads import TASK, Case, open_case

from plainformer.encoder import MaskedLM, SequenceClassifier, Sequences
from plainformer.encoder.flops import encoder_flops, masked_lm_flops
from plainformer.encoder.heads.headed_model import HeadedModel, compute_all_tokens
from plainformer.pretrain.objectives import masked_lm

WORK = {"fine-tuning": "finetune", "MLM": "mlm", "short texts": "finetune", "long texts": "long"}


def steps(case: Case) -> tuple[HeadedModel, Callable[[], object]]:
    """Return a model, and a function that takes its training steps of one round."""
    if case.workload.kind == "mlm":
        model: HeadedModel = MaskedLM.from_pretrained(case.folder, dropout=0.0)
        step = our_steps(case, model, masked_lm)
    else:
        model = SequenceClassifier.from_pretrained(case.folder, dropout=0.0)
        step = our_steps(case, model, lambda m, batch: TASK.loss(TASK.outputs(m, batch), batch))
    return model, lambda: [step(batch) for batch in case.inputs]


def predictions(case: Case) -> tuple[HeadedModel, Callable[[], object]]:
    """Return a classifier, and a function that predicts all texts."""
    model = SequenceClassifier.from_pretrained(case.material / "classifier").eval()
    rows = sorted(case.ids, key=len)

    def predict() -> object:
        with torch.inference_mode():
            for start in range(0, len(rows), 32):
                some = rows[start : start + 32]
                ids = torch.tensor([token for row in some for token in row])
                model(ids, sequences=Sequences.of([len(row) for row in some]))
        return None

    return model, predict


def operations(case: Case) -> float:
    """Return the operations of a round with all tokens, as a multiple of those with few."""
    if case.workload.kind == "mlm":
        few = [masked_lm_flops(case.config, x.sequences, len(x.labels)) for x in case.inputs]
        saved = [
            encoder_flops(case.config, x.sequences)
            - encoder_flops(case.config, x.sequences, len(x.labels))
            for x in case.inputs
        ]
        return 1 + sum(saved) / sum(few)
    sequences = Sequences.of([len(row) for row in case.ids])
    few = encoder_flops(case.config, sequences, len(case.ids))
    return encoder_flops(case.config, sequences) / few


def main() -> None:
    """Run every workload, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--material", type=Path, default=Path("runs/bench"))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for title, name in WORK.items():
        case = open_case(name, options.material, torch.device("cpu"), "fp32", 1.0)
        model, work = (predictions if title.endswith("texts") else steps)(case)
        times = np.zeros((2, options.rounds))
        for number in range(-1, options.rounds):  # the first round is a warm-up
            for side in (0, 1) if number % 2 else (1, 0):
                hook = compute_all_tokens(model.base) if side == 0 else None
                began = time.perf_counter()
                work()
                times[side, number] = time.perf_counter() - began
                if hook is not None:
                    hook.remove()
        low, ratio, high = np.percentile(times[0] / times[1], [25, 50, 75])
        all_, few = np.median(times, 1) * 1e3
        print(
            f"{title:<12} {all_:7.0f} ms → {few:7.0f} ms   × {ratio:.3f} ({low:.3f}-{high:.3f})"
            f"   operations × {operations(case):.3f}"
        )


if __name__ == "__main__":
    main()
