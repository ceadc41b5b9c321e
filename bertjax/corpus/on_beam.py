"""Prepares a corpus on a cluster, by Apache Beam.

    options = on_beam.parse('--runner=FlinkRunner --flink_master=flink:8081')
    on_beam.build(reader, 'prepared/crawl', Training(30522), 0.05, Steps(),
                  report, options)

It leaves what `building.build` leaves, but that shards end where `units` do.
Three pipelines run one after the other: one cleans and finds duplicates, one
counts words, one tokenizes. Machines hand each other keys, hashes, signatures
and words, see `units`; text stays in files of a folder that all of them see:
that of `--temp_location`, or else OUTPUT_DIR.

This file alone imports apache_beam, and nothing imports this file unless Beam
is asked for. Beam pickles the functions that it sends to machines; these run
what comes, so they and their ports belong to whoever prepares the corpus.
"""

import base64
import contextlib
import dataclasses
import hashlib
import importlib
import json
import os
import re
import shlex
import sys
import threading
import traceback
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.options import pipeline_options
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
from bertjax.corpus.shared_folder import SharedFolder
from bertjax.corpus.steps import Steps
from bertjax.corpus.tally import Tally
from bertjax.corpus.wordpiece_training import Training
from bertjax.errors import RunStopped, UserError, did_you_mean
from bertjax.runs import output_files
from bertjax.runs.progress_line import ProgressLine, wait
from bertjax.text import input_paths
from bertjax.text.vocabulary import Vocabulary

_SETTING = 'BEAM_OPTIONS'
_SPACE = f'OUTPUT_DIR, or --temp_location in {_SETTING}'
_DASK = 'apache_beam.runners.dask.dask_runner.DaskRunner'
_RUNNERS = {
  path.rpartition('.')[2]: path
  for path in (*StandardOptions.ALL_KNOWN_RUNNERS, _DASK)
}
# These choose Prism, which downloads a program, without being asked to.
_CHOOSING = ('DirectRunner', 'SwitchingDirectRunner')
# Bytes of files that make a unit; a larger file is one of its own. The shards
# of each are files that training holds open, and systems allow some 1,000.
_UNIT_BYTES, _MOST_UNITS = 1 << 24, 400
_TERMINAL_SECONDS, _PLAIN_SECONDS = 0.5, 30.0
# An error of one line, among all that runners say when work fails.
_MARKED = re.compile('<bertjax:([A-Za-z0-9+/=]+)>')
_PAIRS = tuple[bytes, bytes]


class _Parser(pipeline_options._BeamArgumentParser):
  def error(self, message: str) -> Any:
    raise UserError(f'{message}; set {_SETTING}')


def parse(options: str) -> PipelineOptions:
  """Returns what '--runner=... --name=value' says.

  Raises:
    UserError: there is no such runner or option, or no runner is named.
  """
  try:
    flags = shlex.split(options)
  except ValueError as error:
    raise UserError(f'{error} in {options!r}; set {_SETTING}') from error
  named = _Parser(allow_abbrev=False, add_help=False)
  named.add_argument('--runner')
  runner = _runner_of(named.parse_known_args(flags)[0].runner)
  parser = _Parser(allow_abbrev=False, add_help=False)
  for kind in PipelineOptions.__subclasses__():
    kind._add_argparse_args(parser)
  found, unknown = parser.parse_known_args(flags)
  if unknown:
    name = unknown[0].partition('=')[0]
    near = did_you_mean(name, sorted(parser._option_string_actions))
    raise UserError(
      f'{unknown[0]!r} is no option of Beam{near}; set {_SETTING}'
    )
  if runner == _DASK:
    if not (found.address or found.scheduler_file):
      # Else Dask starts processes, and opens a port to every network.
      raise UserError(
        f'DaskRunner needs --dask_client_address=HOST:PORT in {_SETTING}, that '
        'of a scheduler that runs'
      )
    if not (found.npartitions or found.partition_size):
      flags.append('--dask_partition_size=1')  # else 128 units, in one process
  return PipelineOptions([*flags, f'--runner={runner}'])


def _runner_of(name: str | None) -> str:
  """Returns module and class; imports it, or Beam knows no options of it."""
  lower = (name or '').lower()
  near = did_you_mean(name or '', [*_RUNNERS])
  known = {short.lower(): path for short, path in _RUNNERS.items()}
  path = known.get(lower) or known.get(f'{lower}runner') or name or ''
  module, _, kind = path.rpartition('.')
  if kind in ('', *_CHOOSING):
    raise UserError(
      f'{name or "no --runner"} leaves the choice to Beam, which may download '
      'a program for it; name one, such as --runner=FnApiRunner or '
      f'--runner=PrismRunner, in {_SETTING}'
    )
  try:
    getattr(importlib.import_module(module or kind), kind)
  except (ImportError, AttributeError) as error:
    missing = f', since {error}' if kind in _RUNNERS else near
    raise UserError(
      f'{name} is no runner of Beam here{missing}; set {_SETTING}'
    ) from error
  return path


def build(
  reader: spool.Reader,
  folder: str,
  vocabulary: Vocabulary | Training,
  held_out_fraction: float,
  steps: Steps,
  report: Callable[[dict[str, Any], Tally], None],
  options: PipelineOptions,
) -> None:
  """Writes a corpus into a folder; see `building.build` for the arguments.

  Args:
    options: what `parse` returned.

  Raises:
    UserError: see `building.build`; or what is read is no files.
    RunStopped: a pipeline failed.
  """
  if not isinstance(reader, document_files.TextFiles):
    raise UserError(
      f'{reader} is no files, which machines could share; set TEXT_FILES to '
      f'files, or {_SETTING}=None'
    )
  counts = cleaning.Counts()
  with _shared(folder, options) as shared:
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


@contextlib.contextmanager
def _shared(folder: str, options: PipelineOptions) -> Iterator[SharedFolder]:
  """Makes a folder for files between machines, which goes at the end."""
  own = os.path.abspath(folder)
  place = options.view_as(GoogleCloudOptions).temp_location or ''
  if place and '://' not in place:
    place = os.path.abspath(place)
  name = hashlib.blake2b(own.encode(), digest_size=8).hexdigest()
  above = (
    SharedFolder(f'{place.rstrip("/")}/bertjax-{name}')
    if place
    else SharedFolder(os.path.join(own, shared_folder.NAME))
  )
  # What is left of a preparation that was ended may still be written to.
  above.remove()
  shared = SharedFolder(f'{above.path}/{uuid.uuid4().hex}')
  with output_files.explain_failure(shared.path, _SPACE):
    shared.make()
  try:
    yield shared
  finally:
    above.remove()


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
