"""Trains a byte-level BPE on counts of words, as `wordpiece_training` does.

    words = WordCounts()
    words.add(count_words(['A text.', 'Another one.'], cased=True))
    vocabulary = train(Training(8000, tokenizer='bpe'), words.counts)

A word is what GPT-2's pattern takes for one, with the space before it, in the
letters of its bytes. Source: Radford et al. 2019 (GPT-2), section 2.2; of equal
counts the library merges the pair of the smallest ids first.
"""

import collections
import functools
import json
from collections.abc import Callable, Iterable, Mapping

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, trainers

from bertjax.corpus.bulk_tokenizer import words_with_spaces
from bertjax.corpus.wordpiece_training import (
  MEMORY,
  Training,
  filled,
  repeat,
)
from bertjax.errors import UserError
from bertjax.text import byte_level
from bertjax.text.vocabulary import Vocabulary
from bertjax.text.vocabulary_file import SPECIAL_TOKENS

_LONGEST = 64  # characters of a string that is remembered


def count_words(texts: Iterable[str], cased: bool) -> dict[str, int]:
  r"""Returns how often each word occurs.

  >>> count_words(["It's it\nit's"], cased=False)
  {'it': 1, "'s": 2, 'Ġit': 2}
  """
  strings = collections.Counter(words_with_spaces(texts))
  del strings['\n']
  split = _splitter(cased)
  counts: collections.Counter[str] = collections.Counter()
  for string, number in strings.items():
    for word in split(string):
      counts[word] += number
  return dict(counts)


@functools.cache
def _splitter(cased: bool) -> Callable[[str], tuple[str, ...]]:
  divide = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str
  lower = normalizers.Lowercase().normalize_str

  def split(string: str) -> tuple[str, ...]:
    return tuple(x for x, _ in divide(string if cased else lower(string)))

  remembered = functools.lru_cache(MEMORY)(split)
  # Without spaces a whole line is a string, which does not come again.
  return lambda x: split(x) if len(x) > _LONGEST else remembered(x)


def train(wanted: Training, counts: Mapping[str, int]) -> Vocabulary:
  """Trains a vocabulary; equal counts in any order give the same one.

  Args:
    wanted: its size, of which '[unused0]' and so on are what the texts do not
      yield.
    counts: word -> how often it occurs, see `count_words`.

  Raises:
    UserError: the texts have no words.
  """
  if not counts:
    raise UserError(
      'expected texts to train a vocabulary on, but they hold no words; '
      'set TEXT_FILES'
    )
  library = tokenizers.Tokenizer(models.BPE())
  library.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
  library.train_from_iterator(
    repeat(dict(sorted(counts.items()))),
    trainers.BpeTrainer(
      vocab_size=wanted.size,
      min_frequency=wanted.min_frequency,
      special_tokens=[*SPECIAL_TOKENS],
      initial_alphabet=byte_level.alphabet(),
      show_progress=False,
    ),
  )
  model = json.loads(library.to_str())['model']
  tokens = sorted(model['vocab'], key=model['vocab'].__getitem__)
  rules = byte_level.rules_of([' '.join(merge) for merge in model['merges']])
  return Vocabulary(filled(tokens, wanted.size), wanted.cased, rules)
