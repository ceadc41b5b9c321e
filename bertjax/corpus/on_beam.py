"""Prepares a corpus on a cluster, by Apache Beam.

    options = beam_options.parse('--runner=FlinkRunner --flink_master=f:8081')
    on_beam.build(reader, 'prepared/crawl', Training(30522), 0.05, Steps(),
                  report, options=options)

It leaves what `building.build` leaves, but that shards end where `units` do.
Three pipelines run one after the other: one cleans and finds duplicates, one
counts words, one tokenizes. Machines hand each other keys, hashes, signatures
and words, see `units`; text stays in files of a folder that all of them see:
that of `--temp_location`, or else OUTPUT_DIR.

This file and `beam_options` alone import apache_beam, and nothing imports them
unless Beam is asked for. Beam pickles the functions that it sends to machines;
these run what comes, so they and their ports belong to whoever prepares the
corpus.
"""

import base64
import contextlib
import dataclasses
import json
import re
import sys
import threading
import traceback
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import (
  GoogleCloudOptions,
  PipelineOptions,
  StandardOptions,
)

from bertjax.corpus import (
  building,
  cleaning,
  document_files,
  kept_text,
  shared_folder,
  spool,
  stages,
  units,
  wordpiece_training,
)
from bertjax.corpus.beam_options import SETTING
from bertjax.corpus.shared_folder import SharedFolder
from bertjax.corpus.steps import Steps
from bertjax.corpus.tally import Tally
from bertjax.corpus.wordpiece_training import Training
from bertjax.errors import RunStopped, UserError
from bertjax.runs import output_files
from bertjax.runs.progress_line import ProgressLine, wait
from bertjax.text import input_paths
from bertjax.text.vocabulary import Vocabulary

_SPACE = f'OUTPUT_DIR, or --temp_location in {SETTING}'
# Bytes of files that make a unit; a larger file is one of its own. Each has
# shards of its own, and a corpus is to have hundreds of files, not thousands.
_UNIT_BYTES, _MOST_UNITS = 1 << 24, 400
_TERMINAL_SECONDS, _PLAIN_SECONDS = 0.5, 30.0
# An error of one line, among all that runners say when work fails.
_MARKED = re.compile('<bertjax:([A-Za-z0-9+/=]+)>')
_PAIRS = tuple[bytes, bytes]


def build(
  reader: spool.Reader,
  folder: str,
  vocabulary: Vocabulary | Training,
  held_out_fraction: float,
  steps: Steps,
  report: Callable[[dict[str, Any], Tally], None],
  licence: str | None = None,
  *,
  options: PipelineOptions,
) -> None:
  """Writes a corpus into a folder; see `building.build` for the arguments.

  Args:
    options: what `beam_options.parse` returned.

  Raises:
    UserError: see `building.build`; or what is read is no files.
    RunStopped: a pipeline failed.
  """
  if not isinstance(reader, document_files.TextFiles):
    raise UserError(
      f'{reader} is no files, which machines could share; set TEXT_FILES to '
      f'files, or {SETTING}=None'
    )
  counts = cleaning.Counts()
  place = options.view_as(GoogleCloudOptions).temp_location or ''
  with shared_folder.temporary(folder, place, _SPACE) as shared:
    run = _Pipelines(options, shared, reader.text_column)
    work = _units_of(reader, counts)
    tally, threshold = run.clean(work, steps, held_out_fraction, counts)
    building.check_not_empty(tally.kept, reader, counts, tally)
    if isinstance(vocabulary, Training):
      words = run.count_words(len(work), threshold, vocabulary)
      with wait('training the vocabulary'):
        vocabulary = kept_text.train(vocabulary, words)
    written = run.tokenize(len(work), threshold, vocabulary)
    with output_files.explain_failure(folder, 'OUTPUT_DIR'):
      for split in written['splits'].values():
        for file in split['files']:
          shared.take(file['name'], folder)
  building.finish(
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


def _units_of(
  reader: document_files.TextFiles, counts: cleaning.Counts
) -> list[list[str]]:
  """Returns the files of each unit."""
  left_out: list[str] = []
  paths = reader.paths(left_out)
  counts.left_out = len(left_out)
  counts.first_left_out = next(iter(left_out), '')
  files = [input_paths.fingerprint(path, 'TEXT_FILES') for path in paths]
  sizes = [size for _, size, _ in files]
  most = max(_UNIT_BYTES, sum(sizes) // _MOST_UNITS)
  parts = units.divide(sizes, most)
  return [[path for path, *_ in files[part]] for part in parts]


@dataclasses.dataclass(frozen=True)
class _Pipelines:
  """Runs the pipelines.

  Attributes:
    options: of Beam.
    shared: the folder for files between machines.
    text_column: of tables.
  """

  options: PipelineOptions
  shared: SharedFolder
  text_column: str

  def clean(
    self,
    work: list[list[str]],
    steps: Steps,
    share: float,
    counts: cleaning.Counts,
  ) -> tuple[Tally, int]:
    """Returns what was counted, and the threshold; adds to `counts`."""
    settings = dataclasses.asdict(steps)
    with self._run('cleaning', 'chosen', len(work)) as pipeline:
      pairs = (
        pipeline
        | beam.Create([json.dumps(unit) for unit in enumerate(work)])
        | self._do('clean', settings=settings, text_column=self.text_column)
      )
      stages = ['repeated', 'write_text', 'near']
      if steps.paragraphs:
        stages[1:1] = ['find_paragraphs', 'repeated']
      for number, stage in enumerate(stages):
        arguments = {'jaccard': steps.jaccard} if stage == 'near' else {}
        pairs = (
          pairs
          | f'group {number}' >> beam.GroupByKey()
          | f'{stage} {number}' >> self._do(stage, **arguments)
        )
      _ = (
        pairs | beam.GroupByKey() | self._do('choose', outputs=int, share=share)
      )
    tally, hashes = Tally(), kept_text.Hashes(share)
    for told in self._told('chosen', len(work)):
      tally.merge(Tally.from_json(told['tally']))
      hashes += kept_text.Hashes(**told['hashes'])
      counts.add(cleaning.Counts(**told['counts']))
    return tally, hashes.threshold()

  def count_words(
    self, number: int, threshold: int, wanted: Training
  ) -> wordpiece_training.WordCounts:
    """Returns the counts of all words of all units."""
    with self._run('counting words', 'words', stages.WORD_FILES) as pipeline:
      _ = (
        pipeline
        | beam.Create(range(number))
        | self._do(
          'count_words',
          outputs=tuple[str, int],
          threshold=threshold,
          cased=wanted.cased,
          tokenizer=wanted.tokenizer,
        )
        | beam.CombinePerKey(sum)
        | self._do('by_file', outputs=tuple[int, tuple[str, int]])
        | beam.GroupByKey()
        | self._do('write_words', outputs=int)
      )
    words = wordpiece_training.WordCounts()
    for name in sorted(self.shared.names()):
      if name.startswith('words-'):
        with self.shared.local(name) as path:
          for batch in spool.read(path):
            words.add(kept_text.counted(batch))
    return words

  def tokenize(
    self, number: int, threshold: int, vocabulary: Vocabulary
  ) -> dict[str, Any]:
    """Returns what `building.tokenize` does, of all units."""
    with self._run('tokenizing', 'written', number) as pipeline:
      _ = (
        pipeline
        | beam.Create(range(number))
        | self._do(
          'write_shards',
          outputs=int,
          threshold=threshold,
          tokens=vocabulary.tokens,
          cased=vocabulary.cased,
          rules=vocabulary.rules,
        )
      )
    return kept_text.joined([*self._told('written', number)])

  def _do(self, name: str, outputs: Any = _PAIRS, **arguments: Any) -> Any:
    done = beam.ParDo(_Work(name, self.shared.path, arguments))
    return name >> done.with_output_types(outputs)

  def _told(self, what: str, number: int) -> Iterator[Any]:
    """Yields what each unit told, in their order."""
    for unit in range(number):
      try:
        yield self.shared.read_json(f'{what}-{unit}')
      except FileNotFoundError as error:
        raise RunStopped(
          f'unit {unit} of {number} left nothing in {self.shared.path}, which '
          f'must be a folder that all machines see; set {_SPACE}',
          status=1,
        ) from error

  @contextlib.contextmanager
  def _run(
    self, what: str, prefix: str, number: int
  ) -> Iterator[beam.Pipeline]:
    """Yields a pipeline to put together, and runs it."""
    standard = self.options.view_as(StandardOptions)
    runner = standard.runner.rpartition('.')[2]
    pipeline = beam.Pipeline(options=self.options)
    yield pipeline
    with wait(f'{what} on {runner}'), self._progress(what, prefix, number):
      try:
        state = pipeline.run().wait_until_finish()
      except Exception as error:
        raise self._error(what, runner, error) from error
    if state not in ('DONE', None):
      raise self._error(what, runner, RuntimeError(f'it is {state}'))

  def _error(self, what: str, runner: str, error: Exception) -> Exception:
    """Returns the error of one line that a machine met, if it was one."""
    for name in self.shared.names():
      if name.startswith('failed-'):
        return UserError(self.shared.read_json(name))
    if marked := _MARKED.search(str(error)):
      return UserError(base64.b64decode(marked[1]).decode())
    traceback.print_exception(error)
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return RunStopped(
      f'{what} on {runner} failed: {first[:300]}; the lines above say more',
      status=1,
    )

  @contextlib.contextmanager
  def _progress(self, what: str, prefix: str, number: int) -> Iterator[None]:
    """Says at times how many units are done."""
    ended = threading.Event()
    terminal = sys.stderr.isatty()
    seconds = _TERMINAL_SECONDS if terminal else _PLAIN_SECONDS

    def watch() -> None:
      with ProgressLine(sys.stderr) as line:
        while not ended.wait(seconds):
          with contextlib.suppress(Exception):
            names = self.shared.names()
            done = sum(name.startswith(f'{prefix}-') for name in names)
            line.show(f'{what}: {done:,} of {number:,} parts')

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
      yield
    finally:
      ended.set()
      thread.join()


class _Work(beam.DoFn):
  """Calls a function of `stages.MAKERS` on each element."""

  def __init__(self, name: str, folder: str, arguments: dict[str, Any]):
    self._name, self._folder, self._arguments = name, folder, arguments
    self._function: Any = None

  def process(self, element: Any) -> Iterator[Any]:
    folder = SharedFolder(self._folder)
    try:
      with output_files.explain_failure(self._folder, _SPACE):
        if self._function is None:
          self._function = stages.MAKERS[self._name](folder, **self._arguments)
        yield from self._function(element)
    except UserError as error:
      told = str(error)
      with contextlib.suppress(Exception):
        folder.write_json(f'failed-{uuid.uuid4().hex}', told)
      marked = base64.b64encode(told.encode()).decode()
      raise RuntimeError(f'<bertjax:{marked}>') from error
