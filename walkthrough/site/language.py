"""Name what the two languages of the site have of their own."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from walkthrough.chapters import Cell, chinese, english


@dataclass(frozen=True)
class Language:
    """A language of the site."""

    code: str
    """Its folder within the site."""
    locale: str
    """Its name for Sphinx."""
    name: str
    suffix: str
    """The suffix of its files before `.md`: `.zh-CN` in `README.zh-CN.md`."""
    read: Callable[[str, Path], list[Cell]]
    """Read a chapter, given its name and the folder of the chapters."""
    words: dict[str, str]
    """The words of the site itself."""

    def __str__(self) -> str:
        """Return its code."""
        return self.code


ENGLISH = Language(
    code="en",
    locale="en",
    name="English",
    suffix="",
    read=english,
    words={
        "title": "Plainformer, the walkthrough",
        "solution": "Solution",
        "terms": "Terms",
        "terms lead": "Every term of the field that the chapters use, where it is shown, and what "
        "it is called in Chinese.",
        "term": "Term",
        "other term": "Chinese",
        "meaning": "Meaning",
        "shown": "Shown in",
        "reference": "Reference",
        "reference lead": "The public interface, package by package: what each exports.",
        "chapters": "Chapters",
        "files": "Files of the repository",
        "elsewhere": "This page elsewhere",
        "navigation": "Pages",
        "contents": "Sections of this page",
        "colours": "Colours: light, dark, or as the system has it",
        "notebook": "Notebook",
        "script": "Script",
        "helpers": "guide.py, which both import",
    },
)

CHINESE = Language(
    code="zh",
    locale="zh_CN",
    name="中文",
    suffix=".zh-CN",
    read=chinese,
    words={
        "title": "Plainformer 导读",
        "solution": "参考答案",
        "terms": "术语表",
        "terms lead": "各章用到的术语：英文怎么说，是什么意思，在哪里讲到。",
        "term": "术语",
        "other term": "英文",
        "meaning": "含义",
        "shown": "见",
        "reference": "接口参考",
        "reference lead": "公开接口，按包列出各包导出的内容。说明文字取自源代码，为英文。",
        "chapters": "各章",
        "files": "仓库文件",
        "elsewhere": "本页的其他形式",
        "navigation": "各页",
        "contents": "本页各节",
        "colours": "颜色：浅色、深色，或跟随系统",
        "notebook": "笔记本",
        "script": "脚本",
        "helpers": "笔记本和脚本都要用的 guide.py",
        "On this page": "本页内容",
        "Skip to content": "跳到正文",
        "Back to top": "回到顶部",
        "Home": "首页",
        "Next": "下一页",
        "Previous": "上一页",
    },
)

LANGUAGES = (ENGLISH, CHINESE)
