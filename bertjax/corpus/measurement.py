"""All that can be told of a prepared corpus before it is trained on, as JSON.

    measure = Measurement('runs/books', Rows(batch_size=32, length=128))
    found = measure()           # plain numbers, texts, lists and objects
    found['splits'][0]          # {'split': 'train', 'documents': 915, ...}

What `found` holds, flat but for lists of such objects; a share is from 0 to 1:

- `corpus_dir` as it was given; `corpus`, the folder of the shards; `source`,
  where the text was read from; `licence` or None; `vocabulary_size`, `cased`.
- `splits`: of each `split` its `documents`, `sentences`, `words`, `tokens` and
  `bytes`. A word is what BERT's tokenizer takes for one; signs are none.
- `bytes` of the folder; `bytes_a_token`; `preparation_seconds` or None.
- `document_lengths` and `sentence_lengths`, in tokens: `mean`, `median`,
  `percentile_90`, `longest`, and `bars`, each the `count` of those that have
  `from` to `to` of them.
- `unknown_share` of [UNK] among tokens; `tokens_a_word`; `kinds`: of each kind
  of word (`kind`: a script, digits, ...) `words`, `tokens`, `tokens_a_word`.
- `languages` and `language_texts`: see `language_samples.find`.
- `used_entries` and `rare_entries` of the vocabulary: those that occur, and
  those of them that occur fewer than `summaries.RARE` times.
- `duplicates`: `copies`, documents that are equal to an earlier one once
  tokenized; their `share`; `most_often`, how often one document is there;
  `is_exact`, or estimated from a sample.
- `cleaning`: what `report.json` of the corpus says; None if there is none.
- `length`, `batch_size`, and `rows`: see `row_samples.filling`.
- `masking`: see `masking_samples.masking_of`.
- `variety`: `different_words`, and whether that `is_exact`; `once_share` of
  these that occur once; `samples` of `sample_words` words in a row, and of them
  the mean `different_share`.
- `topics` and `topic_texts`: see `topics.find`.
- `groups`: of each `group` its `words`, how often they were `found`, and that
  `per_million_words`.
- `sample_rows`: how many rows are looked at, or all if there are fewer.

Of a mixture it holds `corpora`, a list of all this for each corpus, and
`mixture`, see `mixture_samples.shares_of`; `steps`, `epochs` and `tokens` in
`rows` are those of a run with that corpus alone.
"""

import dataclasses
import glob
import os
from collections.abc import Mapping, Sequence
from typing import Any

from bertjax.corpus import (
  building,
  language_samples,
  masking_samples,
  mixture_samples,
  preparation,
  row_samples,
  summaries,
  token_counts,
  topics,
  word_groups,
)
from bertjax.corpus.mixtures import Mixture, Rates
from bertjax.corpus.preparation import Prepared
from bertjax.errors import UserError
from bertjax.runs.progress_line import wait
from bertjax.text import whole_files
from bertjax.values import Natural, NotNegative, Path, check_fields

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
    corpus_dir: a prepared corpus, or a folder that holds one, such as a run's;
      or several that are mixed.
    rows: how it will be read.
    groups_file: see `word_groups.read`.
    rates: see `Mixture`, as for `temperature`.
  """

  corpus_dir: Path | Sequence[Path]
  rows: row_samples.Rows = dataclasses.field(default_factory=row_samples.Rows)
  groups_file: Path | None = None
  rates: Rates | Sequence[Sequence[Natural | Rates]] | None = None
  temperature: NotNegative | Sequence[Sequence[NotNegative]] = 1.0

  def __post_init__(self) -> None:
    """Raises UserError if there is no such corpus, or no such file."""
    check_fields(self)
    if self.groups_file is not None:
      path = os.path.expanduser(self.groups_file)
      object.__setattr__(self, 'groups_file', path)
    mixture, _ = self._opened()
    for prepared in mixture.corpora:
      documents = prepared.splits['train']['documents']
      is_other = self.rows.next_sentence and self.rows.pair_kind != 'sop'
      if is_other and documents < 2:
        raise UserError(
          'a second half of another document needs two documents or more, '
          f'{prepared.path} has {documents} to train on; put a blank line '
          'between documents, or set NSP=False'
        )

  @property
  def _folders(self) -> list[str]:
    """Returns the folders that are given."""
    given = self.corpus_dir
    several = [given] if isinstance(given, str) else given
    return [os.path.expanduser(path) for path in several]

  def _opened(self) -> tuple[Mixture, dict[str, list[str]]]:
    """Opens what is read, and checks that it is whole."""
    found = [preparation.load(find(folder)) for folder in self._folders]
    for prepared, folder in zip(found, self._folders, strict=True):
      for split in prepared.splits:
        prepared.split(split).check_files()
      _cleaning(prepared.path, folder)
    mixture = Mixture(found, self.rates, self.temperature)
    return mixture, word_groups.read(self.groups_file)

  @property
  def sources(self) -> list[str]:
    """Paths of files that are read, and must not be replaced."""
    found = [
      os.path.join(place, name)
      for folder in self._folders
      for place in _places(find(folder), folder)
      for name in (building.INDEX, CLEANING)
    ]
    return [*found, *filter(None, [self.groups_file])]

  def __call__(self) -> dict[str, Any]:
    """Measures, and says on standard error how far it is."""
    mixture, groups = self._opened()
    found = [
      self._of_one(prepared, folder, groups)
      for prepared, folder in zip(mixture.corpora, self._folders, strict=True)
    ]
    if not found[1:]:
      return found[0]
    fillings = [x['rows'] for x in found]
    shares = mixture_samples.shares_of(mixture, self.rows, fillings)
    return {'mixture': shares, 'corpora': found}

  def _of_one(
    self, prepared: Prepared, folder: str, groups: dict[str, list[str]]
  ) -> dict[str, Any]:
    counts = token_counts.count(prepared, groups)
    with wait('sampling the rows'):
      rows = row_samples.filling(prepared, self.rows)
      masking = masking_samples.masking_of(prepared, self.rows)
    with wait('telling languages'):
      languages = language_samples.find(prepared, self.rows.seed)
    with wait('finding topics'):
      found = topics.find(prepared, self.rows.seed)
    cleaning = _cleaning(prepared.path, folder)
    total = max(int(counts.used.sum()), 1)
    size = sum(
      entry.stat().st_size
      for entry in os.scandir(prepared.path)
      if entry.is_file()
    )
    return {
      'corpus_dir': folder,
      'corpus': prepared.path,
      'source': prepared.index.get('source', ''),
      'licence': prepared.index.get('licence'),
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
      **languages,
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


def _places(corpus: str, folder: str) -> list[str]:
  """Returns where `report.json` may lie."""
  return [corpus, os.path.dirname(corpus), folder]


def _cleaning(corpus: str, folder: str) -> dict[str, Any] | None:
  """Returns what is known of cleaning.

  Raises:
    UserError: report.json has another form.
  """
  for place in _places(corpus, folder):
    path = os.path.join(place, CLEANING)
    found = whole_files.read_object(path, _FIX)
    if found is None or 'generator' in found:  # a report like this one
      continue
    whole_files.check(found, _CLEANING, path, _FIX)
    whole_files.check(found, _MORE, path, _FIX, complete=False)
    return {k: found.get(k) for k in (*_CLEANING, *_MORE)}
  return None


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
