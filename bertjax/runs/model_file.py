"""The architecture of a run, as JSON beside its checkpoints.

    model_file.write('runs/books', config)
    config = model_file.read('runs/books')

config.gin holds the same and more, but reading it takes gin and the modules
that it names.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from etils import epath

from bertjax.errors import UserError
from bertjax.models.config import EncoderConfig
from bertjax.runs import layout


def write(run_dir: str, config: EncoderConfig) -> None:
  """Writes model.json."""
  content = {'encoder': dataclasses.asdict(config)}
  path = epath.Path(run_dir) / layout.MODEL
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(content, indent=2) + '\n')


def read(run_dir: str) -> EncoderConfig:
  """Reads model.json.

  Raises:
    UserError: it is missing or damaged.
  """
  path = epath.Path(run_dir) / layout.MODEL
  try:
    return EncoderConfig(**json.loads(path.read_text())['encoder'])
  except UserError:
    raise
  except OSError as error:
    raise UserError(
      f'expected the folder of a run, with {layout.MODEL}, or a Hugging Face '
      f'directory, with config.json; {run_dir} has neither'
    ) from error
  except (ValueError, KeyError, TypeError) as error:
    raise UserError(
      f'{path} is damaged ({error}); start the run again to write it anew'
    ) from error


def write_task(run_dir: str, task: Mapping[str, Any]) -> None:
  """Writes task.json: the `kind` of the head, its `labels`, and more."""
  path = epath.Path(run_dir) / layout.TASK
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(task, indent=2, ensure_ascii=False) + '\n')


def read_task(run_dir: str) -> dict[str, Any] | None:
  """Reads task.json; None if there is none."""
  path = epath.Path(run_dir) / layout.TASK
  return json.loads(path.read_text()) if path.exists() else None
