"""All that can be told of a prepared corpus before it is trained on, as JSON.

    measure = Measurement('runs/books', Rows(batch_size=32, length=128))
    found = measure()           # plain numbers, texts, lists and objects
    found['splits'][0]          # {'split': 'train', 'documents': 915, ...}

What `found` holds, flat but for lists of such objects; a share is from 0 to 1:

- `corpus_dir` as it was given; `corpus`, the folder of the shards; `source`,
  where the text was read from; `vocabulary_size`, `cased`.
- `splits`: of each `split` its `documents`, `sentences`, `words`, `tokens` and
  `bytes`. A word is what BERT's tokenizer takes for one; signs are none.
- `bytes` of the folder; `bytes_a_token`; `preparation_seconds` or None.
- `document_lengths` and `sentence_lengths`, in tokens: `mean`, `median`,
  `percentile_90`, `longest`, and `bars`, each the `count` of those that have
  `from` to `to` of them.
- `unknown_share` of [UNK] among tokens; `tokens_a_word`; `kinds`: of each kind
  of word (`kind`: a script, digits, ...) `words`, `tokens`, `tokens_a_word`.
- `used_entries` and `rare_entries` of the vocabulary: those that occur, and
  those of them that occur fewer than `summaries.RARE` times.
- `duplicates`: `copies`, documents that are equal to an earlier one once
  tokenized; their `share`; `most_often`, how often one document is there;
  `is_exact`, or estimated from a sample.
- `cleaning`: what `report.json` of the corpus says; None if there is none.
- `length`, `batch_size`, and `rows`: see `row_samples.filling`.
- `masking`: see `row_samples.masking_of`.
- `variety`: `different_words`, and whether that `is_exact`; `once_share` of
  these that occur once; `samples` of `sample_words` words in a row, and of them
  the mean `different_share`.
- `topics` and `topic_texts`: see `topics.find`.
- `groups`: of each `group` its `words`, how often they were `found`, and that
  `per_million_words`.
- `sample_rows`: how many rows are looked at, or all if there are fewer.
"""

import dataclasses
import glob
import os
from collections.abc import Mapping, Sequence
from typing import Any

from bertjax.corpus import (
  building,
  preparation,
  row_samples,
  summaries,
  token_counts,
  topics,
  word_groups,
)
from bertjax.corpus.preparation import Prepared
from bertjax.errors import UserError
from bertjax.runs.progress_line import wait
from bertjax.text import whole_files
from bertjax.values import Path, check_fields

CLEANING = 'report.json'
_DEEPEST = 3  # folders below the one that is given
# What report.json holds of what is shown; the last three may be missing.
_CLEANING = {
  'documents_read': int,
  'documents_kept': int,
  'dropped': Mapping[str, int],
}
_MORE = {
  'samples': Mapping[str, Sequence[Any]],
  'replaced': Mapping[str, int],
  'seconds': float | None,
}
_FIX = 'prepare the corpus anew, or move the file away'


@dataclasses.dataclass(frozen=True)
class Measurement:
  """Measures a corpus when it is called; see the module.

  Attributes:
    corpus_dir: a prepared corpus, or a folder that holds one, such as a run's.
    rows: how it will be read.
    groups_file: see `word_groups.read`.
  """

  corpus_dir: Path
  rows: row_samples.Rows = dataclasses.field(default_factory=row_samples.Rows)
  groups_file: Path | None = None

  def __post_init__(self) -> None:
    """Raises UserError if there is no such corpus, or no such file."""
    check_fields(self)
    for name in ('corpus_dir', 'groups_file'):
      if (path := getattr(self, name)) is not None:
        object.__setattr__(self, name, os.path.expanduser(path))
    prepared, _ = self._opened()
    documents = prepared.splits['train']['documents']
    if self.rows.next_sentence and documents < 2:
      raise UserError(
        'next-sentence prediction needs two documents or more, '
        f'{prepared.path} has {documents} to train on; put a blank line '
        'between documents, or set NSP=False'
      )

  def _opened(self) -> tuple[Prepared, dict[str, list[str]]]:
    """Opens what is read, and checks that it is whole."""
    prepared = preparation.load(find(self.corpus_dir))
    for split in prepared.splits:
      prepared.split(split).check_files()
    self._cleaning(prepared)
    return prepared, word_groups.read(self.groups_file)

  @property
  def sources(self) -> list[str]:
    """Paths of files that are read, and must not be replaced."""
    folder = find(self.corpus_dir)
    names = (building.INDEX, CLEANING)
    found = [os.path.join(x, y) for x in self._folders(folder) for y in names]
    return [*found, *filter(None, [self.groups_file])]

  def _folders(self, corpus: str) -> list[str]:
    """Returns where `report.json` may lie."""
    return [corpus, os.path.dirname(corpus), self.corpus_dir]

  def _cleaning(self, prepared: Prepared) -> dict[str, Any] | None:
    """Returns what is known of cleaning.

    Raises:
      UserError: report.json has another form.
    """
    for folder in self._folders(prepared.path):
      path = os.path.join(folder, CLEANING)
      found = whole_files.read_object(path, _FIX)
      if found is None or 'generator' in found:  # a report like this one
        continue
      whole_files.check(found, _CLEANING, path, _FIX)
      whole_files.check(found, _MORE, path, _FIX, complete=False)
      return {k: found.get(k) for k in (*_CLEANING, *_MORE)}
    return None

  def __call__(self) -> dict[str, Any]:
    """Measures, and says on standard error how far it is."""
    prepared, groups = self._opened()
    counts = token_counts.count(prepared, groups)
    with wait('sampling the rows'):
      rows = row_samples.filling(prepared, self.rows)
      masking = row_samples.masking_of(prepared, self.rows)
    with wait('finding topics'):
      found = topics.find(prepared, self.rows.seed)
    cleaning = self._cleaning(prepared)
    total = max(int(counts.used.sum()), 1)
    size = sum(
      entry.stat().st_size
      for entry in os.scandir(prepared.path)
      if entry.is_file()
    )
    return {
      'corpus_dir': self.corpus_dir,
      'corpus': prepared.path,
      'source': prepared.index.get('source', ''),
      'vocabulary_size': len(prepared.vocabulary.tokens),
      'cased': prepared.vocabulary.cased,
      'splits': [*summaries.splits(prepared, counts)],
      'bytes': size,
      'bytes_a_token': size / total,
      'preparation_seconds': cleaning and cleaning['seconds'],
      'document_lengths': summaries.lengths(counts.document_lengths),
      'sentence_lengths': summaries.lengths(counts.sentence_lengths),
      'unknown_share': int(counts.used[prepared.vocabulary.unk_id]) / total,
      **summaries.kinds(counts),
      **summaries.entries(counts),
      'duplicates': summaries.duplicates(counts),
      'cleaning': cleaning,
      'length': self.rows.length,
      'batch_size': self.rows.batch_size,
      'rows': rows,
      'masking': masking,
      'variety': summaries.variety(counts),
      'topics': found['topics'],
      'topic_texts': found['texts'],
      'groups': [*summaries.groups(counts, groups)],
      'sample_rows': row_samples.ROWS,
    }


def find(folder: str) -> str:
  """Returns the one prepared corpus that is a folder or lies below it.

  Raises:
    UserError: several do.
  """
  if preparation.is_complete(folder):
    return folder
  below = [
    os.path.dirname(path)
    for depth in range(1, _DEEPEST + 1)
    for path in glob.glob(
      os.path.join(glob.escape(folder), *['*'] * depth, building.COMPLETED)
    )
  ]
  if len(below) > 1:
    raise UserError(
      f'expected one prepared corpus in {folder}, got {len(below)}; set '
      f'CORPUS_DIR to one of them, such as {min(below)}'
    )
  return below[0] if below else folder
