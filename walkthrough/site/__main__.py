"""Build the site: python -m walkthrough.site [--out runs/site]."""

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from plainformer.base import UserError
from walkthrough.chapters import HERE, chapters
from walkthrough.site.check import check_links
from walkthrough.site.execute import Outputs, execute
from walkthrough.site.html_pages import build_pages
from walkthrough.site.language import LANGUAGES
from walkthrough.site.live.build import add_model
from walkthrough.site.live.train import trained
from walkthrough.site.pages import PACKAGES, write_pages


def build(
    folder: Path,
    out: Path,
    packages: Sequence[str] = PACKAGES,
    train: Callable[[Path], Path] = trained,
) -> None:
    """Build the site of the chapters in `folder`, with the reference of `packages`.

    `train` returns the folder of the live page's model, given a folder where it may keep it.
    What lies in `out` is replaced; outputs of the cells are kept beside it, for the next time.

    Raises:
        UserError: a cell fails, Sphinx warns, or a link leads nowhere.
    """
    work = out.with_name(f"{out.name}-work")
    outputs: dict[str, Outputs] = {}
    for chapter in chapters(folder):
        print(f"{chapter} … ", end="", flush=True)
        start = time.monotonic()
        outputs[chapter], is_new = execute(chapter, folder, work / "executed")
        print(f"{time.monotonic() - start:.1f} s" if is_new else "as before")
    shutil.rmtree(out, ignore_errors=True)
    for language in LANGUAGES:
        print(f"{language.name} … ", end="", flush=True)
        start = time.monotonic()
        shutil.rmtree(work / language.code, ignore_errors=True)
        sources, downloads = work / language.code / "sources", work / language.code / "downloads"
        downloads.mkdir(parents=True)
        write_pages(language, folder, outputs, sources, downloads, packages)
        build_pages(language, sources, downloads, out / language.code)
        print(f"{time.monotonic() - start:.1f} s")
    if (live := out / "en" / "live.html").is_file():
        print(f"{live.name} … ", end="", flush=True)
        start = time.monotonic()
        fault = add_model(out, work / "live", train)
        seconds = f"{time.monotonic() - start:.1f} s"
        print(seconds if fault is None else f"without its model: {fault}")
    shutil.copyfile(Path(__file__).parent / "templates" / "root.html", out / "index.html")
    if faults := check_links(out):
        raise UserError("\n".join(faults))


def main() -> int:
    """Build the site as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE.parent / "runs" / "site")
    arguments = parser.parse_args()
    try:
        build(HERE, arguments.out)
    except UserError as error:
        print(f"\n{error}", file=sys.stderr)
        return 2
    print(f"{arguments.out / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
