"""What every text that a person hears has to be."""

import re

from ledger.planning.explaining import SENTENCES
from ledger.planning.wording import Texts


def sentences_of(text: str, language: str) -> list[str]:
    parts = text.split("。") if language == "zh" else re.split(r"\.(?:\s|$)", text)
    return [part for part in parts if part]


def assert_plain(said: Texts) -> None:
    """Two sentences, no slot left, no word that only specialists know."""
    for language in ("zh", "en"):
        text: str = getattr(said, language)
        assert len(sentences_of(text, language)) == 2, text
        assert text.endswith("。" if language == "zh" else "."), text
        assert not re.search(r"[{}@]|None(?! of them)|  ", text), text
        assert not [word for word in SENTENCES.jargon[language] if word.lower() in text.lower()], text
