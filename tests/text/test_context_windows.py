import math
import string

import numpy as np
import pytest

from bertjax.errors import UserError
from bertjax.text import byte_level, context_windows
from bertjax.text.tokenizer import Tokenizer
from bertjax.text.vocabulary_file import SPECIAL_TOKENS

LETTERS = string.ascii_lowercase
TOKENS = [*SPECIAL_TOKENS, *LETTERS, *('##' + x for x in LETTERS), '.', '中']
TOKENIZER = Tokenizer(TOKENS, cased=False)
CLS, SEP = TOKENS.index('[CLS]'), TOKENS.index('[SEP]')


def ids(letters):
  return [TOKENS.index(letter) for letter in letters]


def offsets(window):
  return [(start, end) for start, end in window.offsets.tolist()]


def texts(context, window):
  return [context[start:end] for start, end in offsets(window)]


def sentence(rng, words):
  """Words of 1 to 4 letters, every letter a token, any spaces between."""
  return ''.join(
    ''.join(rng.choice(list(LETTERS), rng.integers(1, 5)))
    + rng.choice([' ', '  ', '. ', '\n'])
    for _ in range(words)
  )


def test_windows_move_on_by_the_stride_until_the_context_ends():
  found = context_windows.make(
    TOKENIZER, 'q', 'a b c d e f g', length=8, stride=2, question_length=1
  )
  assert [window.row.ids for window in found] == [
    [CLS, *ids('q'), SEP, *ids(part), SEP] for part in ('abcd', 'cdef', 'efg')
  ]
  assert {window.row.second for window in found} == {3}
  assert offsets(found[2]) == [(8, 9), (10, 11), (12, 13)]


@pytest.mark.parametrize(
  'size, count',
  [(0, 1), (1, 1), (4, 1), (5, 2), (6, 2), (7, 3), (8, 3), (9, 4)],
)
def test_there_is_no_window_more_than_the_context_needs(size, count):
  found = context_windows.make(
    TOKENIZER, 'q', 'a ' * size, length=8, stride=2, question_length=1
  )
  assert len(found) == count
  assert all(window.row.ids[-1] == SEP for window in found)


def test_a_long_question_is_cut_and_a_short_one_leaves_room():
  (long,) = context_windows.make(
    TOKENIZER, 'q r s t', 'a b c', 9, 2, question_length=2
  )
  assert long.row.ids == [CLS, *ids('qr'), SEP, *ids('abc'), SEP]
  (short,) = context_windows.make(
    TOKENIZER, '', 'a b c d e f', 9, 2, question_length=2
  )
  assert short.row.ids == [CLS, SEP, *ids('abcdef'), SEP]


def test_an_empty_context_gives_one_window_and_no_answer():
  for context in ('', ' \n '):
    found = context_windows.make(TOKENIZER, 'q', context)
    assert [window.row.ids for window in found] == [[CLS, *ids('q'), SEP, SEP]]
    assert len(found[0].offsets) == len(found[0].best) == 0
    assert context_windows.token_span(found[0], 0, 1) == (0, 0)
    answers = context_windows.best_answers(context, found, [np.zeros([8, 2])])
    assert answers == ([], math.inf) and answers.text == ''


@pytest.mark.parametrize('length, stride', [(8, 1), (8, 2), (8, 4), (17, 5)])
@pytest.mark.parametrize('count', [1, 5, 23, 60])
def test_every_token_is_best_in_the_window_with_most_context(
  length, stride, count
):
  found = context_windows.make(
    TOKENIZER, 'q', ' '.join('a' * count), length, stride, question_length=1
  )
  places = [[start // 2 for start, _ in window.offsets] for window in found]
  for token in range(count):
    scores = {  # by hand from the definition in run_squad
      i: min(token - place[0], place[-1] - token) + 0.01 * len(place)
      for i, place in enumerate(places)
      if token in place
    }
    best = [i for i in scores if found[i].best[token - places[i][0]]]
    assert best == [max(scores, key=scores.get)]


@pytest.mark.parametrize(
  'context, expected',
  [
    ('  cb  ', ['c', 'b']),
    ('CÉ é.', ['C', 'É', 'é', '.']),
    ('ce\u0301 a', ['c', 'e\u0301', 'a']),
    ('e\u0301\u0323', ['e\u0301\u0323']),
    ('中中a', ['中', '中', 'a']),
    ('a 😀👩\u200d👧 b', ['a', '😀👩\u200d👧', 'b']),
    ('a\x00b\u00a0c', ['a', 'b', 'c']),
  ],
)
def test_offsets_are_characters_of_the_original_text(context, expected):
  (window,) = context_windows.make(TOKENIZER, 'é', context)
  assert texts(context, window) == expected


def test_a_span_of_tokens_maps_back_to_exactly_its_text():
  rng = np.random.default_rng(0)
  for _ in range(20):
    context = sentence(rng, 30)
    found = context_windows.make(
      TOKENIZER, 'who', context, 40, 7, question_length=3
    )
    every = sorted({offset for window in found for offset in offsets(window)})
    first, last = sorted(rng.integers(0, len(every), 2))
    start, end = every[first][0], every[last][1]
    for window in found:
      i, j = context_windows.token_span(window, start, end)
      held = {every[first], every[last]} <= set(offsets(window))
      assert bool(i) == held
      if held:
        i, j = i - window.row.second, j - window.row.second
        assert (
          context[window.offsets[i][0] : window.offsets[j][1]]
          == (context[start:end])
        )


def test_a_span_takes_in_the_tokens_that_it_begins_and_ends_in():
  tokenizer = Tokenizer([*SPECIAL_TOKENS, 'golden', 'gate'], cased=False)
  (window,) = context_windows.make(tokenizer, '', 'golden gate')
  assert window.row.second == 2
  assert context_windows.token_span(window, 0, 4) == (2, 2)
  assert context_windows.token_span(window, 2, 8) == (2, 3)
  assert context_windows.token_span(window, 6, 8) == (3, 3)
  assert context_windows.token_span(window, 6, 7) == (0, 0)  # only the space
  assert context_windows.token_span(window, 3, 3) == (0, 0)
  assert context_windows.token_span(window, 7, 12) == (0, 0)


def test_a_character_of_several_tokens_is_covered_by_all_of_them():
  # Without accents, 한 is the three letters that it is composed of.
  letters = ['\u1112', '##\u1161', '##\u11ab']
  tokenizer = Tokenizer([*SPECIAL_TOKENS, 'a', *letters], cased=False)
  (window,) = context_windows.make(tokenizer, '', 'a 한 a')
  assert offsets(window) == [(0, 1), (2, 3), (2, 3), (2, 3), (4, 5)]
  assert context_windows.token_span(window, 2, 3) == (3, 5)


def brute_force(context, found, logits, n_best, max_tokens):
  """Text -> its best score, by four loops."""
  spans = []
  for window, array in zip(found, logits, strict=True):
    places = range(len(window.offsets))
    start, end = (array[window.row.second :, k].tolist() for k in (0, 1))
    starts = sorted(
      (i for i in places if window.best[i]), key=lambda i: -start[i]
    )[:n_best]  # noqa: B023
    ends = sorted(places, key=lambda j: -end[j])[:n_best]  # noqa: B023
    spans += [
      (start[i] + end[j], window.offsets[i][0], window.offsets[j][1])
      for i in starts
      for j in ends
      if i <= j < i + max_tokens
    ]
  scores = {}
  for score, first, past in sorted(spans, reverse=True):
    scores.setdefault(context[first:past], score)
  return dict(list(scores.items())[:n_best])


@pytest.mark.parametrize('n_best, max_tokens', [(1, 9), (4, 3), (20, 30)])
def test_answers_are_those_of_plain_loops(n_best, max_tokens):
  rng = np.random.default_rng(1)
  for words in (1, 3, 40):
    context = sentence(rng, words)
    found = context_windows.make(
      TOKENIZER, 'who', context, 40, 7, question_length=3
    )
    logits = [rng.normal(size=[40, 2]) for _ in found]
    answers = context_windows.best_answers(
      context, found, logits, n_best, max_tokens
    )
    expected = brute_force(context, found, logits, n_best, max_tokens)
    assert {x.text: x.score for x in answers.candidates} == pytest.approx(
      expected
    )
    assert [x.text for x in answers.candidates] == list(expected)
    for candidate in answers.candidates:
      assert context.startswith(candidate.text, candidate.start)


def test_scores_probabilities_and_null_difference_as_by_hand():
  context = 'a  b'
  (window,) = context_windows.make(TOKENIZER, 'q', context)
  assert window.row.second == 3
  logits = np.zeros([7, 2])
  logits[0] = 1, 0.5  # [CLS]
  logits[1] = logits[5] = logits[6] = 99  # question, [SEP], padding
  logits[3] = 2, 0
  logits[4] = 1, 1
  answers = context_windows.best_answers(context, [window], [logits])
  assert [x[:3] for x in answers.candidates] == [
    ('a  b', 0, 3),
    ('a', 0, 2),
    ('b', 3, 2),
  ]
  total = math.exp(3) + 2 * math.exp(2)
  assert [x.probability for x in answers.candidates] == pytest.approx(
    [math.exp(3) / total, math.exp(2) / total, math.exp(2) / total]
  )
  assert answers.null_difference == 1.5 - 3 and answers.text == 'a  b'


def test_no_answer_has_the_lowest_score_over_the_windows():
  found = context_windows.make(
    TOKENIZER, 'q', 'a b c d e', 8, 2, question_length=1
  )
  logits = [np.zeros([8, 2]) for _ in found]
  logits[0][0], logits[1][0] = (5, 0), (0, 3)
  logits[0][3:5] = 1
  answers = context_windows.best_answers('a b c d e', found, logits)
  assert answers.null_difference == 3 - 2


def test_a_text_that_occurs_twice_is_one_candidate_at_its_better_place():
  (window,) = context_windows.make(TOKENIZER, 'q', 'a b a')
  logits = np.zeros([7, 2])
  logits[5] = 2
  answers = context_windows.best_answers(
    'a b a', [window], [logits], max_tokens=1
  )
  assert [x[:3] for x in answers.candidates] == [('a', 4, 4), ('b', 2, 0)]


@pytest.mark.parametrize(
  'length, stride, question_length, fix',
  [
    (128, 128, 64, 'set STRIDE to at most 61, or LENGTH'),
    (60, 8, 64, 'set LENGTH'),
    (384, 0, 64, 'set STRIDE'),
    (384, 128, 0, 'QUESTION_LENGTH 0'),
  ],
)
def test_windows_that_could_miss_context_are_refused(
  length, stride, question_length, fix
):
  with pytest.raises(UserError, match=fix):
    context_windows.make(TOKENIZER, 'q', 'a', length, stride, question_length)


def test_the_tightest_windows_that_are_allowed_miss_nothing():
  found = context_windows.make(TOKENIZER, 'q ' * 9, 'a ' * 50, 128, 61, 64)
  held = {offset for window in found for offset in offsets(window)}
  assert len(held) == 50


@pytest.mark.parametrize('length, stride', [(384, 128), (128, 30), (69, 1)])
def test_the_usual_stride_suits_the_length(length, stride):
  text = 'a ' * 600
  usual = context_windows.make(TOKENIZER, 'q ' * 64, text, length)
  told = context_windows.make(TOKENIZER, 'q ' * 64, text, length, stride)
  assert [x.row for x in usual] == [x.row for x in told]
  assert len({offset for window in usual for offset in offsets(window)}) == 600


def test_an_answer_of_bpe_is_a_slice_without_the_space_in_front():
  letters = [*byte_level.alphabet(), 'Ġa', 'Ġb']
  rules = byte_level.rules_of(['Ġ a', 'Ġ b'])
  tokenizer = Tokenizer([*SPECIAL_TOKENS, *letters], True, rules)
  context = 'x a é b.'
  (window,) = context_windows.make(tokenizer, 'a', context, 64, 8, 8)
  for text in ('x', 'a', 'é', 'a é', 'b', 'b.'):
    start = context.index(text)
    first, last = context_windows.token_span(window, start, start + len(text))
    logits = np.zeros((len(window.row.ids), 2))
    logits[first, 0] = logits[last, 1] = 9.0
    found = context_windows.best_answers(context, [window], [logits])
    assert found.text == text
