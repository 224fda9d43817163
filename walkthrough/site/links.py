"""Turn links between files of the repository into links between pages of the site."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

LINK = re.compile(
    r"(?:^|(?<=\n))(?P<fence>`{3,}|~{3,}).*?\n(?P=fence)"  # code and formulas hold no links
    r"|`[^`\n]+`|\$\$.*?\$\$|\$[^$\n]+\$"
    r"|(?P<image>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^()\s]+)\)",
    re.DOTALL,
)
SWITCH = re.compile(r"^\[(?:中文|English)\]\(\S+\)$\n*", re.MULTILINE)
PICTURES = {".png", ".svg", ".jpg"}


@dataclass(frozen=True)
class Page:
    """A page of the site, and the file of the repository that it shows."""

    name: str
    """Its name in Sphinx: `03_attention`, `repository/docs/limits`."""
    path: str
    """The file in English, from the top of the repository."""

    @property
    def source(self) -> str:
        """Name its source in the folder that Sphinx reads."""
        is_chapter = re.fullmatch(r"\d\d_\w+", self.name) is not None
        return f"{self.name}{'.ipynb' if is_chapter else '.md'}"


def page_of(path: str) -> Page:
    """Return the page that shows a file of the repository, given in any language."""
    path = path.replace(".zh-CN.md", ".md")
    if chapter := re.fullmatch(r"walkthrough/(?:zh/)?(\d\d_\w+)\.(?:py|md)", path):
        return Page(chapter[1], f"walkthrough/{chapter[1]}.py")
    own = {
        "walkthrough/README.md": "index",
        "walkthrough/terms.toml": "terms",
        "walkthrough/site/live/page.md": "live",
    }
    return Page(own.get(path, f"repository/{path.removesuffix('.md')}"), path)


def linked_files(text: str, file: str, root: Path) -> Iterator[str]:
    """Iterate over the files of the repository that a text links to or shows."""
    for link in LINK.finditer(text):
        if link["target"] and (path := _path(link["target"], file, root)):
            yield path


def is_picture(path: str) -> bool:
    """Return whether a file is a picture."""
    return PurePosixPath(path).suffix in PICTURES


def link_pages(
    text: str, file: str, root: Path, pages: set[Page], finished: str | None = None
) -> str:
    """Rewrite the links of a text of `file` into links between the sources of pages.

    A link to what has no page becomes its text. `finished` is the way to the finished pages, for a
    notebook that is read beside them.
    """
    up = "../" * (len(PurePosixPath(page_of(file).name).parts) - 1)

    def rewrite(link: re.Match[str]) -> str:
        target = link["target"]
        if not target or "://" in target or target.startswith("#"):
            return link[0]
        path = _path(target, file, root)
        if path is None:
            return link["text"]
        if is_picture(path):
            return f"{link['image']}[{link['text']}]({up}{path})"
        page = page_of(path)
        if page not in pages:
            return link["text"]
        name = f"{up}{page.source}"
        if finished is not None and not name.endswith(".ipynb"):
            name = f"{finished}{page.name}.html"
        return f"[{link['text']}]({name}{''.join(target.partition('#')[1:])})"

    return LINK.sub(rewrite, SWITCH.sub("", text))


def _path(target: str, file: str, root: Path) -> str | None:
    """Return the path of a link's target from the top of the repository; None: it is no file."""
    name = target.partition("#")[0]
    path = (root / file).parent.joinpath(name).resolve()
    if not name or "://" in target or not path.is_file():
        return None
    inside = path.is_relative_to(root.resolve())
    return path.relative_to(root.resolve()).as_posix() if inside else None
