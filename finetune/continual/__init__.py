"""Learn tasks one after the other, and forget little of the earlier ones.

    pull = ElasticPull({}, {}).after(model, fisher(task, model, items))    # EWC, after a task
    pull.add_gradient(model, strength=1000)                                # in a step of the next
    order = Replayed("new", new_order, {"old": old_order}, share=0.1)      # replay

A file each. Without a method a sequence is plain fine-tuning, from the weights of the task before.
"""

from plainformer.finetune.continual.ewc import ElasticPull, fisher
from plainformer.finetune.continual.replay import Replayed, buffer
from plainformer.finetune.continual.scores import SequenceScores

__all__ = ["ElasticPull", "Replayed", "SequenceScores", "buffer", "fisher"]
