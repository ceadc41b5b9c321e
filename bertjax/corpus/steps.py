"""Cleans documents and leaves out those that are not worth training on.

    steps = Steps(languages=('en',), personal_data=True)
    with steps.run(documents, folder, pool) as (kept, tally, seen):
      for lines in kept:
        ...  # as those that `spool.Reader.documents` yields
      tally.leave_out(seen.near())
    tally.dropped   # {'language': 12, 'exact_duplicate': 3, ...}

The order: Unicode repair, language, rules on lines, rules on documents, blocked
words, evaluation texts, personal data, exact duplicates, near duplicates. All
but duplicates judge a document alone, in as many processes as wanted; of these
go on its text, a hash and a signature, from which one process finds duplicates
in the order of the documents (on Beam several: see `units`).
"""

import contextlib
import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow

from bertjax.corpus import (
  blocked_words,
  contamination,
  duplicates,
  languages,
  line_rules,
  personal_data,
  quality_rules,
  repair,
  signatures,
  word_hashes,
  workers,
)
from bertjax.corpus.tally import REPEATED, Seen, Tally
from bertjax.errors import expect
from bertjax.text import input_files, input_paths
from bertjax.values import Name, Paths, Place, Share, check_fields

LANGUAGE, BLOCKED, EVALUATION = 'language', 'blocked_word', 'evaluation_text'
EMPTY, NO_LINE = 'empty', 'no_line_left'
# The macro that sets what a step drops; of all others it is RULES.
SETTINGS = {
  LANGUAGE: 'LANGUAGES',
  BLOCKED: 'BLOCKED_WORDS',
  EVALUATION: 'DECONTAMINATE',
  EMPTY: 'TEXT_FILES',
  REPEATED: 'PARAGRAPHS',
}
_BATCH_BYTES = 1 << 20
# Between lines that are not stripped.
_UNTIDY = re.compile(r'\n(?:\s|(?<=\s\n))')


@dataclasses.dataclass(frozen=True)
class Steps:
  """What is done to documents; a switch that is off costs nothing.

  Attributes:
    repair: whether to mend Unicode, see `repair`.
    languages: ISO codes of those that are kept, see `languages`; None: all.
    rules: a set of rules or names of rules, see `quality_rules` and
      `line_rules`; True is 'gentle', False and None are none.
    exact_duplicates: whether a document goes whose words are those of an
      earlier one.
    near_duplicates: whether a document goes that is nearly an earlier one.
    jaccard: the Jaccard index of their shingles from which on it is.
    paragraphs: whether a paragraph goes that stood in an earlier document, and
      a document that has no other.
    decontaminate: files of evaluation texts; documents that share 13 words in a
      row with one go. All columns of a table count.
    personal_data: whether e-mail addresses and the like are replaced.
    blocked_words: a file, a word a line; documents with one of them go.
  """

  repair: bool = True
  languages: Sequence[Name] | None = None
  rules: Name | Sequence[Name] | bool | None = 'gentle'
  exact_duplicates: bool = True
  near_duplicates: bool = True
  jaccard: Share = 0.8
  paragraphs: bool = False
  decontaminate: Paths | None = None
  personal_data: bool = False
  blocked_words: Place | None = None

  def __post_init__(self) -> None:
    """Raises UserError: no such rule or language, or a file is not there."""
    check_fields(self)
    if self.languages is not None:
      expect(self.languages, 'codes, or None', self.languages, 'LANGUAGES')
      languages.check_codes(self.languages)
    _rules(self.rules)
    if self.decontaminate is not None:
      known = contamination.SHORTEST
      texts = _evaluation_texts(self.decontaminate)
      found = any(len(word_hashes.split(text)) >= known for text in texts)
      what = f'evaluation texts, one of them of {known} words or more'
      expect(found, what, self.decontaminate, 'DECONTAMINATE')
    if self.blocked_words is not None:
      blocked_words.read(self.blocked_words)

  @contextlib.contextmanager
  def run(
    self, documents: Iterator[list[str]], folder: str, pool: workers.Pool
  ) -> Iterator[tuple[Iterator[list[str]], Tally, Seen]]:
    """Yields the documents that stay, what is counted of them, and was seen.

    Args:
      documents: lists of lines; an empty list ends a document.
      folder: for an index of signatures, which goes at the end.
      pool: works on it.
    """
    settings = dataclasses.asdict(self)
    make = f'{__name__}:cleaner'
    tally = Tally()
    jaccard = self.jaccard if self.near_duplicates else None
    cleaned = pool.map(make, {'settings': settings}, batches(documents))
    with Seen(folder, jaccard) as seen:
      yield tally.keep(cleaned, seen), tally, seen


def batches(
  documents: Iterator[list[str]],
) -> Iterator[pyarrow.RecordBatch]:
  """Yields documents as batches of about a megabyte."""
  # In UTF-8: of a long document, lines or a string take several times as much.
  text = bytearray()
  texts: list[bytes] = []
  size = 0
  for some in documents:
    if some:
      text += b'\n' if text else b''
      text += '\n'.join(some).encode()
      continue
    texts.append(bytes(text))
    size += len(text)
    text.clear()
    if size >= _BATCH_BYTES:
      batch = _batch(texts)
      texts, size = [], 0
      yield batch
  if texts:
    yield _batch(texts)


def _batch(texts: list[bytes]) -> pyarrow.RecordBatch:
  return pyarrow.record_batch({'text': pyarrow.array(texts, pyarrow.string())})


def _rules(
  rules: str | Sequence[str] | bool | None,
) -> tuple[Sequence[str], Sequence[str]]:
  """Returns the names of rules on lines, and of those on documents."""
  if not rules:
    return (), ()
  if rules is True:
    rules = 'gentle'
  if isinstance(rules, str):
    names = quality_rules.names_of(rules)
    return line_rules.LINE_RULE_SETS[rules], names
  of_lines = [name for name in rules if name in line_rules.LINE_RULES]
  others = [name for name in rules if name not in line_rules.LINE_RULES]
  return of_lines, quality_rules.names_of(others)


def cleaner(
  settings: dict[str, Any],
) -> Callable[[pyarrow.RecordBatch], pyarrow.RecordBatch]:
  """Returns what cleans a batch of documents, each by itself.

  Args:
    settings: the fields of `Steps`.

  Returns:
    maps `text` to a row for each document: `text`; `rule`, the one that drops
    it, or null; `counts`, in JSON, of lines removed and of spans replaced;
    `hash`, `paragraphs` and `signature`, as far as they are needed.
  """
  steps = Steps(**settings)
  if steps.repair:
    repair.check_installed()  # before a process finds it missing
  if steps.near_duplicates:
    signatures.check_installed()
  clean = _cleaner_of_one(steps)

  def clean_batch(batch: pyarrow.RecordBatch) -> pyarrow.RecordBatch:
    rows = [clean(text) for text in batch['text'].to_pylist()]
    columns = [*zip(*rows, strict=True)]
    arrays = [
      pyarrow.array(column, field.type)
      for field, column in zip(SCHEMA, columns, strict=True)
    ]
    return pyarrow.record_batch(arrays, schema=SCHEMA)

  return clean_batch


SCHEMA = pyarrow.schema(
  [
    ('text', pyarrow.string()),
    ('rule', pyarrow.string()),
    ('counts', pyarrow.string()),
    ('hash', pyarrow.uint64()),
    ('paragraphs', pyarrow.list_(pyarrow.uint64())),
    ('signature', pyarrow.binary()),
  ]
)


def _cleaner_of_one(steps: Steps) -> Callable[[str], tuple[Any, ...]]:
  of_lines, rules = _rules(steps.rules)
  blocked = steps.blocked_words and blocked_words.read(steps.blocked_words)
  evaluation = None
  if steps.decontaminate:
    texts = _evaluation_texts(steps.decontaminate)
    evaluation = contamination.Contaminated(texts)

  def failing(text: str) -> str | None:
    if not text.strip():
      return NO_LINE
    if rule := quality_rules.failing(text, rules):
      return rule
    if blocked and blocked.find(text):
      return BLOCKED
    return EVALUATION if evaluation and evaluation.find(text) else None

  def clean(text: str) -> tuple[Any, ...]:
    removed, replaced = dict[str, int](), dict[str, int]()
    if steps.repair:
      text = repair.repair(text)
    rule = None if text.strip() else EMPTY
    if rule is None and steps.languages:
      code, _ = languages.language_of(text)
      rule = None if code in steps.languages else LANGUAGE
    if rule is None:
      kept, removed = line_rules.keep(text, of_lines)
      rule = failing(kept)
      text = text if rule else kept
    if rule is None and steps.personal_data:
      text, replaced = personal_data.replace(text)
    if text[:1].isspace() or text[-1:].isspace() or _UNTIDY.search(text):
      text = '\n'.join(filter(None, map(str.strip, text.split('\n'))))
    stays = rule is None
    return (
      text,
      rule,
      json.dumps([removed, replaced]),
      duplicates.document_hash(text)
      if stays and steps.exact_duplicates
      else None,
      duplicates.paragraph_hashes(text).tolist()
      if stays and steps.paragraphs
      else None,
      signatures.signature(text).tobytes()
      if stays and steps.near_duplicates
      else None,
    )

  return clean


def _evaluation_texts(patterns: str | Sequence[str]) -> Iterator[str]:
  """Yields the texts of evaluation files: lines, or the columns of tables."""
  setting = 'DECONTAMINATE'
  for path in input_paths.expand(patterns, setting):
    if input_files.form_of(path, setting) == 'text':
      yield from input_files.lines(path, setting)
      continue
    for _, record in input_files.records(path, setting=setting):
      yield from (x for x in record.values() if isinstance(x, str))
