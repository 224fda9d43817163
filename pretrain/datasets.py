"""Open the texts of a run as token shards: the training text, and the held-out ones."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plainformer.base import UserError, read_json
from plainformer.pretrain.config import PretrainConfig
from plainformer.pretrain.corpus import Corpus, Shard, Split, prepare_corpus
from plainformer.pretrain.corpus.manifest import FILE, is_prepared, read_manifest, read_shards
from plainformer.pretrain.data import MaskedBatches, TextSource, unigram_entropy
from plainformer.pretrain.evaluation import OLD
from plainformer.pretrain.masking import Masking
from plainformer.pretrain.objectives import PretrainingObjective
from plainformer.tokenizer import Tokenizer
from plainformer.training import Replay, is_main, main_first

DATA = "data.json"
"""The file in which a run saves `Texts.fingerprints`."""


@dataclass(frozen=True)
class Texts:
    """The training text of a run, and its held-out texts."""

    train: TextSource
    """The new text, followed by the old text if there is any."""
    replay: Replay | None
    held_out: Mapping[str, TextSource]
    """Prefix of its metrics -> held-out text."""
    new_tokens: int
    """Tokens of the new text to train on."""
    entropy: float
    """The entropy of single tokens of the new text."""
    fingerprints: Mapping[str, str]
    """Hashes of the shards of the corpus and of the old text; a resumed run requires the same."""

    def batches(
        self,
        config: PretrainConfig,
        objective: PretrainingObjective[Any],
        tokenizer: Tokenizer,
    ) -> MaskedBatches:
        """Make the batches of training, masked as the options say."""
        masking = Masking.of(
            tokenizer,
            ratio=config.masked_share,
            unit=config.masking,
            last_ratio=config.mask_ratio_end,
            steps=config.training.steps,
        )
        corrupt, seed = objective.corrupt(masking), config.training.seed
        return MaskedBatches(
            self.train, corrupt, config.batch_tokens, config.accumulate, seed, self.replay
        )


def open_texts(
    config: PretrainConfig,
    objective: PretrainingObjective[Any],
    tokenizer: Tokenizer,
    quiet: bool,
) -> Texts:
    """Open the new text, and the old text beside it."""

    def read(shards: Sequence[Shard]) -> TextSource:
        return objective.read(config, shards, tokenizer)

    folder = prepare_shards(config, config.corpus, "tokens", tokenizer, quiet)
    new = shards(folder, tokenizer)
    fingerprints = {"corpus": fingerprint(folder)}
    train, held_out, entropy = read(new["train"]), read(new["valid"]), unigram_entropy(new["train"])
    new_tokens = sum(len(shard.ids) for shard in new["train"])
    if not config.replay:
        return Texts(train, None, {"": held_out}, new_tokens, entropy, fingerprints)
    folder = prepare_shards(config, config.replay, "replay", tokenizer, quiet)
    old = shards(folder, tokenizer)
    fingerprints["replay"] = fingerprint(folder)
    replay = Replay(len(train), config.replay_share)
    both = read([*new["train"], *old["train"]])
    measured = {"": held_out, OLD: read(old["valid"])}
    return Texts(both, replay, measured, new_tokens, entropy, fingerprints)


def prepare_shards(
    config: PretrainConfig, names: Sequence[str], subfolder: str, tokenizer: Tokenizer, quiet: bool
) -> Path:
    """Return the folder of a text's shards: a prepared corpus, or one written in the run's folder.

    A resumed run reads the shards that it has, even if the text has changed.
    """
    prepared = [name for name in names if is_prepared(name)]
    if prepared and len(names) > 1:
        raise UserError(f"{prepared[0]} is a prepared corpus: give it alone")
    folder = Path(prepared[0]).expanduser() if prepared else config.out / subfolder
    with main_first():
        if is_main() and not (prepared or (config.resume and (folder / FILE).exists())):
            corpus = Corpus.of(names, config.valid_share)
            prepare_corpus(
                corpus,
                tokenizer,
                folder,
                workers=config.workers,
                overwrite=not config.resume,
                quiet=quiet,
            )
    return folder


def shards(folder: Path, tokenizer: Tokenizer) -> dict[Split, list[Shard]]:
    """Read the shards of both parts of a text."""
    splits: tuple[Split, Split] = ("valid", "train")
    return {split: read_shards(folder, tokenizer, split) for split in splits}


def fingerprint(folder: Path) -> str:
    """Hash the checksums of all shards."""
    sums = [entry.sha256 for entry in read_manifest(folder).shards]
    return hashlib.sha256("".join(sums).encode()).hexdigest()


def refuse_changes(texts: Texts, out: Path) -> None:
    """Raise `UserError`, naming the corpus, when a run is resumed on another text."""
    saved = read_json(out / DATA)
    for name, value in texts.fingerprints.items():
        if saved.get(name) != value:
            raise UserError(
                f"{name}: the text has changed since the run in {out} was started: restore it, "
                "or choose another folder"
            )
