import numpy as np
import pytest

from bertjax.corpus.windows import Form, Windows
from bertjax.errors import UserError
from bertjax.text import byte_level
from bertjax.text.vocabulary import Vocabulary

TOKENS = [*byte_level.NAMES[1], *byte_level.alphabet()]


class Documents:
  """Forty of 60 tokens, in sentences of six."""

  tokens = 40 * 60

  def __len__(self):
    return 40

  def piece(self, number):
    tokens = np.arange(60, dtype=np.uint16) + 5 + number
    return number, tokens, np.arange(6, 61, 6)


def windows(separators, length=24):
  rules = byte_level.rules_of([], separators=separators)
  vocabulary = Vocabulary(TOKENS, True, rules)
  form = Form(length, 1, short=0.0, mask_rate=0.15)
  return Windows(Documents(), vocabulary, form, seed=0), vocabulary


@pytest.mark.parametrize('separators', [1, 2])
def test_pairs_have_the_separators_of_the_vocabulary(separators):
  found, vocabulary = windows(separators)
  rows = found.rows(0)
  tokens = rows['tokens'].copy()
  places = np.arange(len(tokens))[:, None], rows['target_positions']
  tokens[places] = np.where(
    rows['weights'] > 0, rows['targets'], tokens[places]
  )
  sizes = rows['segments'].sum(1)
  assert sizes.max() == 24
  for row, types, size in zip(tokens, rows['types'], sizes, strict=True):
    seps = np.flatnonzero(row[:size] == vocabulary.sep_id)
    middle = int(types.argmax())  # where B begins
    assert row[0] == vocabulary.cls_id
    assert seps.tolist() == [*range(middle - separators, middle), size - 1]


def test_a_row_has_room_for_two_separators_and_two_tokens():
  assert windows(2, length=6) and windows(1, length=5)
  with pytest.raises(UserError, match='6 or more, .*got 5; set LENGTH'):
    windows(2, length=5)
