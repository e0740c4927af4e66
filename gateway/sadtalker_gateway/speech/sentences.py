"""Text in sentences, whole or while it is still being written."""

import re

from sentencex import segment

LONGEST = 400  # characters of one sentence; a longer one is cut at a pause, so that its video can begin

_MARKUP = re.compile(r"[*_`#>|~]+")
_SPACE = re.compile(r"\s+")
_BREATH = re.compile(r"(?<=[,;:，、；：])|(?<=\s)")


def split_sentences(text: str, language: str = "en") -> list[str]:
    """Return the sentences of a text that contain something to say, each of at most LONGEST characters.

    Args:
        language: ISO 639 code, as in "en" or "en-us"; an unknown one is split at full stops.
    """
    sentences = []
    for paragraph in text.splitlines():
        plain = _SPACE.sub(" ", _MARKUP.sub(" ", paragraph)).strip()
        for sentence in segment(language.partition("-")[0].lower(), plain):
            sentences += _pieces(sentence.strip())
    return [sentence for sentence in sentences if any(character.isalnum() for character in sentence)]


class SentenceCutter:
    """Cuts a text that arrives in pieces into sentences as soon as each is known to be complete."""

    def __init__(self, language: str = "en") -> None:
        self._language = language
        self._pending = ""

    def feed(self, piece: str) -> list[str]:
        """Return the sentences that `piece` completes."""
        self._pending += piece
        # A sentence is over when the next one has begun: "3." may go on as "3.5".
        raw = list(segment(self._language.partition("-")[0].lower(), self._pending))
        if len(raw) < 2 and len(self._pending) < 2 * LONGEST:
            return []
        if len(raw) >= 2:
            complete, self._pending = "".join(raw[:-1]), raw[-1]
        else:
            complete, self._pending = self._pending, ""
        return split_sentences(complete, self._language)

    def end(self) -> list[str]:
        """Return what is left when the text is complete."""
        pending, self._pending = self._pending, ""
        return split_sentences(pending, self._language)


def _pieces(sentence: str) -> list[str]:
    if len(sentence) <= LONGEST:
        return [sentence]
    pieces, piece = [], ""
    for part in _BREATH.split(sentence):
        for start in range(0, len(part), LONGEST):
            bit = part[start : start + LONGEST]
            if len(piece) + len(bit) > LONGEST:
                pieces.append(piece.strip())
                piece = ""
            piece += bit
    return [*pieces, piece.strip()]
