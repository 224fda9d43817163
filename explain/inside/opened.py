"""Open a model folder to look inside: fine-tuned, or pretrained alone."""

from pathlib import Path

from plainformer.base import Inference, find_folder
from plainformer.encoder.weights import tokenizer_folder
from plainformer.finetune.ensemble import Finetuned
from plainformer.finetune.placement import Placement
from plainformer.finetune.prediction.predictor import Predictor
from plainformer.finetune.task_file import task_of
from plainformer.finetune.tasks.sentence_embedding import SentenceEmbedding
from plainformer.tokenizer import load_tokenizer


def open_model(folder: str | Path, device: str = "auto") -> Predictor:
    """Load a model, without gradients; a pretrained one gets the task of sentence vectors.

    Raises `UserError` for a folder without a model.
    """
    placement = Placement.of(Inference(device, "fp32"))  # gradients need its range
    found = find_folder(folder)
    if task_of(found) is not None:
        run = Finetuned.load(found)
    else:
        task = SentenceEmbedding.of_folder(found)
        tokenizer = load_tokenizer(tokenizer_folder(found))
        run = Finetuned(found, task, task.load(found), tokenizer)
        tokenizer.check_vocabulary(run.model.config.vocab_size, f"the model in {folder}")
    model = placement.move(run.model).requires_grad_(False)
    return Predictor(run.task, model, run.tokenizer)
