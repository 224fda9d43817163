"""Write the sources of a language's pages: chapters, index, terms, reference, repository files."""

import ast
import importlib
import inspect
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import nbformat

from walkthrough.chapters import chapters
from walkthrough.site.execute import Outputs
from walkthrough.site.language import ENGLISH, LANGUAGES, Language
from walkthrough.site.links import Page, is_picture, link_pages, linked_files, page_of
from walkthrough.site.notebook import compose
from walkthrough.terms import Term, read_terms

PACKAGES = (
    *("encoder", "tokenizer", "corpora", "training"),
    *("pretrain", "finetune", "explain", "deploy"),
)
"""The packages whose exports the reference documents."""
HIGHLIGHTED = {".py": "python", ".toml": "toml", ".sh": "bash", ".json": "json"}


def write_pages(
    language: Language,
    folder: Path,
    outputs: dict[str, Outputs],
    sources: Path,
    downloads: Path,
    packages: Sequence[str] = PACKAGES,
) -> None:
    """Write what Sphinx reads into `sources`, and what readers download into `downloads`.

    `folder` holds the chapters; its parent is the repository.
    """
    root, pages = folder.parent, pages_of(folder)
    for page in pages:
        file, text = _text(page, language, folder)
        for path in filter(is_picture, linked_files(text, file, root)):
            (sources / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / path, sources / path)
        (sources / page.source).parent.mkdir(parents=True, exist_ok=True)
        if page.name in outputs:
            _write_notebooks(page, language, folder, outputs[page.name], sources, downloads, pages)
        else:
            text = link_pages(text, file, root, pages)
            if page.name == "index":
                text += _contents(language, folder, "live" in {page.name for page in pages})
            (sources / page.source).write_text(text, encoding="utf-8")
    for chapter in outputs:
        shutil.copyfile(folder / f"{chapter}.py", downloads / f"{chapter}.py")
    shutil.copyfile(Path(__file__).parents[1] / "guide.py", downloads / "guide.py")
    files = sorted(page.name for page in pages if page.name.startswith("repository/"))
    heading = f"# {language.words['files']}\n\n"
    (sources / "files.md").write_text(heading + _toctree("maxdepth: 1", files), encoding="utf-8")
    _write_reference(language, sources / "reference", packages)


def pages_of(folder: Path) -> set[Page]:
    """Return the pages of chapters, index and terms, and of the files that these link to."""
    names = [*(f"{chapter}.py" for chapter in chapters(folder)), "README.md", "terms.toml"]
    pages = {page_of(f"walkthrough/{name}") for name in names}
    linked = {
        path
        for page in pages
        for language in LANGUAGES
        for path in _linked(page, language, folder)
        if not is_picture(path)
    }
    return pages | {page_of(path) for path in linked}


def title(chapter: str, language: Language, folder: Path) -> str:
    """Return the title of a chapter."""
    return language.read(chapter, folder)[0].source.splitlines()[0].lstrip("# ")


def _linked(page: Page, language: Language, folder: Path) -> list[str]:
    file, text = _text(page, language, folder)
    return list(linked_files(text, file, folder.parent))


def _text(page: Page, language: Language, folder: Path) -> tuple[str, str]:
    """Return the file of a page in a language, and its prose."""
    if page.name in chapters(folder):
        cells = language.read(page.name, folder)
        prose = "\n\n".join(cell.source for cell in cells if cell.name is None)
        return page.path if language is ENGLISH else f"walkthrough/zh/{page.name}.md", prose
    if page.name == "terms":
        return page.path, _terms(read_terms(folder), language, folder)
    own = page.path.removesuffix(".md") + f"{language.suffix}.md"
    file = own if page.path.endswith(".md") and (folder.parent / own).is_file() else page.path
    text = (folder.parent / file).read_text(encoding="utf-8")
    if file.endswith(".md"):
        return file, text
    kind = HIGHLIGHTED.get(Path(file).suffix, "text")
    return file, f"# `{file}`\n\n``````{kind}\n{text.rstrip()}\n``````\n"


def _write_notebooks(
    page: Page,
    language: Language,
    folder: Path,
    outputs: Outputs,
    sources: Path,
    downloads: Path,
    pages: set[Page],
) -> None:
    """Write the notebook of a chapter for Sphinx, and the one to download."""
    file, _ = _text(page, language, folder)
    for place, finished in ((sources, None), (downloads, "../")):

        def link(text: str, finished: str | None = finished) -> str:
            return link_pages(text, file, folder.parent, pages, finished)

        notebook = compose(page.name, language, outputs, folder, link)
        nbformat.write(notebook, place / page.source)


def _contents(language: Language, folder: Path, has_live: bool) -> str:
    """Return the table of contents, which the side of each page shows."""
    words = language.words
    groups = {
        words["chapters"]: [*chapters(folder), *(["live"] if has_live else [])],
        words["reference"]: ["terms", "reference/index", "files"],
    }
    trees = [_toctree(f"hidden:\n:caption: {name}", names) for name, names in groups.items()]
    return "\n\n" + "\n".join(trees)


def _toctree(option: str, names: list[str]) -> str:
    """Return a table of contents."""
    lines = "\n".join(names)
    return f"```{{toctree}}\n:{option}\n\n{lines}\n```\n"


def _terms(terms: list[Term], language: Language, folder: Path) -> str:
    """Return the page of the terms, sorted: it links from the folder of the chapters."""
    words, is_english = language.words, language is ENGLISH
    lines = [
        f"# {words['terms']}\n\n{words['terms lead']}\n",
        f"| {words['term']} | {words['other term']} | {words['meaning']} | {words['shown']} |",
        "|---|---|---|---|",
    ]
    for term in sorted(terms, key=_english_order if is_english else _chinese_order):
        latin = ", ".join([term.en, *filter(str.isascii, term.also)])
        chinese = "、".join([term.zh, *(name for name in term.also if not name.isascii())])
        names = f"{latin} | {chinese}" if is_english else f"{chinese} | {latin}"
        meaning = term.meaning if is_english else term.meaning_zh
        lines.append(f"| {names} | {meaning} | {_shown(term, language, folder)} |")
    return "\n".join(lines) + "\n"


def _shown(term: Term, language: Language, folder: Path) -> str:
    """Return a link to where a term is shown."""
    if term.chapter is None:
        path, _, _ = term.shown.partition("#")
        return f"[{path}](../{term.shown})"
    if term.chapter not in chapters(folder):
        return ""
    _, hash, cell = term.shown.partition("#")
    return f"[{title(term.chapter, language, folder)}]({term.chapter}.py{hash}{cell})"


def _english_order(term: Term) -> str:
    return term.en.casefold()


def _chinese_order(term: Term) -> tuple[bool, bytes]:
    """Order by pronunciation, as GB 2312 orders the common characters; Latin letters come last."""
    return term.zh[0].isascii(), term.zh.casefold().encode("gb18030")


def _write_reference(language: Language, folder: Path, packages: Sequence[str]) -> None:
    """Write a page for each package, which Sphinx fills from its docstrings, and their index."""
    folder.mkdir(parents=True, exist_ok=True)
    words = language.words
    names = "".join(f"   {name}\n" for name in packages)
    lead = f"{words['reference lead']}\n\n.. toctree::\n   :maxdepth: 1\n\n{names}"
    (folder / "index.rst").write_text(_heading(words["reference"]) + lead, encoding="utf-8")
    for name in packages:
        module = f"plainformer.{name}"
        page = [_heading(module), f".. automodule:: {module}\n   :no-members:\n\n"]
        exported = importlib.import_module(module)
        for member in sorted(exported.__all__, key=str.casefold):
            kind = _kind(getattr(exported, member))
            members = "   :members:\n" if kind == "class" else ""
            place = _origin(exported, member) if kind == "data" else module
            page.append(f".. auto{kind}:: {place}.{member}\n{members}\n")
        (folder / f"{name}.rst").write_text("".join(page), encoding="utf-8")


def _kind(value: object) -> str:
    """Return the directive that documents a value."""
    if isinstance(value, type):
        return "exception" if issubclass(value, BaseException) else "class"
    return "function" if callable(value) else "data"


def _origin(package: ModuleType, member: str) -> str:
    """Return the module from which a package imports a constant: its docstring stands there."""
    for node in ast.parse(inspect.getsource(package)).body:
        if isinstance(node, ast.ImportFrom) and member in {alias.name for alias in node.names}:
            return node.module or ""
    return package.__name__


def _heading(text: str) -> str:
    return f"{text}\n{'=' * 2 * len(text)}\n\n"
