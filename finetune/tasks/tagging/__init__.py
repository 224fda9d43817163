"""Tag the words of a sentence with entities or with plain labels such as parts of speech."""

from plainformer.finetune.tasks.tagging.task import Tagging

__all__ = ["Tagging"]
