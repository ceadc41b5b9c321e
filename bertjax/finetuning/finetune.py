"""Fine-tunes on every task with every seed, and tabulates the results.

    finetune.fine_tune(
        data_sets=data_sets.glue('glue', 'SST-2'), run_dir='runs/sst2',
        init_from='runs/books', seeds=(0, 1, 2), epochs=3, ...)

A run is `training.loop` with a task's head and loss, in RUN_DIR/TASK/seed_N. An
interrupted run goes on where it stopped; a finished one is not repeated.
Source: several seeds and their spread, Dodge et al. 2020.
"""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import numpy as np
import optax
from jax.sharding import Mesh

from bertjax import batch
from bertjax.errors import UserError, expect
from bertjax.finetuning import initial_model, results, scoring
from bertjax.finetuning.initial_model import InitialModel
from bertjax.models.bert import BertForTask
from bertjax.models.config import EncoderConfig
from bertjax.parallel import partitioning, processes
from bertjax.runs import model_file
from bertjax.runs.progress_line import wait
from bertjax.tasks import kinds, specs
from bertjax.tasks.data_sets import DataSet
from bertjax.tasks.kept_examples import keep
from bertjax.tasks.labelled_batches import LabelledBatches, Rows
from bertjax.text import vocabulary_file
from bertjax.training import layerwise, loop
from bertjax.training.task_objective import TaskObjective
from bertjax.values import Path, Place, Seed, checked


@checked
def fine_tune(
  *,
  data_sets: Sequence[DataSet],
  run_dir: Path,
  optimizer: Callable[..., optax.GradientTransformation],
  schedule: Callable[..., optax.Schedule],
  mesh: Mesh,
  config: Callable[..., EncoderConfig] | None = None,
  init_from: Path | None = None,
  vocab_file: Place | None = None,
  seeds: Seed | Sequence[Seed] = (0,),
  from_mnli: bool = True,
  dry_run: bool = False,
  **values: Annotated[Any, specs.Task, None],
) -> None:
  """Fine-tunes and scores a model for each task and seed.

  Args:
    data_sets: see `data_sets`.
    run_dir: gets results.json, results.md and the folder of each run.
    optimizer: makes the optimizer, given `learning_rate`.
    schedule: makes the learning rate, given `peak` and `total_steps`.
    mesh: see `partitioning.make_mesh`.
    config: makes the architecture, given `vocabulary_size`, if init_from is
      None.
    init_from: a run or a Hugging Face directory to start from.
    vocab_file: the vocabulary if init_from is None.
    seeds: one per run of a task; sets the order of examples, the head's initial
      weights and dropout.
    from_mnli: whether tasks with `start_from` start from the MNLI model, if
      init_from is set and this run_dir has one.
    dry_run: check everything, print what would run, and write nothing.
    values: of all tasks, such as `epochs`; see `specs.with_values`.

  Raises:
    UserError: files, a model, or values that cannot work.
  """
  seeds = [seeds] if isinstance(seeds, int) else list(seeds)
  distinct = seeds and len(set(seeds)) == len(seeds)
  expect(distinct, 'distinct seeds', seeds, 'SEEDS')
  first = initial_model.read(init_from, vocab_file, config)
  given = [data.task.name for data in data_sets]
  several = given and len(set(given)) == len(given)
  expect(several, 'data sets of different names', given, 'fine_tune.data_sets')
  if values.get('stride') is not None:
    of = [data.task.kind for data in data_sets]
    windows = any(kinds.find(kind).windows for kind in of)
    expect(windows, 'tasks with windows for STRIDE', of, 'STRIDE to None')
  table = results.Table(run_dir)
  for data in sorted(data_sets, key=lambda data: specs.place(data.task)):
    task, start = specs.with_values(data.task, values), first
    mnli = table.best_run(task.start_from) if from_mnli and init_from else None
    origin = task.start_from if mnli else None
    if mnli:
      print(f'{task.name} starts from the model of {origin}: {mnli}')
      start = initial_model.read(mnli)
    missing = table.missing(task, origin, seeds)
    if missing or dry_run:
      data = dataclasses.replace(data, task=task)
      with wait(f'{task.name}: reading the examples'):
        arguments = prepare(data, start, optimizer, schedule, mesh)
    if dry_run:
      loop.train(**arguments, run_dir=table.folder(task), dry_run=True)
      continue
    for seed in missing:
      print(
        f'\n{task.name}, seed {seed}: {arguments["steps"]:,} steps', flush=True
      )
      folder = table.folder(task, seed)
      began = time.monotonic()
      if processes.is_first():
        table.write()  # marks run_dir as used with this configuration
        _write_task(folder, task)
        vocabulary_file.save(folder, *start.tokenizer.parts)
      batches = functools.partial(arguments['batches'], seed=seed)
      changes = {'batches': batches, 'seed': seed, 'run_dir': folder}
      introduced = seed != missing[0]
      trained = loop.train(**arguments | changes, introduced=introduced)
      if trained and processes.is_first():
        seconds = round(time.monotonic() - began, 1)
        about = {'seed': seed, 'start_from': origin, 'seconds': seconds}
        _write_result(folder, task, trained, about)
    table.add(task)
  if not dry_run:
    print('\n' + table.markdown(), flush=True)


def prepare(
  data: DataSet,
  start: InitialModel,
  optimizer: Callable[..., optax.GradientTransformation],
  schedule: Callable[..., optax.Schedule],
  mesh: Mesh,
) -> dict[str, Any]:
  """Returns the arguments of `loop.train` that a task's seeds share.

  Reads all examples and refuses whatever cannot work before a file is written.
  `batches` still lacks its seed.
  """
  task = data.task
  kinds.check_task(task)
  kind, size = kinds.find(task.kind), task.batch_size
  if kind.loss is None or kind.trivial is None:
    raise UserError(f'{task.name}: models of {task.kind} are not fine-tuned')
  if task.pack and not kind.packs:
    raise UserError(
      f'rows of a task of {task.kind} are not packed; set PACK to False'
    )
  partitioning.check_batch_size(size, mesh, 1)
  config = dataclasses.replace(
    start.config,
    dropout=task.dropout,
    attention_dropout=start.config.kept_attention_dropout,
  )
  model = BertForTask(
    config, kinds.head_of(task), kind.outputs(task), task.head_dropout
  )
  objective = TaskObjective(
    model, kind.loss, kind.label, metrics=task.metrics, kind=task.kind
  )
  objective.check_models(task.length, trained=start.parameters is not None)
  train = keep(data.train())
  labelled = kinds.labelled_rows(task, start.tokenizer, train)
  rows = Rows.of(labelled, kind.label)
  if rows.cut:
    print(
      f'{rows.cut:,} of {len(rows):,} training examples are longer than '
      f'LENGTH {task.length} and cut'
    )
  trivial = kind.trivial(task, train)
  evaluations = {
    name: scoring.TaskEvaluation(
      model, task, start.tokenizer, keep(read()), trivial
    )
    for name, read in data.evaluations.items()
  }
  steps = math.ceil(len(rows) * task.epochs / size)
  most = 10**9
  expect(steps <= most, f'at most {most:,} steps', task.epochs, 'EPOCHS')
  every = max(1, math.ceil(len(rows) / size) // task.evaluations)
  learning_rate = schedule(peak=task.learning_rate, total_steps=steps)
  updates = optimizer(learning_rate=learning_rate)
  return {
    'objective': dataclasses.replace(
      objective, class_weights=class_weights(task, kind, rows)
    ),
    'optimizer': layerwise.scale(
      updates, config.layers, task.layer_decay, task.frozen_layers
    ),
    'learning_rate': learning_rate,
    'batches': functools.partial(
      LabelledBatches, rows, size, task.length, pack=task.pack, mesh=mesh
    ),
    'evaluations': evaluations,
    'mesh': mesh,
    'steps': steps,
    'shapes': batch.shapes(size, task.length, 0, keys=batch.TASK),
    'initial': functools.partial(start.parameters_for, task),
    'log_steps': task.log_steps,
    'eval_steps': every,
    'checkpoint_steps': every,
    'keep': 1,
    'keep_first': False,
    'select': f'eval/{task.metrics[0]}' if task.select == 'best' else None,
    'patience': task.patience,
  }


def class_weights(
  task: specs.Task, kind: kinds.Kind, rows: Rows
) -> tuple[float, ...] | None:
  """Returns the weight of each class; see `specs.Task.class_weights`.

  'balanced' is n / (C * n_c), as in scikit-learn.
  """
  wanted = task.class_weights
  if wanted is None:
    return None
  if not kind.weighs:
    raise UserError(
      f'a task of {task.kind} takes no CLASS_WEIGHTS; set them to None'
    )
  if wanted == 'balanced':
    labels = np.asarray(rows.labels)
    counts = np.bincount(labels[labels >= 0], minlength=len(task.labels))
    weights = counts.sum() / (len(counts) * np.maximum(1, counts))
    return tuple(weights.tolist())
  what = f"'balanced' or a weight for each of {', '.join(task.labels)}"
  valid = len(wanted) == len(task.labels) and any(wanted)
  expect(valid, f'{what}, not all 0', wanted, 'CLASS_WEIGHTS')
  return tuple(map(float, wanted))


def _write_task(folder: str, task: specs.Task, **more: float) -> None:
  """Writes task.json, which prediction needs."""
  fields = ('kind', 'labels', 'metrics', 'length', 'stride', 'columns')
  written = {name: getattr(task, name) for name in fields}
  named = {'task': task.name, 'head': kinds.head_of(task)}
  model_file.write_task(folder, named | written | more)


def _write_result(
  folder: str, task: specs.Task, trained: loop.Trained, about: dict[str, Any]
) -> None:
  values = trained.best_values or trained.values
  found = {'task': task.name, 'step': trained.best_step, 'values': values}
  results.write(folder, found | about)
  if 'eval/threshold' in values:  # above it, there is no answer
    _write_task(folder, task, threshold=values['eval/threshold'])
