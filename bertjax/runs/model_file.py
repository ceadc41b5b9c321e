"""The models and the objective of a run, as JSON beside its checkpoints.

    model_file.write('runs/books', config, objective.facts())
    config = model_file.read('runs/books')

config.gin holds the same and more, but reading it takes gin and the modules
that it names.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from etils import epath

from bertjax.errors import UserError
from bertjax.models.config import EncoderConfig, computation
from bertjax.runs import layout

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
  config: EncoderConfig,
  objective: ObjectiveFacts | None = None,
  models: Mapping[str, EncoderConfig] | None = None,
  main: str = '',
) -> None:
  """Writes model.json.

  Args:
    run_dir: made if missing.
    config: of the main model.
    objective: what the run is trained for; None: not known.
    models: the configuration of each, if there are several; the run's
      parameters are nested under their names.
    main: the main one among `models`.
  """
  content: dict[str, Any] = {'encoder': dataclasses.asdict(config)}
  if models:
    content['main'] = main
    content['models'] = {
      name: dataclasses.asdict(each) for name, each in models.items()
    }
  if objective:
    content['objective'] = objective._asdict()
  path = epath.Path(run_dir) / layout.MODEL
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(content, indent=2) + '\n')


def read(run_dir: str) -> EncoderConfig:
  """Reads the main model's configuration from model.json.

  Raises:
    UserError: it is missing or damaged.
  """
  return _read(run_dir, lambda content: EncoderConfig(**content['encoder']))


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
  return {
    field.name: field.default
    for field in dataclasses.fields(EncoderConfig)
    if field.default is not dataclasses.MISSING
  }


def read_objective(run_dir: str) -> ObjectiveFacts:
  """Reads what a run is trained for.

  Of a run that does not say so, as those before bertjax 0.2, it is the loss of
  its task, or masked language modelling.

  Raises:
    UserError: model.json is damaged.
  """
  facts = None
  if (epath.Path(run_dir) / layout.MODEL).exists():
    facts = _read(run_dir, lambda content: content.get('objective'))
  if facts is None:
    earlier = json.loads(_EARLIER.read_text(encoding='utf-8'))
    facts = earlier['pretraining']
    if task := read_task(run_dir):
      facts = earlier['task'] | {'name': f'TaskObjective of {task["kind"]}'}
  try:
    return ObjectiveFacts(*(facts[name] for name in ObjectiveFacts._fields))
  except (KeyError, TypeError) as error:
    raise _damaged(run_dir, error) from error


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
    raise _damaged(run_dir, error) from error


def _damaged(run_dir: str, error: Exception) -> UserError:
  return UserError(
    f'{epath.Path(run_dir) / layout.MODEL} is damaged ({error}); start the run '
    'again to write it anew'
  )


def write_task(run_dir: str, task: Mapping[str, Any]) -> None:
  """Writes task.json: the `kind` of the head, its `labels`, and more."""
  path = epath.Path(run_dir) / layout.TASK
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(task, indent=2, ensure_ascii=False) + '\n')


def read_task(run_dir: str) -> dict[str, Any] | None:
  """Reads task.json; None if there is none."""
  path = epath.Path(run_dir) / layout.TASK
  return json.loads(path.read_text()) if path.exists() else None
