"""Text of evaluation sets in documents."""

import numpy as np

from bertjax.corpus import contamination

WORDS = [f'word{i}' for i in range(40)]


def test_thirteen_words_in_a_row_are_found_and_twelve_are_not():
  contaminated = contamination.Contaminated([' '.join(WORDS)])
  before, after = 'So he wrote: ', ' and more of his own.'
  assert contaminated.find(before + ' '.join(WORDS[9:22]) + after)
  assert not contaminated.find(before + ' '.join(WORDS[9:21]) + after)
  assert len(contaminated) == 40 - 13 + 1


def test_case_and_punctuation_do_not_hide_them():
  contaminated = contamination.Contaminated([' '.join(WORDS)])
  assert contaminated.find(', '.join(WORDS[5:20]).upper())


def test_a_short_example_is_found_as_a_whole_and_a_tiny_one_is_not():
  short, tiny = ' '.join(WORDS[:9]), 'only seven words stand in this one'
  contaminated = contamination.Contaminated([short, tiny])
  assert contaminated.find(f'He said {short} again')
  assert not contaminated.find(' '.join(WORDS[:8]))
  assert not contaminated.find(tiny)


def test_nothing_to_look_for_is_found_nowhere():
  assert not contamination.Contaminated([]).find(' '.join(WORDS))
  assert not contamination.Contaminated(['one word']).find('one word')


def test_it_agrees_with_sets_of_words():
  rng = np.random.default_rng(0)
  made = [f'w{n}' for n in rng.integers(3, size=400)]
  evaluation = [' '.join(made[i : i + 30]) for i in range(0, 300, 30)]
  contaminated = contamination.Contaminated(evaluation, n=5)

  def ngrams(text):
    words = text.split()
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}

  known = set().union(*map(ngrams, evaluation))
  found = []
  for seed in range(200):
    words = np.random.default_rng(seed).integers(3, size=7)
    text = ' '.join(f'w{n}' for n in words)
    found.append(contaminated.find(text))
    assert found[-1] == bool(known & ngrams(text))
  assert any(found) and not all(found)
