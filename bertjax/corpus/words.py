"""Words in ids: where they begin, how they are spelt, what script they are.

    words = Words(prepared.vocabulary)
    starts = words.starts(ids)            # int64[n]
    words.kinds[words.kind_of[ids[starts]]]  # 'Latin', 'digits', ...
    words.spell(ids[:starts[1]])          # 'walking', of 'walk', '##ing'

A word is what BERT's tokenizer takes for one: a run of letters and digits, or a
sign of punctuation. A word that is one [UNK] counts as one, of unknown letters.
Of byte-level BPE it is what GPT-2's pattern divides: a run of letters, one of
digits, or one of signs.
"""

import re
import unicodedata

import numpy as np

from bertjax.text import byte_level
from bertjax.text.vocabulary import Vocabulary

UNKNOWN, SIGNS, DIGITS = 'unknown', 'punctuation and symbols', 'digits'
OTHER = 'other letters'
# First words of names in Unicode that are no scripts.
_NO_SCRIPTS = (
  'DOUBLE FEMININE FULLWIDTH HALFWIDTH MASCULINE MATHEMATICAL MICRO MODIFIER '
  'SUBSCRIPT SUPERSCRIPT'
).split()


class Words:
  """The words of a vocabulary.

  Attributes:
    kinds: names of scripts, and the four above.
    kind_of: int64[V], of a word that begins with this token its place in
      `kinds`.
  """

  def __init__(self, vocabulary: Vocabulary):
    self._continues = vocabulary.continuation
    self._tokens = vocabulary.tokens
    self._is_bpe = vocabulary.rules is not None
    self._texts = [
      text[2:] if continues else text
      for text, continues in zip(
        vocabulary.tokens, vocabulary.continuation, strict=True
      )
    ]
    if self._is_bpe:
      self._texts = [byte_level.spell([x]) for x in vocabulary.tokens]
    names = [kind(text) for text in self._texts]
    names[vocabulary.unk_id] = UNKNOWN
    self.kinds, self.kind_of = np.unique(names, return_inverse=True)
    # What a token of BPE begins with.
    self._run = np.array([_run(text[:1]) for text in self._texts])

  def starts(self, ids: np.ndarray) -> np.ndarray:
    """Returns int64[n], ascending, where the words of int[T] ids begin."""
    begins = ~self._continues[ids]
    if self._is_bpe:
      run = self._run[ids]
      begins[1:] |= run[1:] != run[:-1]
    begins[:1] = True
    return np.flatnonzero(begins)

  def spell(self, ids: np.ndarray) -> str:
    if self._is_bpe:  # a letter may be parted
      return byte_level.spell([self._tokens[i] for i in ids.tolist()])
    return ''.join(map(self._texts.__getitem__, ids.tolist()))

  def is_word(self) -> np.ndarray:
    """Returns bool[V], False for signs and True for all else."""
    return self.kinds[self.kind_of] != SIGNS

  def is_spelt(self) -> np.ndarray:
    """Returns bool[V], True for tokens of letters, False for all else."""
    return ~np.isin(self.kinds, (SIGNS, DIGITS, UNKNOWN))[self.kind_of]


def _run(character: str) -> str:
  """Returns the kind of a run that a character is in; bytes are of letters."""
  if character.isalpha() or character == byte_level.PARTED:
    return OTHER
  return DIGITS if character.isnumeric() else SIGNS


def kind(text: str) -> str:
  """Returns the script of the first letter, or that there is none.

  >>> kind('##walk'), kind('1990s'), kind('1990'), kind('--'), kind('дом')
  ('Latin', 'Latin', 'digits', 'punctuation and symbols', 'Cyrillic')
  """
  if text.startswith(byte_level.PARTED):
    return OTHER
  letters = list(filter(str.isalpha, text))
  for letter in letters:
    # Names begin with the script: 'LATIN SMALL LETTER A'.
    script = re.split('[ -]', unicodedata.name(letter, 'MODIFIER'))[0]
    if script not in _NO_SCRIPTS:
      return 'Chinese' if script == 'CJK' else script.capitalize()
  if letters:
    return OTHER
  return DIGITS if any(map(str.isnumeric, text)) else SIGNS
