"""Search Chinese text by its characters and by each pair of neighbours, in index and query."""

import re

from sphinx.search import SearchLanguage

HAN = "\u3400-\u4dbf\u4e00-\u9fff"


class ChineseSearch(SearchLanguage):
    """Index Chinese by one and two characters; no dictionary has to know the terms."""

    lang = "zh"
    language_name = "Chinese"
    js_splitter_code = f"""
function splitQuery(query) {{
  const words = query.match(/[{HAN}]+|[^{HAN}\\W]+|[^{HAN}\\s\\p{{P}}]+/gu) || [];
  return words.flatMap((word) =>
    /[{HAN}]/.test(word) && word.length > 1
      ? [...word].slice(1).map((character, i) => word[i] + character)
      : [word]);
}}
"""

    def split(self, text: str) -> list[str]:
        """Split a text into words, and a run of Chinese into characters and pairs of them."""
        words = []
        for run in re.findall(rf"[{HAN}]+|[^\W{HAN}]+", text):
            is_chinese = re.match(f"[{HAN}]", run) is not None
            pairs = [run[i : i + 2] for i in range(len(run) - 1)]
            words += [*run, *pairs] if is_chinese else [run]
        return words

    def stem(self, word: str) -> str:
        """Ignore the case."""
        return word.lower()
