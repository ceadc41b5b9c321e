"""The name of every file and folder in the folder of a run.

    >>> seed_folder('runs/glue/RTE', 0)
    'runs/glue/RTE/seed_0'

Each run of a fine-tuning lies in TASK/seed_N below RUN_DIR; RUN_DIR itself
holds the table of all runs and their one configuration.
"""

import os

from bertjax.text import vocabulary_file

CONFIGURATION = 'config.gin'
LOCK = '.lock'
HELD = '.lock.held'  # where the file system has no locks
VOCABULARY = vocabulary_file.NAME
# That of WordPiece, and of byte-level BPE; a run has one.
VOCABULARIES = (VOCABULARY, vocabulary_file.WHOLE)
MODEL = 'model.json'
TASK = 'task.json'
CORPUS = 'corpus'  # prepared text
CHECKPOINTS = 'checkpoints'
BEST = 'best'  # the checkpoint of the best evaluation
METRICS = 'metrics.jsonl'
CURVES = 'curves.png'
EXAMPLES = 'examples.jsonl'
TENSORBOARD = 'tensorboard'
PROFILE = 'profile'
PLAN = 'plan.json'
RESULT = 'result.json'  # of one run of a fine-tuning
# Of all of them: `tasks`, with `task` and `best_run` of each; and as a table.
RESULTS = 'results.json'
RESULTS_TABLE = 'results.md'

# What a person looks for in RUN_DIR, in this order.
_TOLD = (
  RESULTS_TABLE,
  CURVES,
  METRICS,
  CHECKPOINTS,
  BEST,
  MODEL,
  *VOCABULARIES,
  CONFIGURATION,
)


def held_by(run_dir: str) -> list[str]:
  """Returns the names of those files and folders that a run's end names."""
  return [x for x in _TOLD if os.path.exists(os.path.join(run_dir, x))]


def has_checkpoint(run_dir: str) -> bool:
  """Returns whether a run has a checkpoint, from which it goes on."""
  folder = os.path.join(run_dir, CHECKPOINTS)
  return os.path.isdir(folder) and any(map(str.isdigit, os.listdir(folder)))


def is_below(path: str) -> bool:
  """Returns whether a path that a file names stays in the file's folder.

  >>> is_below('CoLA/seed_0'), is_below('a/../../b'), is_below('/etc')
  (True, False, False)
  """
  return not os.path.isabs(path) and '..' not in path.split(os.sep)


def seed_folder(task_folder: str, seed: int | str) -> str:
  """Returns the folder of a task's run; '*' as the seed gives a glob."""
  return os.path.join(task_folder, f'seed_{seed}')
