"""The site: a small chapter becomes pages in two languages, which are whole and accessible."""

import json
import re
import shutil
from pathlib import Path

import jaxtyping
import pytest
from playwright.sync_api import sync_playwright

from plainformer.base import UserError
from tests.processes import ROOT
from tests.walkthrough.live_model import save_model
from walkthrough.chapters import chapters
from walkthrough.site.__main__ import build
from walkthrough.site.check import FLAGS, check_in_browser, check_links, chromium
from walkthrough.site.docstrings import as_restructured
from walkthrough.site.execute import execute
from walkthrough.site.language import LANGUAGES, Language
from walkthrough.site.links import LINK, link_pages, page_of
from walkthrough.site.pages import title
from walkthrough.site.search import ChineseSearch

ASSETS = ROOT / "tests" / "assets"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of one chapter; the folder of its chapters."""
    root = tmp_path_factory.mktemp("repository")
    for name in ("walkthrough", "docs"):
        shutil.copytree(ASSETS / name, root / name)
    return root / "walkthrough"


@pytest.fixture(scope="module")
def site(folder: Path) -> Path:
    """The site of that chapter, with the reference of one package."""
    out = folder.parent / "site"
    build(folder, out, packages=("explain",))
    return out


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("language", "figure", "frames"),
    [
        ("en", "A line that rises to one half.", "The line, drawn twice."),
        ("zh", "一条升到二分之一的线。", "同一条线，画了两次。"),
    ],
)
def test_figures_are_described_in_the_language_of_the_page(
    site: Path, language: str, figure: str, frames: str
) -> None:
    page = read(site / language / "00_try.html")
    images = re.findall(r"<img [^>]*>", page)
    assert [re.search(r'alt="([^"]*)"', image)[1] for image in images] == [
        figure,
        f"{frames} first",
        f"{frames} second",
    ]
    assert f'aria-label="{frames}"' in page


@pytest.mark.parametrize("language", ["en", "zh"])
def test_each_cell_has_its_name_as_anchor(site: Path, language: str) -> None:
    page = read(site / language / "00_try.html")
    for name in ("half", "steps", "exercise-1", "check-1", "solution-1"):
        assert len(re.findall(rf'<div class="cell[^>]* id="{name}"', page)) == 1, name
        assert page.count(f'id="{name}"') == 1


@pytest.mark.parametrize("language", ["en", "zh"])
def test_formulas_are_mathml(site: Path, language: str) -> None:
    page = read(site / language / "00_try.html")
    assert page.count("<mfrac>") == 1
    assert page.count("<msqrt>") == 1
    assert re.findall(r"<script[^>]*math", page, re.IGNORECASE) == []


def test_solutions_are_folded_and_hints_are_prose(site: Path) -> None:
    page = read(site / "zh" / "00_try.html")
    solution = page[page.index('id="solution-1"') :]
    assert re.match(r"[^<]*<details[^>]*>\s*<summary[^>]*>", solution[solution.index(">") + 1 :])
    assert "参考答案" in solution
    assert re.search(r"<details><summary>提示</summary>\s*<p>.*<code", page)


def test_every_page_leads_to_itself_in_the_other_language(site: Path) -> None:
    pages = {path.relative_to(site / "en") for path in (site / "en").rglob("*.html")}
    assert pages == {path.relative_to(site / "zh") for path in (site / "zh").rglob("*.html")}
    for page in pages:
        up = "../" * (len(page.parts) - 1) or "./"
        assert f'href="{up}../zh/{page}" lang="zh"' in read(site / "en" / page), page
        assert f'href="{up}../en/{page}" lang="en"' in read(site / "zh" / page), page
    assert 'lang="zh-CN"' in read(site / "zh" / "index.html")


def test_links_lead_to_pages_and_what_has_none_is_text(site: Path) -> None:
    chapter, page = read(site / "zh/00_try.html"), read(site / "zh/repository/docs/page.html")
    assert 'href="repository/docs/page.html"' in chapter
    assert 'href="../../00_try.html#half"' in page
    assert "01_later" not in read(site / "en/index.html")
    assert '<a class="reference internal" href="00_try.html"' in read(site / "en/index.html")


@pytest.mark.parametrize(("language", "prose"), [("en", "Half of one"), ("zh", "一的一半")])
def test_notebook_and_script_can_be_downloaded(site: Path, language: str, prose: str) -> None:
    page = read(site / language / "00_try.html")
    for name in ("00_try.ipynb", "00_try.py", "guide.py"):
        assert f'notebooks/{name}"' in page
        assert (site / language / "notebooks" / name).is_file()
    notebook = json.loads(read(site / language / "notebooks" / "00_try.ipynb"))
    text = ["".join(cell["source"]) for cell in notebook["cells"]]
    assert prose in text[0]
    assert "../repository/docs/page.html" in text[0]
    assert any(cell.get("outputs") for cell in notebook["cells"])


def test_terms_are_listed_in_both_directions(site: Path) -> None:
    for language, names in (("en", ("half", "page")), ("zh", ("页", "一半"))):
        page = read(site / language / "terms.html")
        rows = re.findall(r"<tr.*?</tr>", page, re.DOTALL)[1:]
        assert [term in row for term, row in zip(names, rows, strict=True)] == [True, True]
        assert 'href="00_try.html#half"' in page
        assert 'href="repository/docs/page.html"' in page


def test_the_reference_shows_what_a_package_exports(site: Path) -> None:
    page = read(site / "zh" / "reference" / "explain.html")
    for name in ("Comparison", "Difference", "compare_folder", "compare_models"):
        assert f'id="plainformer.explain.{name}"' in page


def test_faults_of_links_are_found(site: Path, tmp_path: Path) -> None:
    assert check_links(site) == []
    shutil.copytree(site, tmp_path / "site")
    (tmp_path / "site" / "en" / "terms.html").write_text(
        '<a href="none.html"></a> <a href="00_try.html#none"></a> <a href="00_try.html#half"></a>'
        '<script src="https://example.org/a.js"></script> <a href="https://example.org"></a>'
    )
    faults = [fault for fault in check_links(tmp_path / "site") if "terms.html: " in fault]
    assert [fault.partition(": ")[2] for fault in faults if fault.startswith("en/terms")] == [
        "none.html leads to no file",
        "00_try.html#none leads to no anchor",
        "loads https://example.org/a.js from another host",
    ]


def test_outputs_are_kept_for_as_long_as_the_code_is_the_same(folder: Path, site: Path) -> None:
    cache = site.with_name("site-work") / "executed"
    chapter = folder / "00_try.py"
    before, text = execute("00_try", folder, cache)[0], read(chapter)
    try:
        chapter.write_text(text.replace("Half of one", "One half of one"))
        assert execute("00_try", folder, cache) == (before, False)
        chapter.write_text(text.replace("half = 1 / 2", "half = 1 / 3"))
        with pytest.raises(UserError, match=r"00_try\.py: the cell half fails") as failure:
            execute("00_try", folder, cache)
        assert "measured 33.33; the text says 50 %" in str(failure.value)
    finally:
        chapter.write_text(text)


def test_links_inside_code_and_formulas_stay() -> None:
    text = "`[a](00_try.py)` $[a](b)$\n\n```\n[a](00_try.py)\n```\n[`a`](00_try.py#b) [c](none.py)"
    pages = {page_of("walkthrough/00_try.py")}
    linked = link_pages(text, "walkthrough/README.md", ASSETS, pages)
    assert linked == text.replace("[`a`](00_try.py#b)", "[`a`](00_try.ipynb#b)").replace(
        "[c](none.py)", "c"
    )


def test_chinese_is_found_without_a_dictionary() -> None:
    split = ChineseSearch({}).split
    assert split("BERT的注意力，2 层") == ["BERT", *"的注意力", "的注", "注意", "意力", "2", "层"]


def test_docstrings_are_plain_text() -> None:
    lines = ["Return x*y of `a_`.", "", "    y = x_i", "And |x|.", "", "Raises:"]
    lines += ["    UserError: a *", "        fault."]
    assert as_restructured(lines) == [
        *(r"Return x\*y of `a_`.", "", "", "::", "", "    y = x_i", "", r"And \|x\|.", ""),
        *(r":raises UserError: a \*", "        fault."),
    ]


@pytest.mark.parametrize("language", LANGUAGES, ids=str)
def test_the_index_names_every_chapter_by_its_title(language: Language) -> None:
    text = read(ROOT / "walkthrough" / f"README{language.suffix}.md")
    listed = {
        Path(link["target"]).stem: link["text"]
        for link in LINK.finditer(text)
        if link["target"] and re.match(r"(zh/)?\d\d_", link["target"])
    }
    for chapter in chapters():
        assert listed[chapter] == title(chapter, language, ROOT / "walkthrough")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("language", "query", "page"),
    [
        ("zh", "一条线", "00_try.html"),
        ("zh", "二分之一", "terms.html"),
        ("en", "formula", "00_try.html"),
    ],
)
def test_search_works_from_a_folder(site: Path, language: str, query: str, page: str) -> None:
    """It needs Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        search = browser.new_page()
        search.goto(f"{(site / language / 'search.html').as_uri()}?q={query}")
        search.wait_for_selector("#search-results li a")
        links = search.eval_on_selector_all(
            "#search-results li a", "links => links.map(a => a.href)"
        )
    assert (site / language / page).as_uri() in {link.partition("?")[0] for link in links}


@pytest.mark.slow
def test_the_whole_site_is_accessible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs Chromium. The model of the live page is a random one."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # for the export
    build(ROOT / "walkthrough", tmp_path / "site", train=save_model)
    assert list(check_in_browser(tmp_path / "site")) == []
