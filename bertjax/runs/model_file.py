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
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from etils import epath

from bertjax.errors import UserError
from bertjax.models.config import EncoderConfig, computation
from bertjax.runs import layout, output_files
from bertjax.text import vocabulary_file

# What runs were trained for before their model.json said so.
_EARLIER = pathlib.Path(__file__).with_name('earlier_objectives.json')


class ObjectiveFacts(NamedTuple):
  """What readers of a run need to know of its `objectives.Objective`.

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
  vocabulary = os.path.join(run_dir, layout.VOCABULARY)
  if os.path.exists(vocabulary):
    content['vocabulary'] = vocabulary_file.digest(vocabulary)
  path = os.path.join(run_dir, layout.MODEL)
  output_files.write_json(path, content, 'RUN_DIR')


def read(run_dir: str) -> EncoderConfig:
  """Reads the main model's configuration from model.json.

  Raises:
    UserError: it is missing or damaged.
  """
  return _read(run_dir, lambda content: EncoderConfig(**content['encoder']))


def check_vocabulary(run_dir: str) -> None:
  """Compares the run's vocabulary with the digest of it in model.json.

  Runs before bertjax 0.2 have none, and are accepted; so is a model.json that
  is missing or damaged, which a run that goes on writes anew.

  Raises:
    UserError: they differ.
  """
  path = os.path.join(run_dir, layout.VOCABULARY)
  then = None
  with contextlib.suppress(ValueError, AttributeError):
    then = (read_if_there(run_dir, layout.MODEL) or {}).get('vocabulary')
  if then is not None and then != vocabulary_file.digest(path):
    raise UserError(
      f'{path}, or whether it is cased, is not as it was when training began, '
      'and its tokens would have the vectors of others; put that vocabulary '
      'and its tokenizer_config.json back, or set another RUN_DIR'
    )


def read_main(run_dir: str) -> str:
  """Reads under which name the main model's parameters are nested; '': none.

  Raises:
    UserError: see `read`.
  """
  return _read(run_dir, lambda content: content.get('main', ''))


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

  def take(content: dict[str, Any]) -> ObjectiveFacts:
    facts = content.get('objective') or unsaid()
    return ObjectiveFacts(*(facts[name] for name in ObjectiveFacts._fields))

  has_file = (epath.Path(run_dir) / layout.MODEL).exists()
  return _read(run_dir, take) if has_file else take({})


def _read(run_dir: str, take: Callable[[dict[str, Any]], Any]) -> Any:
  path = epath.Path(run_dir) / layout.MODEL
  try:
    return take(json.loads(path.read_text()))
  except UserError:
    raise
  except OSError as error:
    raise UserError(
      f'expected the folder of a run, with {layout.MODEL}, or a Hugging Face '
      f'directory, with config.json; {run_dir} has neither'
    ) from error
  except (AttributeError, ValueError, KeyError, TypeError) as error:
    raise UserError(
      f'{path} is damaged ({error}); start the run again to write it anew'
    ) from error


def write_task(run_dir: str, task: Mapping[str, Any]) -> None:
  """Writes task.json: the `kind` of the head, its `labels`, and more."""
  path = os.path.join(run_dir, layout.TASK)
  output_files.write_json(path, task, 'RUN_DIR')


def read_task(run_dir: str) -> dict[str, Any] | None:
  """Reads task.json; None if there is none."""
  return read_if_there(run_dir, layout.TASK)


def read_results(run_dir: str) -> list[dict[str, Any]] | None:
  """Reads the tasks of results.json; None if it is no fine-tuning."""
  content = read_if_there(run_dir, layout.RESULTS)
  return None if content is None else content['tasks']


def read_if_there(run_dir: str, name: str) -> dict[str, Any] | None:
  """Reads a JSON file of a run; None if there is none."""
  path = epath.Path(run_dir) / name
  return json.loads(path.read_text()) if path.exists() else None
