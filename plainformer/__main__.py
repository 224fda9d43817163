"""`plainformer COMMAND …`: looks the command up, and turns a user's error into one line.

Only the command that runs is imported, so that help and light commands answer at once.
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
from plainformer.terminal import prepare, silence

LONGEST_FAULT = 300
"""The longest message, in characters, of an unexpected error."""

COMMANDS = {
    "demo": "the whole story on the built-in text, in minutes, on a CPU",
    "data": "list | fetch NAME: real sets by name",
    "tokenizer": "train --files … --vocab-size … --out DIR: learn a vocabulary",
    "corpus": "--files … --tokenizer DIR --out DIR: text as token shards, once for many runs",
    "pretrain": "--corpus … --tokenizer DIR (or --model DIR) --out RUN: learn a language from text",
    "finetune": "--model DIR --task … --train F --valid F --out RUN: learn a task from examples",
    "runs": "[DIR … | RUN RUN …]: list runs, or hold some against each other",
    "evaluate": "RUN --data F: measure a fine-tuned model, and leave a report",
    "predict": "RUN --text … | --file F | < F: use a fine-tuned model",
    "fill-mask": "DIR --text …: what the model expects at [MASK]",
    "embed": "DIR --text … | --file F --out F.npy: sentences as vectors",
    "compare": "DIR: layer by layer against transformers",
    "convert": "DIR --out DIR: an old pytorch_model.bin as safetensors",
}
ON_SEVERAL = {"pretrain"}
"""commands that torchrun may start on several processes"""


def usage() -> str:
    """The text of `plainformer --help`."""
    lines = [f"  {name:<10}  {what}" for name, what in COMMANDS.items()]
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
    """Run one command or answer for all of them; return the exit code."""
    if name in ("-h", "--help"):
        print(usage())
        return 0
    if name == "--version":
        print(f"plainformer {__version__}")
        return 0
    return int(import_module(f"plainformer.commands.{name.replace('-', '_')}").run(rest) or 0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code.

    0 by default, 2 for a user's error, 70 for a fault of the program, 130 after Ctrl-C.
    """
    prepare()
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
        if rank_and_world_size()[1] > 1 and name not in ON_SEVERAL:
            raise UserError("it runs on one process: start it without torchrun")
        if any("\0" in word for word in rest):
            raise UserError("no argument may hold a zero byte")
        code = run(name, rest)
        sys.stdout.flush()
        return code
    except UserError as error:
        if not _said_by_main():
            say(name, str(error))
        return 2
    except BrokenPipeError:  # the reader of our output has left (`| head`): nothing is wrong
        silence("stdout")
        return 0
    except SystemExit as leaving:
        if not isinstance(leaving.__context__, BrokenPipeError):
            raise
        silence("stdout")  # rich leaves so
        return 0
    except OSError as error:
        where = error.filename or "reading or writing failed"
        reason = error.strerror or " ".join(map(str, error.args))  # numpy's have words alone
        say(name, f"{where}: {reason}")
        try:
            sys.stdout.flush()
        except OSError:  # a full disk behind standard output: Python would say it once more
            silence("stdout")
        return 2
    except KeyboardInterrupt:
        return 130
    except GeneratorExit:
        raise
    except BaseException as error:  # a panic of a library in Rust is no Exception
        if debug:
            traceback.print_exc()
        fault = " ".join(f"{type(error).__name__}: {error}".split())
        shown = fault if len(fault) <= LONGEST_FAULT else fault[:LONGEST_FAULT] + "…"
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
        silence("stderr")


def _said_by_main() -> bool:
    """Whether this is one of several processes that have not yet begun to work on shares."""
    try:
        if rank_and_world_size()[0] == 0:
            return False
    except UserError:
        return False
    distributed = sys.modules.get("torch.distributed")
    return distributed is None or not distributed.is_initialized()


if __name__ == "__main__":
    sys.exit(main())
