"""What a buyer reads, in English and Chinese: one file for the page's script and for the pages
without a script.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from seckill.web.door.http import to_json

FILES = Path(__file__).parent / "files"
# By language: a text, or a headline and the sentence below it.
_ALL: dict[str, dict[str, Any]] = msgspec.json.decode((FILES / "words.json").read_bytes())
for _words in _ALL.values():
    # Twins of a loser may differ in this reason, and must read the same.
    _words["OVER"] = _words["SOLD_OUT"]
SCRIPT = b"""// Made from words.json.
const all = %s;
export const chinese = navigator.language.toLowerCase().startsWith("zh");
export const texts = chinese ? all.zh : all.en;
""" % to_json(_ALL)


class Words:
    """The texts of one language. `code` is for the page's `lang`."""

    def __init__(self, language: str, code: str) -> None:
        self.code = code
        self._texts = _ALL[language]

    def __getitem__(self, name: str) -> str:
        """One text."""
        text = self._texts[name]
        assert isinstance(text, str), name
        return text

    def told(self, name: str) -> tuple[str, str]:
        """A headline, and the sentence below it."""
        headline, detail = self._texts[name]
        return headline, detail

    def __contains__(self, name: str) -> bool:
        return name in self._texts


ENGLISH, CHINESE = Words("en", "en"), Words("zh", "zh-CN")


def words_for(headers: Mapping[bytes, bytes]) -> Words:
    """In the first language of a browser, as its script decides too."""
    first = headers.get(b"accept-language", b"").lstrip().lower()
    return CHINESE if first.startswith(b"zh") else ENGLISH
