"""Makes token shards and their vocabulary of documents.

    building.build(reader, 'runs/books/part', Training(8192))

Into a folder: the shards, the vocabulary, `index.json`, and `COMPLETED`, which
is written last. What `index.json` holds: see `preparation.Prepared`.
"""

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np

from bertjax.corpus import (
  cleaning,
  kept_text,
  spool,
  workers,
)
from bertjax.corpus.steps import SETTINGS, Steps
from bertjax.corpus.tally import Tally
from bertjax.corpus.wordpiece_training import Training
from bertjax.errors import UserError
from bertjax.runs import output_files
from bertjax.runs.progress_line import wait
from bertjax.text import vocabulary_file
from bertjax.text.vocabulary import Vocabulary

FORMAT = 3  # raise it if what is written here changes
INDEX, COMPLETED = 'index.json', 'COMPLETED'
_TEXT, _SIGNATURES = 'text.arrow', 'signatures'
_ELSEWHERE = 'another directory'
# Bytes of text for which a further process is worth its start.
_PROCESS_BYTES = 1 << 24


def build(
  reader: spool.Reader,
  folder: str,
  vocabulary: Vocabulary | Training,
  held_out_fraction: float = 0.05,
  steps: Steps | None = None,
  report: Callable[[dict[str, Any], Tally], None] | None = None,
  licence: str | None = None,
) -> None:
  """Writes a corpus into a folder, from text to `COMPLETED`.

  Args:
    reader: its documents.
    folder: is there; what a build that was ended left in it is overwritten.
    vocabulary: that of the ids, or one that is trained on the split 'train'.
    held_out_fraction: see `preparation.prepare`.
    steps: what is done to documents before; None: nothing.
    report: is called with `index.json` and what the steps counted, before
      `COMPLETED` is written.
    licence: of the text, for whoever gets the corpus; None: not known.

  Raises:
    UserError: there is no document, or none is left.
  """
  counts, text = cleaning.Counts(), os.path.join(folder, _TEXT)
  more = reader.size() // _PROCESS_BYTES
  processes = min(workers.available(), 1 + more)
  with workers.Pool(processes) as pool:  # it starts while the text is read
    with contextlib.ExitStack() as stack:
      documents, tally, seen = reader.documents(counts), None, None
      if steps:
        place = os.path.join(folder, _SIGNATURES)
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        documents, tally, seen = stack.enter_context(
          steps.run(documents, place, pool)
        )
      found = spool.write(documents, text, counts, reader.size())
      check_not_empty(len(found), reader, counts, tally)
      kept = np.ones(len(found), bool)
      if tally and seen and steps and steps.near_duplicates:
        with wait('looking for near duplicates'):
          kept = tally.leave_out(seen.near())
    hashes = kept_text.Hashes.of(found[kept], held_out_fraction)
    pieces = kept_text.Pieces(text, kept, hashes.threshold())
    if isinstance(vocabulary, Training):
      with wait('training the vocabulary'):
        words = kept_text.count(vocabulary, pieces, pool)
        vocabulary = kept_text.train(vocabulary, words)
    with wait('tokenizing'):
      written = kept_text.tokenize(vocabulary, pieces, folder, pool)
  os.remove(text)
  finish(
    folder,
    vocabulary,
    reader,
    held_out_fraction,
    counts,
    written,
    tally,
    report,
    licence,
  )


def finish(
  folder: str,
  vocabulary: Vocabulary,
  reader: spool.Reader,
  held_out_fraction: float,
  counts: cleaning.Counts,
  written: dict[str, Any],
  tally: Tally | None,
  report: Callable[[dict[str, Any], Tally], None] | None,
  licence: str | None,
) -> None:
  """Writes what stands beside the shards, and `COMPLETED`.

  Args:
    folder: holds the shards.
    vocabulary: that of the ids.
    reader: what was read.
    held_out_fraction: see `build`, as for `report`.
    counts: of what was read.
    written: what `tokenize` returned.
    tally: of the steps.
    report: see `build`, as for `licence`.
  """
  vocabulary_file.save(folder, *vocabulary.parts)
  index = {
    'format': FORMAT,
    'source': str(reader),
    **({} if licence is None else {'licence': licence}),
    'held_out_fraction': held_out_fraction,
    'vocabulary': digest(vocabulary),
    'counts': dataclasses.asdict(counts),
    **written,
  }
  output_files.write_json(os.path.join(folder, INDEX), index, _ELSEWHERE)
  if tally and report:
    report(index, tally)
  output_files.write_text(os.path.join(folder, COMPLETED), '', _ELSEWHERE)


def digest(vocabulary: Vocabulary) -> str:
  """Returns what tells a vocabulary from others."""
  return vocabulary_file.digest_of(*vocabulary.parts)


def check_not_empty(
  kept: int,
  reader: spool.Reader,
  counts: cleaning.Counts,
  tally: Tally | None,
) -> None:
  """Raises UserError if no document is kept, and says why."""
  if kept:
    return
  if tally and tally.read:
    rules = ', '.join(f'{n:,} by {x}' for x, n in tally.dropped.most_common())
    first, _ = tally.dropped.most_common(1)[0]
    settings = dict.fromkeys([SETTINGS.get(first, 'RULES'), 'TEXT_FILES'])
    raise UserError(
      f'no document of {tally.read:,} is left: {rules}; set '
      f'{", or ".join(settings)} to other text'
    )
  found = '; '.join(
    [f'no document in the {counts.files} files', *counts.faults()]
  )
  raise UserError(
    f'expected text in {reader}, found {found}; set TEXT_FILES or TEXT_COLUMN'
  )
