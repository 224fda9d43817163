"""Compare the speed of our WordPiece, in Python, with `tokenizers`, in Rust, on one thread.

    python benchmarks/wordpiece_speed.py --tokenizer FOLDER --text FILE
                                         [--megabytes 2] [--repeats 5]

The folder is a BERT-like one with `tokenizer.json` or `vocab.txt`; the text is encoded line by
line. First ids, offsets and word ids are checked to be equal on every line. Then the calls take
turns, and the medians are printed. "cold" starts each time with an empty cache, as a new process
does; "warm" has seen the text before.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
sys.path.insert(0, str(Path(__file__).parents[1]))

import tokenizers

from plainformer.tokenizer import WordPiece, load_tokenizer


def read_lines(path: Path, megabytes: float) -> list[str]:
    """Read lines from all parts of a file, in case it is sorted alphabetically."""
    lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    size = sum(len(line.encode()) for line in lines)
    every = max(1, int(size / (megabytes * 1e6)))
    return lines[::every]


def open_wordpiece(folder: Path) -> WordPiece:
    """Open the WordPiece tokenizer of a folder, with an empty cache and without truncation."""
    tokenizer = load_tokenizer(folder)
    if not isinstance(tokenizer, WordPiece):
        sys.exit(f"{folder} is not a WordPiece tokenizer")
    tokenizer.max_length = None
    return tokenizer


def main() -> None:
    """Check that the outputs are equal, then time every call."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--megabytes", type=float, default=2.0)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()

    ours = open_wordpiece(options.tokenizer)
    theirs = tokenizers.Tokenizer.from_str(json.dumps(ours.definition()))
    lines = read_lines(options.text, options.megabytes)
    megabytes = sum(len(line.encode()) for line in lines) / 1e6

    for line, other in zip(lines, theirs.encode_batch(lines), strict=True):
        mine = ours.encode(line)
        if (mine.ids, mine.offsets, mine.word_ids) != (other.ids, other.offsets, other.word_ids):
            sys.exit(f"outputs differ on {line!r}")
        if [id for word in ours.words(line) for id in word] != mine.ids[1:-1]:
            sys.exit(f"words differ on {line!r}")
    print(f"{len(lines):,} lines, {megabytes:.2f} MB: ids, offsets and word ids are equal")

    def each(call: Callable[[str], object]) -> None:
        for line in lines:
            call(line)

    def cold(name: str) -> Callable[[], None]:
        fresh = open_wordpiece(options.tokenizer)
        return lambda: each(getattr(fresh, name))

    calls: dict[str, Callable[[], Callable[[], object]]] = {
        "ours words (ids), warm": lambda: lambda: each(ours.words),
        "ours words (ids), cold": lambda: cold("words"),
        "ours encode (offsets), warm": lambda: lambda: each(ours.encode),
        "ours encode (offsets), cold": lambda: cold("encode"),
        "tokenizers encode": lambda: lambda: each(theirs.encode),
        "tokenizers encode_batch": lambda: lambda: theirs.encode_batch(lines),
        "tokenizers encode_batch_fast": lambda: lambda: theirs.encode_batch_fast(lines),
    }
    speeds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(options.repeats):
        for name, prepare in calls.items():
            call = prepare()
            start = time.process_time()
            call()
            speeds[name].append(megabytes / (time.process_time() - start))
    print(f"Python {platform.python_version()}, tokenizers {tokenizers.__version__}, one thread")
    base = statistics.median(speeds["tokenizers encode"])
    for name, values in speeds.items():
        median = statistics.median(values)
        print(
            f"{name:<30} {median:6.2f} MB/s   ×{median / base:5.2f}"
            f"   ({min(values):.2f} – {max(values):.2f})"
        )


if __name__ == "__main__":
    main()
