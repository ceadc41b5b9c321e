r"""Rules that tell text from what is none, each published with its constant.

    >>> failing('Buy now!\nBuy now!\nBuy now!', RULE_SETS['gentle'])
    'repeated_lines'
    >>> failing('A cat sat on the mat.', RULE_SETS['gentle']) is None
    True
    >>> failing('A cat sat on the mat.', RULE_SETS['gopher'])
    'few_words'

A rule is a function of a document's features that says whether it goes. The
sources are C4 (Raffel et al. 2020, 2.2), Gopher (Rae et al. 2021, appendix A.1
and table A1) and FineWeb (Penedo et al. 2024, 3.6). What C4 does to lines is in
`line_rules`.

Most of the published rules are for prose, in English or in languages with
spaces. The set 'gentle', the default, has only what holds for any text: tables,
lists, poems, news of a line and Chinese stay.
"""

import re
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from bertjax.corpus.document_features import Document
from bertjax.errors import choose

Rule = Callable[[Document], bool]

_BULLETS = ('•', '‣', '▶', '◀', '◦', '■', '□', '▪', '▫', '–', '-', '*', '·')
_ELLIPSES = ('...', '…')
_TERMINAL = ('.', '!', '?', '"', '”', '’', "'", '。', '！', '？', '…', '।', '؟')
_STOP_WORDS = {'the', 'be', 'to', 'of', 'and', 'that', 'have', 'with'}
# Gopher, table A1: words in a row -> the largest share of characters, in the
# most frequent of them, or in all that occur more than once.
_TOP_NGRAM = {2: 0.20, 3: 0.18, 4: 0.16}
_REPEATED_NGRAMS = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
_SENTENCE_END = re.compile(r'[.!?。！？।؟]+["”’\')\]]*(?:\s|$)')


def _few_words(document: Document) -> bool:
  """Fewer than 50 words (Gopher)."""
  return len(document.words) < 50


def _many_words(document: Document) -> bool:
  """More than 100,000 words (Gopher)."""
  return len(document.words) > 100_000


def _mean_word_length(document: Document) -> bool:
  """Words of less than 3 or more than 10 characters in the mean (Gopher)."""
  mean = document.characters / max(1, len(document.words))
  return not 3 <= mean <= 10


def _symbols(document: Document) -> bool:
  """More than 0.1 hashes, or ellipses, for each word (Gopher)."""
  ellipses = sum(map(document.text.count, _ELLIPSES))
  most = max(document.text.count('#'), ellipses)
  return most > 0.1 * len(document.words)


def _bullets(document: Document) -> bool:
  """More than 90% of lines begin with a bullet (Gopher)."""
  return _share(document.lines, lambda x: x.startswith(_BULLETS)) > 0.9


def _ellipses(document: Document) -> bool:
  """More than 30% of lines end in an ellipsis (Gopher)."""
  return _share(document.lines, lambda x: x.endswith(_ELLIPSES)) > 0.3


def _words_without_letters(document: Document) -> bool:
  """Less than 80% of words have a letter (Gopher)."""
  share = _share(document.words, _has_letter)
  return share < 0.8


def _stop_words(document: Document) -> bool:
  """Fewer than two of eight English stop words occur (Gopher)."""
  return len(_STOP_WORDS & document.lower_words) < 2


def _repeated_lines(document: Document) -> bool:
  """More than 30% of lines occur before (Gopher, table A1)."""
  return document.repeated_lines > 0.3


def _repeated_line_characters(document: Document) -> bool:
  """More than 20% of characters are in lines that occur before (the same)."""
  return document.repeated_line_characters > 0.2


def _top_ngram(document: Document) -> bool:
  """One phrase of 2 to 4 words makes up a sixth or more (the same)."""
  return any(document.top_ngram(n) > most for n, most in _TOP_NGRAM.items())


def _repeated_ngrams(document: Document) -> bool:
  """More than 10 to 15% are in phrases of 5 to 10 words again (the same)."""
  # What is in longer phrases again is in shorter ones as well, so most texts
  # need but one look.
  if document.repeated_ngrams(min(_REPEATED_NGRAMS)) <= min(
    _REPEATED_NGRAMS.values()
  ):
    return False
  return any(
    document.repeated_ngrams(n) > most for n, most in _REPEATED_NGRAMS.items()
  )


def _few_sentences(document: Document) -> bool:
  """Fewer than 3 sentences (C4; deviation: told by their punctuation alone)."""
  return len(_SENTENCE_END.findall(document.text)) < 3


def _lorem_ipsum(document: Document) -> bool:
  """The filler of designs (C4)."""
  return 'lorem ipsum' in document.text.lower()


def _curly_bracket(document: Document) -> bool:
  """A curly bracket, as code has (C4)."""
  return '{' in document.text


def _no_terminal_punctuation(document: Document) -> bool:
  """At most 12% of lines end a sentence (FineWeb)."""
  return _share(document.lines, lambda x: x.endswith(_TERMINAL)) <= 0.12


def _short_lines(document: Document) -> bool:
  """At least 67% of lines are shorter than 30 characters (FineWeb)."""
  return _share(document.lines, lambda x: len(x) < 30) >= 0.67


def _duplicated_lines(document: Document) -> bool:
  """At least 10% of characters are in lines that occur before (FineWeb)."""
  return document.repeated_line_characters >= 0.1


def _few_letters(document: Document) -> bool:
  """Less than a tenth of the characters are letters.

  Deviation: ours. Gopher's bar, a letter in 80% of words, costs tables of
  figures; below a heading and some months a seventh may be letters.
  """
  return document.letters < 0.1


def _no_spaces(document: Document) -> bool:
  """More than half is in runs of 100 characters of ASCII without a space.

  Deviation: ours, for encoded and minified data, at which Gopher's mean length
  of words aims; that drops languages without spaces.
  """
  long = document.word_lengths >= 100
  runs = sum(
    len(document.words[place])
    for place in np.flatnonzero(long)
    if document.words[place].isascii()
  )
  return runs > 0.5 * document.characters


def _repeated_text(document: Document) -> bool:
  """More than half is in phrases of 10 words that occur before.

  Deviation: Gopher's bar is 10%, which refrains, laws and tables pass.
  """
  return document.repeated_ngrams(10) > 0.5


def _has_letter(word: str) -> bool:
  return word.isalpha() or any(map(str.isalpha, word))


def _share(parts: list[str], holds: Callable[[str], bool]) -> float:
  return sum(map(holds, parts)) / max(1, len(parts))


RULES: Mapping[str, Rule] = {
  'few_words': _few_words,
  'many_words': _many_words,
  'mean_word_length': _mean_word_length,
  'symbols': _symbols,
  'bullets': _bullets,
  'ellipses': _ellipses,
  'words_without_letters': _words_without_letters,
  'stop_words': _stop_words,
  'repeated_lines': _repeated_lines,
  'repeated_line_characters': _repeated_line_characters,
  'top_ngram': _top_ngram,
  'repeated_ngrams': _repeated_ngrams,
  'few_sentences': _few_sentences,
  'lorem_ipsum': _lorem_ipsum,
  'curly_bracket': _curly_bracket,
  'no_terminal_punctuation': _no_terminal_punctuation,
  'short_lines': _short_lines,
  'duplicated_lines': _duplicated_lines,
  'few_letters': _few_letters,
  'no_spaces': _no_spaces,
  'repeated_text': _repeated_text,
}

_GOPHER = (
  'few_words',
  'many_words',
  'mean_word_length',
  'symbols',
  'bullets',
  'ellipses',
  'words_without_letters',
  'stop_words',
  'repeated_lines',
  'repeated_line_characters',
  'top_ngram',
  'repeated_ngrams',
)
_C4 = ('few_sentences', 'lorem_ipsum', 'curly_bracket')
# FineWeb applies Gopher's and most of C4's as well: not the one that drops
# lines without terminal punctuation (3.6).
RULE_SETS: Mapping[str, tuple[str, ...]] = {
  'c4': _C4,
  'gopher': _GOPHER,
  'fineweb': (
    *_GOPHER,
    *_C4,
    'no_terminal_punctuation',
    'short_lines',
    'duplicated_lines',
  ),
  'gentle': (
    'lorem_ipsum',
    'few_letters',
    'no_spaces',
    'repeated_lines',
    'repeated_text',
  ),
}


def names_of(rules: str | Iterable[str], setting: str = 'RULES') -> list[str]:
  """Returns the names of the rules of a set, or checks those that are given.

  Raises:
    UserError: no such set or rule; with the nearest.
  """
  if isinstance(rules, str):
    return [*choose(RULE_SETS, rules, setting)]
  for name in (names := [*rules]):
    choose(RULES, name, setting)
  return names


def failing(text: str, rules: Iterable[str]) -> str | None:
  """Returns the first of the rules that drops the text; None: none does."""
  document = Document(text)
  return next((name for name in rules if RULES[name](document)), None)
