"""Splits a long context into windows and finds the answer in their logits.

    >>> from bertjax.text.vocabulary_file import SPECIAL_TOKENS
    >>> tokens = [*SPECIAL_TOKENS, 'who', '?', 'ada', 'wrote', 'it', '.']
    >>> tokenizer = Tokenizer(tokens, cased=False)
    >>> (window,) = make(tokenizer, 'Who?', 'Ada wrote it.')
    >>> logits = np.zeros((len(window.row.ids), 2))  # of starts and ends
    >>> logits[window.row.second] = 9.0  # both at 'ada'
    >>> best_answers('Ada wrote it.', [window], [logits]).text
    'Ada'

An answer is an exact slice of the context; it is not rebuilt from tokens.
Source: Devlin et al. 2018 (arXiv:1810.04805), section 4.2; sliding windows and
maximum context as in google-research/bert `run_squad`.
"""

import math
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bertjax.errors import UserError
from bertjax.text.batching import Row
from bertjax.text.tokenizer import Tokenizer

STRIDE = 128  # tokens; google-research/bert `run_squad`
N_BEST = 20


class Window(NamedTuple):
  """A question and as much of the context as fits.

  Attributes:
    row: '[CLS] question [SEP] part of context [SEP]'.
    offsets: int64[n, 2], for each context token of the window its first
      character in the whole context and the one after its last.
    best: bool[n], for each of them whether no other window has more context
      around it. True in exactly one window.
  """

  row: Row
  offsets: np.ndarray
  best: np.ndarray

  @property
  def begin(self) -> int:
    """The position in the row where the context begins."""
    assert self.row.second is not None  # the context is sentence B
    return self.row.second


class Candidate(NamedTuple):
  """A possible answer.

  Attributes:
    text: the slice of the context.
    start: the character of the context where it starts.
    score: start logit + end logit.
    probability: softmax of the scores of all candidates.
  """

  text: str
  start: int
  score: float
  probability: float


class Answers(NamedTuple):
  """The answers to one question.

  Attributes:
    candidates: best first, no text twice; empty if the context is empty or no
      end follows a start closely enough.
    null_difference: the score of 'no answer' minus the best candidate's;
      infinite if there is no candidate.
  """

  candidates: list[Candidate]
  null_difference: float

  @property
  def text(self) -> str:
    """The best candidate's text, or '' if there is none."""
    return self.candidates[0].text if self.candidates else ''


def make(
  tokenizer: Tokenizer,
  question: str,
  context: str,
  length: int = 384,
  stride: int | None = None,
  question_length: int = 64,
) -> list[Window]:
  """Returns windows that together hold the whole context.

  With 4 context tokens a window and stride 2, 'a b c d e f g' becomes
  'a b c d', 'c d e f', 'e f g'.

  Args:
    tokenizer: the model's.
    question: loses its last tokens if it is too long.
    context: of any length; an empty one gives one window without tokens.
    length: the most ids of a row, special tokens included.
    stride: context tokens from one window's start to the next's; None:
      `STRIDE`, or half of what is left beside the longest question if that is
      less.
    question_length: the most tokens of a question.

  Raises:
    UserError: beside the longest question a window would hold fewer than
      `stride` context tokens, so some tokens would be in no window.
  """
  special = length - tokenizer.room(length, texts=2)
  room = length - special - question_length
  if stride is None:
    stride = min(STRIDE, max(1, room // 2))
  if stride < 1 or question_length < 1 or room < stride:
    fix = f'STRIDE to at most {room}, or ' if room > 0 else ''
    raise UserError(
      'expected STRIDE and QUESTION_LENGTH of at least 1 and LENGTH of at '
      f'least STRIDE + QUESTION_LENGTH + {special}, got STRIDE {stride}, '
      f'QUESTION_LENGTH {question_length}, LENGTH {length}; set {fix}LENGTH'
    )
  asked, told = tokenizer.pieces([question, context])
  head = asked.ids[:question_length]
  room = length - special - len(head)
  ids, offsets = told.ids, _with_marks(context, told.offsets)
  # A window ends where its row is full; the first to reach the end is the last.
  starts = range(0, max(len(ids) - room, 0) + stride, stride)
  spans = [(start, min(start + room, len(ids))) for start in starts]
  best = _has_most_context(spans, len(ids))
  return [
    Window(tokenizer.row(head, ids[i:j]), offsets[i:j], is_best[i:j])
    for (i, j), is_best in zip(spans, best, strict=True)
  ]


def token_span(window: Window, start: int, end: int) -> tuple[int, int]:
  """Returns the positions in the row that cover characters [start, end).

  Args:
    window: of the context.
    start: the span's first character in the whole context.
    end: the character after its last.

  Returns:
    the first and the last token's position; (0, 0), which is [CLS], if the
    window does not hold the whole span.
  """
  # Several tokens can share a character; the span takes all of them.
  first, past = window.offsets.T
  inside = np.flatnonzero((past > start) & (first < end)) + window.begin
  if len(inside) and first[0] <= start < end <= past[-1]:
    return int(inside[0]), int(inside[-1])
  return 0, 0


def best_answers(
  context: str,
  windows: Sequence[Window],
  logits: Sequence[np.ndarray],
  n_best: int = N_BEST,
  max_tokens: int = 30,
) -> Answers:
  """Returns the best answers to a question, over all of its windows.

  Args:
    context: the text that `windows` were made from.
    windows: all of one question.
    logits: for each window float[L, 2], the start and end logit of each
      position; L is the row's length, or more if it is padded.
    n_best: how many starts and ends to consider in a window, and the most
      candidates to return.
    max_tokens: the most tokens of an answer.
  """
  logits = [np.asarray(array, np.float64) for array in logits]
  spans = [
    span
    for window, array in zip(windows, logits, strict=True)
    for span in _spans(window, array, n_best, max_tokens)
  ]
  scores: dict[str, tuple[float, int]] = {}
  for score, start, end in sorted(spans, key=lambda span: -span[0]):
    scores.setdefault(context[start:end], (score, start))
    if len(scores) == n_best:
      break
  if not scores:
    return Answers([], math.inf)
  highest = next(iter(scores.values()))[0]
  total = sum(math.exp(score - highest) for score, _ in scores.values())
  null_score = min(float(array[0].sum()) for array in logits)
  return Answers(
    [
      Candidate(text, start, score, math.exp(score - highest) / total)
      for text, (score, start) in scores.items()
    ],
    null_score - highest,
  )


def _spans(
  window: Window, logits: np.ndarray, n_best: int, max_tokens: int
) -> list[tuple[float, int, int]]:
  """Returns (score, first character, character after the last) of a window."""
  first = window.begin
  starts, ends = logits[first : first + len(window.offsets)].T
  starts = np.where(window.best, starts, -np.inf)
  i = np.argsort(-starts, kind='stable')[: min(n_best, window.best.sum())]
  j = np.argsort(-ends, kind='stable')[:n_best]
  steps = j[None, :] - i[:, None]
  a, b = np.nonzero((steps >= 0) & (steps < max_tokens))
  i, j = i[a], j[b]
  found = starts[i] + ends[j], window.offsets[i, 0], window.offsets[j, 1]
  return list(zip(*(values.tolist() for values in found), strict=True))


def _has_most_context(spans: list[tuple[int, int]], count: int) -> np.ndarray:
  """Returns bool[windows, tokens], True for the best window of each token."""
  start, end = np.array(spans)[:, :, None].transpose(1, 0, 2)
  token = np.arange(count)
  context = np.minimum(token - start, end - 1 - token)
  # 0.01: run_squad prefers the longer window if the contexts are equal.
  score = np.where(context >= 0, context + 0.01 * (end - start), -np.inf)
  return score.argmax(axis=0) == np.arange(len(spans))[:, None]


def _with_marks(context: str, offsets: Sequence[tuple[int, int]]) -> np.ndarray:
  """Extends each token by the accents after it that the tokenizer stripped."""
  limits = [*(start for start, _ in offsets), len(context)][1:]
  extended = []
  for (start, end), limit in zip(offsets, limits, strict=True):
    while end < limit and unicodedata.category(context[end]) == 'Mn':
      end += 1
    extended.append((start, end))
  return np.array(extended, np.int64).reshape(-1, 2)
