"""The options of Apache Beam, checked before anything is read.

options = beam_options.parse('--runner=FlinkRunner --flink_master=flink:8081')
"""

import importlib
import shlex
from typing import Any

from apache_beam.options import pipeline_options
from apache_beam.options.pipeline_options import (
  PipelineOptions,
  StandardOptions,
)

from bertjax.errors import UserError, did_you_mean

SETTING = 'BEAM_OPTIONS'
_DASK = 'apache_beam.runners.dask.dask_runner.DaskRunner'
_RUNNERS = {
  path.rpartition('.')[2]: path
  for path in (*StandardOptions.ALL_KNOWN_RUNNERS, _DASK)
}
# These choose Prism, which downloads a program, without being asked to.
_CHOOSING = ('DirectRunner', 'SwitchingDirectRunner')


class _Parser(pipeline_options._BeamArgumentParser):
  def error(self, message: str) -> Any:
    raise UserError(f'{message}; set {SETTING}')


def parse(options: str) -> PipelineOptions:
  """Returns what '--runner=... --name=value' says.

  Raises:
    UserError: there is no such runner or option, or no runner is named.
  """
  try:
    flags = shlex.split(options)
  except ValueError as error:
    raise UserError(f'{error} in {options!r}; set {SETTING}') from error
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
    raise UserError(f'{unknown[0]!r} is no option of Beam{near}; set {SETTING}')
  if runner == _DASK:
    if not (found.address or found.scheduler_file):
      # Else Dask starts processes, and opens a port to every network.
      raise UserError(
        f'DaskRunner needs --dask_client_address=HOST:PORT in {SETTING}, that '
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
      f'--runner=PrismRunner, in {SETTING}'
    )
  try:
    getattr(importlib.import_module(module or kind), kind)
  except (ImportError, AttributeError) as error:
    missing = f', since {error}' if kind in _RUNNERS else near
    raise UserError(
      f'{name} is no runner of Beam here{missing}; set {SETTING}'
    ) from error
  return path
