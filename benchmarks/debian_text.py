"""Extract some 20 MB of English prose and manuals from Debian packages, for long benchmarks.

    python benchmarks/debian_text.py --out runs/debian [--packages anarchism postgresql-doc-15 …]

Needs Debian or Ubuntu (`apt-get download`, `dpkg`). Writes PACKAGE.jsonl into the folder, with a
document per page: its headings, paragraphs, list items and table cells in order, without code. The
package `anarchism` is under the GFDL and the GPL, `postgresql-doc-15` under the PostgreSQL License,
`python3.11-doc` under the PSF License. Nothing in a package is run.
"""

import argparse
import json
import subprocess
import tempfile
from html.parser import HTMLParser
from pathlib import Path

from plainformer.base import atomic_path

PACKAGES = ("anarchism", "postgresql-doc-15", "python3.11-doc")
BLOCKS = {"p", "li", "dd", "dt", "td", "th", "h1", "h2", "h3", "h4", "h5", "blockquote", "div"}
SKIPPED = {"script", "style", "pre", "nav", "title"}


class Prose(HTMLParser):
    """A parser that collects the paragraphs of an HTML page."""

    def __init__(self) -> None:
        super().__init__()
        self.paragraphs: list[str] = [""]
        self._skipping = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """Begin a paragraph, or an element to skip."""
        self._skipping += tag in SKIPPED
        if tag in BLOCKS:
            self.paragraphs.append("")

    def handle_endtag(self, tag: str) -> None:
        """End a paragraph, or a skipped element."""
        self._skipping = max(0, self._skipping - (tag in SKIPPED))
        if tag in BLOCKS:
            self.paragraphs.append("")

    def handle_data(self, data: str) -> None:
        """Add text to the current paragraph."""
        if not self._skipping:
            self.paragraphs[-1] += data


def prose(page: str) -> str:
    """Return the paragraphs of an HTML page with at least five words, one per line."""
    parser = Prose()
    parser.feed(page)
    lines = (" ".join(paragraph.split()) for paragraph in parser.paragraphs)
    return "\n".join(line for line in lines if line.count(" ") >= 4)


def fetch(package: str, out: Path) -> int:
    """Write `out`/PACKAGE.jsonl of `package`, a name or name=version; return its characters."""
    characters = 0
    with tempfile.TemporaryDirectory() as temporary:
        subprocess.run(["apt-get", "download", "-qq", package], cwd=temporary, check=True)
        (archive,) = Path(temporary).glob("*.deb")
        subprocess.run(["dpkg", "-x", archive.name, "."], cwd=temporary, check=True)
        with (
            atomic_path(out / f"{package.partition('=')[0]}.jsonl") as path,
            path.open("w") as file,
        ):
            for page in sorted(Path(temporary, "usr/share/doc").rglob("*.html")):
                text = prose(page.read_text(encoding="utf-8", errors="replace"))
                characters += len(text)
                if text and not page.is_symlink():
                    file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
    return characters


def main() -> None:
    """Extract each package, and print its size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--packages", nargs="*", default=PACKAGES)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for package in options.packages:
        print(f"{package}: {fetch(package, options.out) / 1e6:.1f} million characters")


if __name__ == "__main__":
    main()
