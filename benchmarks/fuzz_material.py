"""Make small valid tokenizers, models and a run, from a few sentences, for the fuzzer."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from plainformer.base import write_json
from plainformer.encoder import Encoder, EncoderConfig, MaskedLM
from plainformer.finetune import FinetuneConfig, finetune
from plainformer.tokenizer import Tokenizer, load_tokenizer, train_tokenizer
from plainformer.training import LoopConfig

ANIMALS = ["cat", "dog", "hen", "owl"]
TEXTS = [f"the {c} {a} eats the {c} fish ." for c in ("red", "blue", "grey") for a in ANIMALS]
ASKED = ["the red cat eats", "an owl <e1> fish", "", "naïve 猫 ! [MASK] x", "hen " * 100]
FAMILIES = {
    "bert": {},
    "roberta": {"position_offset": 1, "classifier_head": "tanh"},
    "distilbert": {"type_vocab_size": 0, "classifier_head": "relu"},
    "electra": {"embedding_size": 8, "classifier_head": "gelu"},
    "albert": {"embedding_size": 8, "share_layers": True},
}


def make_tokenizers(root: Path) -> dict[str, Tokenizer]:
    """Train a tokenizer of each kind; the byte-level one is made by Hugging Face."""
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models, pre_tokenizers, processors, trainers

    found: dict[str, Tokenizer] = {}
    sizes: dict[Any, int] = {"wordpiece": 50, "unigram": 284, "bpe": 284}
    for kind, size in sizes.items():
        found[kind] = train_tokenizer(TEXTS * 5, kind=kind, vocab_size=size)
        found[kind].save(root / "tokenizers" / kind)
    vocabulary = root / "tokenizers" / "vocabulary"
    found["wordpiece"].save(vocabulary)
    (vocabulary / "tokenizer.json").unlink(missing_ok=True)
    count = found["wordpiece"].vocab_size
    write_json(vocabulary / "added_tokens.json", {"<e1>": count, "</e1>": count + 1})
    write_json(
        vocabulary / "special_tokens_map.json", {"mask_token": "[MASK]", "pad_token": "[PAD]"}
    )
    found["vocabulary"] = load_tokenizer(vocabulary)
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(TEXTS, trainer)
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    folder = root / "tokenizers" / "byte-level"
    folder.mkdir()
    backend.save(str(folder / "tokenizer.json"))
    roles = {"cls": "<s>", "sep": "</s>", "pad": "<pad>", "unk": "<unk>", "mask": "<mask>"}
    config = {f"{role}_token": token for role, token in roles.items()}
    write_json(
        folder / "tokenizer_config.json", {**config, "tokenizer_class": "RobertaTokenizerFast"}
    )
    found["byte-level"] = load_tokenizer(folder)
    return found


def make_models(root: Path, tokenizer: Tokenizer) -> dict[str, Path]:
    """Save a model of several families; one is sharded, with its index and a pooling config."""
    found = {}
    for name, changes in FAMILIES.items():
        config = replace(
            EncoderConfig(
                architecture=name,  # type: ignore[arg-type]
                vocab_size=tokenizer.vocab_size,
                pad_token_id=tokenizer.pad_id,
                hidden_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=16,
                max_position_embeddings=32,
            ),
            **changes,
        )
        found[name] = folder = root / "models" / name
        MaskedLM(config).save_pretrained(folder)
        tokenizer.save(folder)
    modern = EncoderConfig.preset(
        "modern-tiny",
        vocab_size=tokenizer.vocab_size,
        pad_token_id=tokenizer.pad_id,
        hidden_size=16,
        num_attention_heads=2,
        intermediate_size=16,
        num_hidden_layers=2,
    )
    found["modern"] = root / "models" / "modern"
    MaskedLM(modern).save_pretrained(found["modern"])
    tokenizer.save(found["modern"])
    found["in parts"] = in_parts(found["bert"], root / "models" / "in parts")
    return found


def in_parts(model: Path, folder: Path) -> Path:
    """Copy a model, split its tensors into two files, and add sentence-transformers files."""
    from safetensors.torch import load_file, save_file

    Encoder.from_pretrained(model).save_pretrained(folder)
    load_tokenizer(model).save(folder)
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, chosen in parts.items():
        save_file({name: tensors[name] for name in chosen}, folder / file)
    (folder / "model.safetensors").unlink()
    weight_map = {name: file for file, chosen in parts.items() for name in chosen}
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})
    kinds = [("0", "", "Transformer"), ("1", "1_Pooling", "Pooling"), ("2", "2_N", "Normalize")]
    modules = [
        {"idx": int(n), "name": n, "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, path, kind in kinds
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    pooling = {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True}
    write_json(folder / "1_Pooling" / "config.json", pooling)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 24, "do_lower_case": False})
    return folder


def make_run(root: Path, model: Path) -> Path:
    """Fine-tune a classifier for a few steps, and keep its checkpoints."""
    rows = "text,label\n" + "\n".join(f"{t},{'ab'[i % 2]}" for i, t in enumerate(TEXTS)) + "\n"
    (root / "evaluate").mkdir()
    (root / "evaluate" / "rows.csv").write_text(rows)
    folder = root / "evaluate" / "run"
    data = str(root / "evaluate" / "rows.csv")
    training = LoopConfig(eval_every=2, checkpoint_every=2)
    config = FinetuneConfig(
        model=model, train=data, valid=data, out=folder, epochs=2, batch_size=4, max_length=16,
        training=training,
    )  # fmt: skip
    finetune(config, quiet=True)
    return folder
