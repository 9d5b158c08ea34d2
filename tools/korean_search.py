"""A Sphinx extension: the site's search finds Korean words, joined or with endings.

Sphinx takes what stands between two spaces for a word, and finds parts of a word only
from three letters on. Korean words often have two syllables and carry particles, and
compounds are written with and without spaces. So Hangul is indexed, and looked up, by
pairs of neighbouring syllables, across spaces: 행렬 분해 as 행렬, 렬분 and 분해.
"""

import re
from itertools import pairwise
from typing import Any

from sphinx.application import Sphinx
from sphinx.search.en import SearchEnglish

HANGUL = r"[가-힣]+(?:\s+[가-힣]+)*"
WORDS = re.compile(rf"({HANGUL})|[^\W가-힣]+")

SPLIT_QUERY = r"""
var splitQuery = (query) => {
  const words = query.matchAll(
    /([가-힣]+(?:\s+[가-힣]+)*)|(?:(?![가-힣])[\p{L}\p{N}_\p{Emoji_Presentation}])+/gu
  );
  return [...words].flatMap(([word, hangul]) => {
    if (!hangul) return [word];
    const syllables = [...hangul.replace(/\s+/g, "")];
    if (syllables.length === 1) return syllables;
    return syllables.slice(1).map((syllable, i) => syllables[i] + syllable);
  });
};
"""


class EnglishAndKorean(SearchEnglish):
    """English words by their stems, Korean ones by their pairs of syllables."""

    lang = "en"
    js_splitter_code = SPLIT_QUERY

    def split(self, text: str) -> list[str]:
        """Return the words of a text, or what stands for them in the index."""
        found = []
        for match in WORDS.finditer(text):
            if not match[1]:
                found.append(match[0])
                continue
            syllables = "".join(match[1].split())
            pairs = [first + second for first, second in pairwise(syllables)]
            # Single syllables are words, too: 값, a value.
            found += [*pairs, *(word for word in match[1].split() if len(word) == 1)]
        return found


class KoreanAndEnglish(EnglishAndKorean):
    """The same for the Korean edition, whose code and names are English."""

    lang = "ko"


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_search_language(EnglishAndKorean)
    app.add_search_language(KoreanAndEnglish)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
