"""From text to recordings: sentences, and the synthesisers that speak them."""

from .sentences import SentenceCutter, split_sentences
from .synthesis import SpeechError, Synthesizer, Utterance, Voice

__all__ = ["SentenceCutter", "SpeechError", "Synthesizer", "Utterance", "Voice", "split_sentences"]
