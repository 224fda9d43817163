"""Tag the words of a sentence: names, parts of speech."""

from plainformer.finetune.tasks.tagging.task import Tagging

__all__ = ["Tagging"]
