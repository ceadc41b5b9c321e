r"""Turns much text into ids, those of `Tokenizer`, by a memory of words.

    tokenizer = BulkTokenizer(Tokenizer(tokens, cased=False))
    ids, ends = tokenizer.encode(['A sentence.\nAnother one.'])[0]

Each different string between two spaces goes through the library once. That is
exact, since BERT's tokenizer splits at spaces, and nothing in it looks across
one: not the removal of control characters, not the order of combining marks,
and letters are lower-cased one by one. On novels one thread then gives 30 MB/s,
and 13 while it meets the first 20 MB; the library `tokenizers` gives 4.5 in two
threads (experiments/LOG.md).

Byte-level BPE takes a word with the space before it, and so does the memory:
GPT-2's pattern, too, divides text at each run of white space. The first
sentence of a document is as it stands, and each further one has the space in
front that it has in running text.
"""

import itertools
import json
import re
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow
from pyarrow import compute

from bertjax.text import byte_level
from bertjax.text.tokenizer import Tokenizer, pipeline

# An end of a sentence and an end of a text take the place of a word each. Clean
# text holds neither '\n' within a line nor NUL.
_SENTENCE, _TEXT = '\n', '\0'
# Marks a word of BPE within a document that no space is in front of.
# With a prefix space the library puts one behind a token of `added`, too; in
# such a word it is left out.
_INNER = '\n\n'
# BERT puts spaces around these itself; otherwise a whole line would be a word.
_IDEOGRAPHS = re.compile('([\u4e00-\u9fff])')
# After these a sentence ends without a space.
_WIDE_END = re.compile('[。！？][」』”’）]*$')
# Ends a word of BPE: the first of the spaces, which the next one begins with.
_SPACES = re.compile(r'(?<=\S) ')
_RUN = re.compile(r'\s ')
# New words go to the library in texts of so many, which costs a third of a text
# each. An ideograph ends each word there: no other word contains it.
_TOGETHER, _END = 512, '\u9fff'
# The memory is emptied when it holds more words, or characters: about 100 MB.
_MOST_WORDS, _MOST_CHARACTERS = 1 << 19, 1 << 24


def words_between_spaces(texts: Iterable[str]) -> tuple[list[str], np.ndarray]:
  r"""Returns the distinct strings between spaces, '\n' after each line too.

  >>> words, places = words_between_spaces(['One line.\nOne'])
  >>> words, places.tolist()
  (['One', 'line.', '\n', ''], [0, 1, 2, 0, 2, 3])

  Args:
    texts: lines, without lone surrogates.

  Returns:
    the strings, and int32[number of strings in the texts]: which it is.
  """
  joined = '\n'.join([*texts, ''])
  if not joined.isascii():
    units = np.frombuffer(joined.encode('utf-16-le'), '<u2')
    if ((units >= 0x4E00) & (units <= 0x9FFF)).any():  # ten times as fast
      joined = _IDEOGRAPHS.sub(r' \1 ', joined)
  whole = pyarrow.array([joined.replace('\n', ' \n ')])
  return _distinct(compute.split_pattern(whole, ' ').values)


def _distinct(words: pyarrow.Array) -> tuple[list[str], np.ndarray]:
  found = words.dictionary_encode()
  return found.dictionary.to_pylist(), found.indices.to_numpy()


def words_with_spaces(texts: Iterable[str]) -> list[str]:
  r"""Returns words with what is before them, and '\n' after each line.

  A text that begins with '\n' goes on in a document.

  >>> words_with_spaces(['One  line.\nTwo', '\nx'])
  ['One', '  line.', '\n', ' Two', '\n', ' x', '\n']
  """
  words: list[str] = []
  for text in texts:
    before = ''
    for line in text.split('\n'):
      if line:
        if _RUN.search(line):
          marked = _SPACES.sub('\0 ', line)
        else:
          marked = line.replace(' ', '\0 ')
        words += (before + marked).split('\0')
        words.append(_SENTENCE)
      before = '' if _WIDE_END.search(line) else ' '
  return words


def dtype_of(size: int) -> np.dtype:
  """Returns that of ids below `size`: uint16 if it can hold them, or uint32."""
  return np.dtype(np.uint16 if size <= 1 << 16 else np.uint32)


class _Numbers(dict[str, int]):
  """Word -> its number; notes the words that are new."""

  def __init__(self, known: Iterable[str]) -> None:
    super().__init__({word: i for i, word in enumerate(known)})
    self.new: list[str] = []

  def __missing__(self, word: str) -> int:
    self.new.append(word)
    number = self[word] = len(self)
    return number


class BulkTokenizer:
  """Encodes texts that are lines of sentences; see the module.

  Attributes:
    dtype: of the ids, see `dtype_of`.
  """

  def __init__(self, tokenizer: Tokenizer):
    known = tokenizer.ids
    self._end_id = len(known)  # in place of the true one, which is known
    self._is_bpe = tokenizer.rules is not None
    if tokenizer.rules is not None:
      self._library = byte_level.build(*tokenizer.parts)
      self._library.add_special_tokens([_TEXT])
      rules = json.loads(tokenizer.rules)
      self._has_prefix = rules['prefix_space']
      plain = json.dumps(rules | {'prefix_space': False})
      self._inner = byte_level.build(tokenizer.tokens, tokenizer.cased, plain)
      self._inner.add_special_tokens([_TEXT])
      self._between, self._of_end = _TEXT, {}
    else:
      self._library = pipeline({**known, _END: self._end_id}, tokenizer.cased)
      self._inner, self._has_prefix = self._library, False
      self._between = f' {_END} '
      self._of_end = {_END: known.get(_END, known['[UNK]'])}
    self.dtype = dtype_of(len(known))
    self._forget()

  def _forget(self) -> None:
    self._numbers = _Numbers([_SENTENCE, _TEXT, *self._of_end])
    self._characters = 0
    # How many ids each word has, where they begin in `_ids`, and these.
    self._counts = np.array([0, 0, *[1] * len(self._of_end)])
    self._starts = np.zeros(len(self._counts), np.int64)
    self._ids = np.array([*self._of_end.values()], self.dtype)

  def encode(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns the ids of each text, and where its sentences end.

    Args:
      texts: clean lines, a sentence each; a megabyte at a time is fastest. For
        BPE see `words_with_spaces`.

    Returns:
      for each text `dtype`[T] and int64[n], ascending: of each sentence that
      has ids, how many there are up to its end.
    """
    if len(self._numbers) > _MOST_WORDS or self._characters > _MOST_CHARACTERS:
      self._forget()
    words, places = self._words(texts)
    known = [self._numbers[word] for word in words]
    numbers = np.array(known, np.int64)[places]
    if self._numbers.new:
      self._learn(self._numbers.new)
      self._numbers.new = []
    counts = self._counts[numbers]
    ends = np.cumsum(counts)
    places = np.repeat(self._starts[numbers] - (ends - counts), counts)
    ids = self._ids[places + np.arange(len(places))]
    sentences, bounds = ends[numbers == 0], ends[numbers == 1]
    found, first = [], 0
    for past in bounds:
      own = sentences[
        slice(*np.searchsorted(sentences, [first, past], 'right'))
      ]
      own = np.unique(own[own > first]) - first
      found.append((ids[first:past], own))
      first = past
    return found

  def _words(self, texts: Sequence[str]) -> tuple[list[str], np.ndarray]:
    if not self._is_bpe:
      return words_between_spaces(x for text in texts for x in (text, _TEXT))
    words = [x for text in texts for x in (*words_with_spaces([text]), _TEXT)]
    if self._has_prefix:  # which only the first word of a document gets
      words = [
        _INNER + word
        if before == _SENTENCE and word[:1] not in ('', ' ', _SENTENCE, _TEXT)
        else word
        for before, word in zip(['', *words], words, strict=False)
      ]
    return _distinct(pyarrow.array(words, pyarrow.string()))

  def _learn(self, words: list[str]) -> None:
    groups = itertools.groupby(words, lambda x: x.startswith(_INNER))
    ids = np.concatenate(
      [self._found([*group], is_inner) for is_inner, group in groups]
    )
    ends = np.flatnonzero(ids == self._end_id)
    past = ends - np.arange(len(ends))  # once the marks are taken out
    counts = np.diff(past, prepend=0)
    self._counts = np.append(self._counts, counts)
    self._starts = np.append(self._starts, len(self._ids) + past - counts)
    ids = ids[ids != self._end_id].astype(self.dtype)
    self._ids = np.append(self._ids, ids)
    self._characters += sum(map(len, words))

  def _found(self, words: list[str], is_inner: bool) -> np.ndarray:
    """Returns int[ids], those of the library, an `_end_id` after each word."""
    library = self._inner if is_inner else self._library
    words = [word.removeprefix(_INNER) for word in words]
    texts = [
      self._between.join([*words[i : i + _TOGETHER], ''])
      for i in range(0, len(words), _TOGETHER)
    ]
    found = library.encode_batch_fast(texts, add_special_tokens=False)
    return np.concatenate([np.array(x.ids) for x in found])
