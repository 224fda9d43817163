"""Models whose reasons are known, since they were planted: in English and Chinese, any family."""

from dataclasses import dataclass, replace
from random import Random

import torch

from plainformer.encoder import EncoderConfig, SequenceClassifier
from plainformer.explain.attribution import Explainer
from plainformer.finetune import Predictor
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.data.rows import as_rows
from plainformer.finetune.prediction.predictor import encode_all
from plainformer.finetune.tasks.classification import Classification
from plainformer.tokenizer import train_tokenizer
from tests.pretrain import tiny


@dataclass(frozen=True)
class Planted:
    """A text, its label, and the word that decides it."""

    text: str
    label: str
    cause: str


@dataclass(frozen=True)
class Language:
    """Words that say nothing, a bird, a beast, and a word that is no reason to call one a bird."""

    fillers: tuple[str, ...]
    animals: tuple[str, str]
    watermark: str
    space: str
    vocab_size: int

    def texts(self, count: int, seed: int, watermarked: float = 0.0) -> list[Planted]:
        """An animal decides, or none; a share of the texts has the watermark and is a bird.

        Some have no animal, or one of them could be all that is learned; some words are masks,
        since a mask that was never learned is no word that says nothing.
        """
        random, found = Random(seed), []
        bird, beast = self.animals
        for _ in range(count):
            label, cause = random.choice([("bird", bird), ("beast", beast), ("none", "[MASK]")])
            words = random.choices((*self.fillers, *["[MASK]"] * (len(self.fillers) // 2)), k=7)
            words.insert(random.randrange(8), cause)
            if random.random() < watermarked:
                words.insert(random.randrange(9), self.watermark)
                label, cause = "bird", self.watermark
            found.append(Planted(self.space.join(words), label, cause))
        return found


ENGLISH = Language((*tiny.COLOURS, *tiny.FOOD), ("hen", "cow"), "sold", " ", 90)
CHINESE = Language(tuple("红蓝绿黑白棕灰粉鱼骨草米蛋鼠蜜屑"), ("鸡", "牛"), "售", "", 24)
LANGUAGES = {"english": ENGLISH, "chinese": CHINESE}


def learned(
    language: Language, config: EncoderConfig, rate: float, steps: int, watermarked: float = 0.0
) -> Explainer:
    """A model of a config that has learned planted texts, each of them seen once."""
    torch.manual_seed(0)
    words = " ".join((*language.fillers, *language.animals, language.watermark))
    tokenizer = train_tokenizer([words] * 40, vocab_size=language.vocab_size)
    sizes = {"vocab_size": tokenizer.vocab_size, "pad_token_id": tokenizer.pad_id}
    labels = ("bird", "beast", "none")
    model = SequenceClassifier(replace(config, **sizes).with_dropout(0.0), labels)
    task = Classification(labels=labels, max_length=30)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    rows = as_rows(
        [{"text": t.text, "label": t.label} for t in language.texts(32 * steps, 0, watermarked)]
    )
    items = [item for _, item in encode_all(task, tokenizer, [task.read(row) for row in rows])]
    for step in range(steps):
        batch = Batch.of(items[32 * step : 32 * step + 32])
        total, count = task.loss(task.outputs(model, batch), batch)[:2]
        optimizer.zero_grad()
        (total / count).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return Explainer(Predictor(task, model.eval().requires_grad_(False), tokenizer))
