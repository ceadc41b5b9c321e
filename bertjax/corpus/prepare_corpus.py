"""The job of prepare_corpus.gin: cleans, deduplicates, tokenizes, reports.

    prepare_corpus.prepare('crawl/*.warc.gz', 'prepared/crawl', Steps())

OUTPUT_DIR gets what `building` writes, and `report.json`, before `COMPLETED`:
  documents_read, documents_kept, tokens
  dropped        rule -> documents; with those kept they are those read
  removed_lines  rule -> lines that went out of documents, of those kept and
                 near duplicates
  replaced       kind of personal data -> how often, in the same documents
  samples        rule -> the first documents that it dropped, cut; of near
                 duplicates none
  seconds, megabytes_read
  made_from      digest of settings and bytes read, to tell another preparation
"""

import dataclasses
import functools
import hashlib
import json
import os
import shlex
import time
from collections.abc import Callable

from bertjax.corpus import (
  building,
  corpora,
  preparation,
  shards,
  shared_folder,
  spool,
)
from bertjax.corpus.steps import Steps
from bertjax.corpus.tally import Tally
from bertjax.corpus.wordpiece_training import TokenizerName, Training
from bertjax.errors import UserError, expect
from bertjax.runs import layout, output_files
from bertjax.text import input_paths
from bertjax.text.vocabulary import Vocabulary
from bertjax.values import (
  Count,
  Name,
  Path,
  Paths,
  Place,
  Rate,
  VocabularySize,
  checked,
)

REPORT = 'report.json'
# What nothing but a preparation writes, beside shards; and what people have of
# elsewhere, too.
_OWN = {building.INDEX, 'text.arrow', 'signatures', shared_folder.NAME}
_COMMON = (
  *layout.VOCABULARIES,
  'tokenizer_config.json',
  REPORT,
  building.COMPLETED,
)


@checked
def run_dir(output_dir: Path, run_dir: Path | None = None) -> str:
  """Returns RUN_DIR, which holds lock and configuration of a preparation.

  Raises:
    UserError: `output_dir` cannot get a corpus. Nothing is written before this
      is asked, so nothing is left in a folder of something else.
  """
  same = os.path.realpath(run_dir or '') == os.path.realpath(output_dir)
  where = 'a folder in OUTPUT_DIR or elsewhere, not OUTPUT_DIR itself'
  expect(not (run_dir and same), where, run_dir, 'RUN_DIR')
  _check_folder(output_dir, run_dir)
  return run_dir or os.path.join(output_dir, 'run')


@checked
def prepare(
  text_files: Paths | spool.Reader,
  output_dir: Path,
  steps: Steps,
  run_dir: Path | None = None,
  vocab_file: Place | None = None,
  vocab_size: VocabularySize = 30522,
  cased: bool | None = None,
  tokenizer: TokenizerName = 'wordpiece',
  min_frequency: Count = 2,
  held_out_fraction: Rate = 0.05,
  text_column: Name = 'text',
  licence: Name | None = None,
  beam_options: Name | None = None,
  dry_run: bool = False,
) -> None:
  """Prepares a corpus in a folder of its own, and prints what became of it.

  One that is there and complete is left as it is, if it was prepared with these
  settings from as many bytes. One that was ended is prepared anew.

  Args:
    text_files: see `corpora.from_text`, as for those that follow.
    output_dir: gets the corpus; new, or that of a preparation that was ended.
    steps: what is done to the documents.
    run_dir: may lie in `output_dir`.
    vocab_file: a published one; None: train one on what is left.
    vocab_size: of a trained vocabulary.
    cased: None: what the vocabulary says.
    tokenizer: of a trained vocabulary.
    min_frequency: see `wordpiece_training.train`.
    held_out_fraction: share of the documents in the split 'validation'.
    text_column: of tables.
    licence: of the text, such as 'CC BY-SA 4.0', which the corpus then names.
    beam_options: '--runner=... --name=value', to work on Beam; None: in as many
      processes as this machine has cores.
    dry_run: look at the files, and prepare nothing.

  Raises:
    UserError: the text cannot be read, nothing is left, the disk is full,
      `output_dir` holds something else, or Beam has no such options.
  """
  build = building.build if beam_options is None else _on_beam(beam_options)
  reader = corpora.reader_of(text_files, text_column)
  vocabulary = corpora.vocabulary_of(
    vocab_file, vocab_size, cased, min_frequency, tokenizer
  )
  made_from = _digest(
    reader, vocabulary, held_out_fraction, steps, [text_column, licence]
  )
  if preparation.is_complete(output_dir):
    _check_same(os.path.join(output_dir, REPORT), made_from)
    print(f'{output_dir} is prepared already', flush=True)
  else:
    _check_folder(output_dir, run_dir)
    if dry_run:
      print(f'{reader.size() / 1e6:,.1f} MB to read')
      return
    with output_files.explain_failure(output_dir, 'OUTPUT_DIR'):
      os.makedirs(output_dir, exist_ok=True)
      _remove(output_dir)
      started = time.monotonic()

      def report(index: dict, tally: Tally) -> None:
        if not isinstance(vocabulary, Training):
          corpora.check_known(index)
        seconds = time.monotonic() - started
        _write_report(output_dir, index, tally, seconds, made_from)

      build(
        reader,
        output_dir,
        vocabulary,
        held_out_fraction,
        steps,
        report,
        licence,
      )
  prepared = preparation.load(output_dir)
  print(prepared.report())
  _tell(os.path.join(output_dir, REPORT))
  folder = shlex.quote(output_dir)
  following = f'python -m bertjax.main pretrain_text --gin.CORPUS_DIR={folder}'
  print(f'next: {following}', flush=True)


def _on_beam(options: str) -> Callable[..., None]:
  """Returns what does the work of `building.build`."""
  try:
    from bertjax.corpus import beam_options, on_beam
  except ImportError as error:
    raise UserError(
      f'BEAM_OPTIONS needs apache-beam, which cannot be imported ({error}); '
      'pip install -r requirements-beam.txt, or set BEAM_OPTIONS=None'
    ) from error
  return functools.partial(on_beam.build, options=beam_options.parse(options))


def _check_folder(output_dir: str, run_dir: str | None) -> None:
  """Refuses what holds anything that no preparation left there."""
  output_files.check_folder(output_dir, 'OUTPUT_DIR')
  if not os.path.lexists(output_dir) or preparation.is_complete(output_dir):
    return
  is_folder = os.path.isdir(output_dir)
  expect(is_folder, 'a new folder, no file', output_dir, 'OUTPUT_DIR')
  of_run = os.path.basename(run_dir or 'run')
  own = _left_in(output_dir)
  for name in sorted(os.listdir(output_dir)):
    if name != of_run and name not in own:
      raise UserError(
        f'expected a new folder, but {output_dir} holds {name}; set OUTPUT_DIR '
        'to another'
      )


def _left_in(folder: str) -> list[str]:
  """Returns the names of what a preparation left, in the order to remove it.

  A vocabulary alone is somebody's own: it goes before what tells it from one.
  """
  names = sorted(os.listdir(folder))
  own = [x for x in names if x in _OWN or shards.is_name(x)]
  return [*(x for x in names if own and x in _COMMON), *own]


def _remove(output_dir: str) -> None:
  """Removes what a preparation that was ended left."""
  left = _left_in(output_dir)
  if left:
    print('a preparation was ended here: it starts anew', flush=True)
  for name in left:
    output_files.remove(os.path.join(output_dir, name))


def _digest(
  reader: spool.Reader,
  vocabulary: Vocabulary | Training,
  held_out_fraction: float,
  steps: Steps,
  more: list[str | None],
) -> str:
  """Returns what tells a preparation from one with other settings or text.

  Of files their bytes count, not when they were changed, nor where the text
  is: the same text may be moved.
  """
  of = (
    dataclasses.astuple(vocabulary)
    if isinstance(vocabulary, Training)
    else building.digest(vocabulary)
  )
  of_steps = dataclasses.asdict(steps)
  where = 'DECONTAMINATE or BLOCKED_WORDS'
  of_files = [
    input_paths.fingerprint(path, where)[1]
    for patterns in filter(None, (steps.decontaminate, steps.blocked_words))
    for path in input_paths.expand(patterns, where)
  ]
  settings = [reader.size(), of, held_out_fraction, of_steps, of_files, *more]
  text = json.dumps(settings)
  return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _check_same(path: str, made_from: str) -> None:
  """Refuses a report of another preparation, if it says what it is of."""
  if preparation.read_report(path).get('made_from', made_from) != made_from:
    raise UserError(
      f'{os.path.dirname(path)} holds a corpus that was prepared from other '
      'text or with other settings; set OUTPUT_DIR to another'
    )


def _write_report(
  output_dir: str, index: dict, tally: Tally, seconds: float, made_from: str
) -> None:
  kept = sum(index['splits'][x]['documents'] for x in shards.SPLITS)
  dropped = dict(sorted(tally.dropped.items()))
  expect(
    kept + sum(dropped.values()) == tally.read,
    f'{tally.read} documents, kept or dropped',
    f'{kept} and {dropped}',
    'nothing: this is a fault of bertjax',
  )
  report = {
    'documents_read': tally.read,
    'documents_kept': kept,
    'tokens': sum(index['splits'][x]['tokens'] for x in shards.SPLITS),
    'dropped': dropped,
    'removed_lines': dict(sorted((+tally.removed_lines).items())),
    'replaced': dict(sorted(tally.replaced.items())),
    'samples': tally.samples,
    'seconds': round(seconds, 1),
    'megabytes_read': round(index['counts']['file_bytes'] / 1e6, 3),
    'made_from': made_from,
  }
  path = os.path.join(output_dir, REPORT)
  output_files.write_json(path, report, 'OUTPUT_DIR')


def _tell(path: str) -> None:
  """Prints the report for people."""
  report = preparation.read_report(path)
  read = report['documents_read']
  lines = [
    f'{read:,} documents read, {report["documents_kept"]:,} kept, '
    f'{report["tokens"]:,} tokens'
  ]
  for name, count in sorted(report['dropped'].items(), key=lambda x: -x[1]):
    lines.append(f'  {name}: {count:,} documents ({count / max(1, read):.1%})')
  for name, count in report['removed_lines'].items():
    lines.append(f'  {name}: {count:,} lines taken out')
  for name, count in report['replaced'].items():
    lines.append(f'  {name}: {count:,} replaced')
  seconds = max(report['seconds'], 0.1)
  speed = report['megabytes_read'] / seconds
  lines.append(f'{seconds:,.0f} s, {speed:.1f} MB/s; samples in {path}')
  print('\n'.join(lines), flush=True)
