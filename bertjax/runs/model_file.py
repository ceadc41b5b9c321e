"""The models and the objective of a run, as JSON beside its checkpoints.

    model_file.write('runs/books', {'': config}, objective.facts())
    config = model_file.read('runs/books')

config.gin holds the same and more, but reading it takes gin and the modules
that it names.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bertjax.errors import UserError, choose
from bertjax.models.config import EncoderConfig, computation
from bertjax.runs import layout, output_files
from bertjax.text import byte_level, vocabulary_file, whole_files

# What runs were trained for before their model.json said so.
_EARLIER = pathlib.Path(__file__).with_name('earlier_objectives.json')
_FIX = 'mend it, or start the run again to write it anew'
# Key -> annotation: of an objective, of task.json, and of a
# row of results.json.
_OBJECTIVE: dict[str, Any] = {
  'name': str,
  'losses': dict[str, float],
  'titles': dict[str, str],
  'watched': list[str],
  'vocabulary_loss': str | None,
  'chances': dict[str, float],
}
_TASK: dict[str, Any] = {
  'task': str,
  'head': str | None,
  'labels': list[str],
  'metrics': list[str],
  'length': int,
  'stride': int | None,
  'columns': dict[str, str | int | list[str] | None],
  'threshold': float,
}
_RESULTS: dict[str, Any] = {
  'task': str,
  'metrics': list[str],
  'scores': dict[str, list[float]],
  'seeds': list[int],
  'best_run': str,
  'published': float | None,
}


class ObjectiveFacts(NamedTuple):
  """What readers of a run need to know of its `abstract_objective.Objective`.

  Attributes:
    name: of the class; the others are its attributes.
  """

  name: str
  losses: Mapping[str, float]
  titles: Mapping[str, str]
  watched: Sequence[str]
  vocabulary_loss: str | None
  chances: Mapping[str, float]


def write(
  run_dir: str,
  configs: Mapping[str, EncoderConfig],
  objective: ObjectiveFacts | None = None,
  main: str = '',
) -> None:
  """Writes model.json, with a digest of the vocabulary if the run has one.

  Args:
    run_dir: made if missing.
    configs: of each model; the run's parameters are nested under their names.
      Those of a single model, named '', are not nested.
    objective: what the run is trained for; None: not known.
    main: the name of the main model.
  """
  content: dict[str, Any] = {'encoder': dataclasses.asdict(configs[main])}
  if main:
    content['main'] = main
    content['models'] = {
      name: dataclasses.asdict(config) for name, config in configs.items()
    }
  if objective:
    content['objective'] = objective._asdict()
  vocabulary = vocabulary_file.find(run_dir)
  if os.path.exists(vocabulary):
    content['vocabulary'] = vocabulary_file.digest(vocabulary)
  path = os.path.join(run_dir, layout.MODEL)
  output_files.write_json(path, content, 'RUN_DIR')


def read(run_dir: str) -> EncoderConfig:
  """Reads the main model's configuration from model.json.

  Raises:
    UserError: it is missing or damaged.
  """
  path, content = _path(run_dir, layout.MODEL), _read_model(run_dir)
  whole_files.check(content, {'encoder': dict[str, Any]}, path, _FIX)
  where, encoder = f'encoder of {path}', content['encoder']
  fields = dataclasses.fields(EncoderConfig)
  for name in encoder:
    choose({x.name: x for x in fields}, name, f'another name in {where}')
  needed = (x.name for x in fields if x.default is dataclasses.MISSING)
  whole_files.check(encoder, dict.fromkeys(needed, Any), where, _FIX)
  try:
    return EncoderConfig(**encoder)
  except UserError as error:
    raise damaged(path, error) from error


def damaged(path: str, error: Exception) -> UserError:
  """Returns an error on a file of a run that names it, and no setting."""
  what, _, _ = str(error).partition('; set ')
  return UserError(f'{path}: {what}; {_FIX}')


def check_vocabulary(run_dir: str) -> None:
  """Compares the run's vocabulary with the digest of it in model.json.

  Runs before bertjax 0.2 have none, and are accepted; so is a model.json that
  is missing or damaged, which a run that goes on writes anew.

  Raises:
    UserError: they differ.
  """
  path = vocabulary_file.find(run_dir)
  then = None
  with contextlib.suppress(UserError):
    then = _read_model(run_dir).get('vocabulary')
  if then is not None and then != vocabulary_file.digest(path):
    raise UserError(
      f'{path}, or whether it is cased, is not as it was when training began, '
      'and its tokens would have the vectors of others; put that vocabulary '
      'and its tokenizer_config.json back, or set another RUN_DIR'
    )


def shown_tokens(run_dir: str) -> list[str]:
  """Returns the vocabulary as people read it; [] if the run has none."""
  path = pathlib.Path(vocabulary_file.find(run_dir))
  if path.name == layout.VOCABULARY:
    return path.read_text('utf-8').split('\n') if path.exists() else []
  tokens, _, *rules = vocabulary_file.load(str(path))
  return byte_level.shown(tokens, byte_level.special_tokens(*rules))


def read_main(run_dir: str) -> str:
  """Reads under which name the main model's parameters are nested; '': none.

  Raises:
    UserError: see `read`.
  """
  content = _read_model(run_dir)
  path = _path(run_dir, layout.MODEL)
  whole_files.check(content, {'main': str}, path, _FIX, complete=False)
  return content.get('main', '')


def read_computation(run_dir: str) -> dict[str, Any]:
  """Reads what makes equal parameters of the main model compute other things.

  Raises:
    UserError: see `read`.
  """
  return computation(read(run_dir))


def default_computation() -> dict[str, Any]:
  """Returns the same of a configuration that leaves all of it out."""
  return computation(
    EncoderConfig(vocabulary_size=1, width=1, layers=1, heads=1, feed_forward=1)
  )


def read_objective(run_dir: str) -> ObjectiveFacts:
  """Reads what a run is trained for.

  Of a run that does not say so, as those before bertjax 0.2, it is the loss of
  its task, or masked language modelling.

  Raises:
    UserError: model.json is damaged.
  """

  def unsaid() -> dict[str, Any]:
    earlier = json.loads(_EARLIER.read_text(encoding='utf-8'))
    if task := read_task(run_dir):
      return earlier['task'] | {'name': f'TaskObjective of {task["kind"]}'}
    return earlier['pretraining']

  path = _path(run_dir, layout.MODEL)
  content = whole_files.read_object(path, _FIX) or {}
  whole_files.check(
    content, {'objective': dict[str, Any] | None}, path, _FIX, False
  )
  facts = content.get('objective') or unsaid()
  whole_files.check(facts, _OBJECTIVE, f'objective of {path}', _FIX)
  return ObjectiveFacts(*(facts[name] for name in ObjectiveFacts._fields))


def _read_model(run_dir: str) -> dict[str, Any]:
  content = whole_files.read_object(_path(run_dir, layout.MODEL), _FIX)
  if content is None:
    raise UserError(
      f'expected the folder of a run, with {layout.MODEL}, or a Hugging Face '
      f'directory, with config.json; {run_dir or "the empty path"} has '
      'neither; set MODEL, INIT_FROM or RUN_DIR to one'
    )
  return content


def write_task(run_dir: str, task: Mapping[str, Any]) -> None:
  """Writes task.json: the `kind` of the head, its `labels`, and more."""
  output_files.write_json(_path(run_dir, layout.TASK), task, 'RUN_DIR')


def read_task(run_dir: str) -> dict[str, Any] | None:
  """Reads task.json; None if there is none.

  Raises:
    UserError: it is damaged.
  """
  path = _path(run_dir, layout.TASK)
  content = whole_files.read_object(path, _FIX)
  if content is not None:
    whole_files.check(content, {'kind': str}, path, _FIX)
    whole_files.check(content, _TASK, path, _FIX, complete=False)
  return content


def read_results(run_dir: str) -> list[dict[str, Any]] | None:
  """Reads the tasks of results.json; None if it is no fine-tuning.

  Raises:
    UserError: it is damaged, or a best run is not below `run_dir`.
  """
  path = _path(run_dir, layout.RESULTS)
  content = whole_files.read_object(path, _FIX)
  if content is None:
    return None
  whole_files.check(content, {'tasks': list[dict[str, Any]]}, path, _FIX)
  for number, row in enumerate(content['tasks']):
    where = f'tasks[{number}] of {path}'
    whole_files.check(row, _RESULTS, where, _FIX)
    scored = {f'eval/{metric}': list[float] for metric in row['metrics']}
    whole_files.check(row['scores'], scored, f'scores of {where}', _FIX)
    if not row['metrics'] or not all(row['scores'].values()):
      raise UserError(f'expected scores in {where}, got none; {_FIX}')
    if not layout.is_below(row['best_run']):
      raise UserError(
        f'expected best_run below the folder of {path}, got '
        f'{row["best_run"]!r}; {_FIX}'
      )
  return content['tasks']


def _path(run_dir: str, name: str) -> str:
  return os.path.join(run_dir, name)
