"""Run a command of `plainformer COMMAND …`, and print a user's error as one line.

Only the module of that command is imported, so that help and light commands start quickly.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

from plainformer import __version__
from plainformer.base import UserError, did_you_mean
from plainformer.base.allocator import keep_memory
from plainformer.base.environment import rank_and_world_size
from plainformer.terminal import discard_output, prepare_streams

MAX_FAULT_CHARACTERS = 300

COMMANDS = {
    "demo": "every stage on a built-in text, in minutes, on a CPU",
    "data": "list | fetch NAME: data sets and models by name",
    "tokenizer": "train --files … --out DIR: train a tokenizer",
    "corpus": "--files … --tokenizer DIR --out DIR: tokenize text once for many runs",
    "pretrain": "--corpus … --tokenizer DIR (or --model DIR) --out RUN: pretrain on text",
    "finetune": "TASK --model DIR --train F --valid F --out RUN: fine-tune for a task",
    "multitask": "--model DIR --tasks F --out RUN: fine-tune for several tasks at once",
    "continual": "--model DIR --tasks F --out RUN: fine-tune for tasks one after the other",
    "search": "TASK --model DIR --train F --out DIR: search for the best options",
    "runs": "[DIR … | RUN RUN …]: list runs, or compare some",
    "evaluate": "RUN … --data F: measure a fine-tuned model, or several together",
    "predict": "RUN … --text … | --file F | < F: predict with it, or with several",
    "soup": "RUN RUN … --out DIR: average the weights of runs into one model",
    "propose": "RUN --file F --out F: choose the texts to label next",
    "check-labels": "RUN --out F: find labels that are probably wrong, by a run with folds",
    "fill-mask": "DIR --text …: predict the tokens at [MASK]",
    "embed": "DIR --text … | --file F --out F.npy: encode sentences as vectors",
    "explain": "RUN --text … | --file F: how much each word speaks for what it decides",
    "inspect": "VIEW RUN …: look inside a model: heads, layers, vectors, training examples",
    "calibrate": "RUN --data F: make probabilities honest; sets of labels, abstaining",
    "fairness": "RUN --data F --group COLUMN | --swap LIST: for whom it fails, whom it favours",
    "stress": "RUN --data F: what typos, other letters, distractors and worse do to its answers",
    "compare": "DIR: compare with transformers, layer by layer",
    "export": "DIR --out DIR: export to ONNX or torch.export, checked against the model",
    "shrink": "RUN --data F --out DIR: make it smaller or faster, measured against the run",
    "static": "DIR --out DIR: distil an encoder of sentences into static token vectors",
    "serve": "RUN …: answer over HTTP, the texts of all clients in shared batches",
    "push": "RUN USER/NAME: upload a model, with its card, to the Hugging Face hub",
    "convert": "DIR --out DIR: convert an old pytorch_model.bin to safetensors",
}
DISTRIBUTED = {"pretrain", "finetune", "multitask", "continual", "evaluate", "predict", "embed"}
"""The commands that torchrun may start."""


def usage() -> str:
    """Return the text of `plainformer --help`."""
    lines = [f"  {name:<12}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            "usage: plainformer COMMAND …",
            "",
            "The Transformer encoder in plain sight: pretrain it on your text, fine-tune it on",
            "your labels.",
            "",
            *lines,
            "",
            "plainformer COMMAND --help explains a command and each of its options.",
            "--debug shows the traceback of an error.",
        ]
    )


def run(name: str, rest: Sequence[str]) -> int:
    """Run one command, or print the help or the version; return the exit code."""
    if name in ("-h", "--help"):
        print(usage())
        return 0
    if name == "--version":
        print(f"plainformer {__version__}")
        return 0
    return int(import_module(f"plainformer.commands.{name.replace('-', '_')}").run(rest) or 0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code.

    0 for success, 2 for a user's error, 70 for an internal error, 130 after Ctrl-C.
    """
    prepare_streams()
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    name, *rest = [word for word in words if word != "--debug"] or ["--help"]
    if name not in (*COMMANDS, "-h", "--help", "--version"):
        hint = did_you_mean(name, COMMANDS) or "; plainformer --help lists them"
        print(f"plainformer: there is no command {name[:40]!r}{hint}", file=sys.stderr)
        return 2
    # Threads that wait spin only briefly before they sleep: on a machine with other work that is
    # several times as fast, on an idle one the same (benchmarks/LOG.md). Read when torch is loaded.
    os.environ.setdefault("GOMP_SPINCOUNT", "4000")
    keep_memory()
    try:
        if rank_and_world_size()[1] > 1 and name not in DISTRIBUTED:
            raise UserError("it runs on one process: start it without torchrun")
        if any("\0" in word for word in rest):
            raise UserError("an argument holds a zero byte: remove it")
        code = run(name, rest)
        sys.stdout.flush()
        return code
    except UserError as error:
        if not _reported_by_rank_0():
            say(name, str(error))
        return 2
    except BrokenPipeError:  # the reader closed the pipe (`| head`): no error
        discard_output("stdout")
        return 0
    except SystemExit as leaving:
        if not isinstance(leaving.__context__, BrokenPipeError):
            raise
        discard_output("stdout")  # rich exits in this way
        return 0
    except OSError as error:
        where = error.filename or "reading or writing failed"
        reason = error.strerror or " ".join(
            map(str, error.args)
        )  # numpy's errors have only a message
        say(name, f"{where}: {reason}")
        try:
            sys.stdout.flush()
        except OSError:  # the disk is full: else Python reports it again at exit
            discard_output("stdout")
        return 2
    except KeyboardInterrupt:
        return 130
    except GeneratorExit:
        raise
    except BaseException as error:  # a panic in a Rust library is not an Exception
        if debug:
            traceback.print_exc()
        fault = " ".join(f"{type(error).__name__}: {error}".split())
        shown = fault[:MAX_FAULT_CHARACTERS] + "…" * (len(fault) > MAX_FAULT_CHARACTERS)
        where = "" if debug else " (--debug shows the traceback)"
        if isinstance(error, MemoryError) or "can't allocate memory" in fault:
            shown = f"there is not enough memory: {shown}"
        else:
            shown = f"internal error: {shown}"
        say(name, f"{shown}{where}")
        return 70


def say(name: str, message: str) -> None:
    """Print an error on standard error, on one line if its text is one line."""
    try:
        print(f"plainformer {name}: {UserError(message)}", file=sys.stderr, flush=True)
    except OSError:
        discard_output("stderr")


def _reported_by_rank_0() -> bool:
    """Tell whether rank 0 reports the same error: before the process group is initialized."""
    try:
        if rank_and_world_size()[0] == 0:
            return False
    except UserError:
        return False
    distributed = sys.modules.get("torch.distributed")
    return distributed is None or not distributed.is_initialized()


if __name__ == "__main__":
    sys.exit(main())
