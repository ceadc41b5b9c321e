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
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import optax
from jax.sharding import Mesh

from bertjax import batch
from bertjax.errors import UserError
from bertjax.finetuning import initial_model, results, scoring
from bertjax.finetuning.initial_model import InitialModel
from bertjax.models.bert import BertForTask
from bertjax.models.config import EncoderConfig
from bertjax.parallel import partitioning, processes
from bertjax.runs import layout, model_file
from bertjax.tasks import kinds, specs
from bertjax.tasks.data_sets import DataSet
from bertjax.tasks.kept_examples import keep
from bertjax.tasks.labelled_batches import Label, LabelledBatches, Rows
from bertjax.text import vocabulary_file
from bertjax.text.batching import Row
from bertjax.training import layerwise, loop, objectives


def fine_tune(
  *,
  data_sets: Sequence[DataSet],
  run_dir: str,
  optimizer: Callable[..., optax.GradientTransformation],
  schedule: Callable[..., optax.Schedule],
  mesh: Mesh,
  config: Callable[..., EncoderConfig] | None = None,
  init_from: str | None = None,
  vocab_file: str | None = None,
  seeds: int | Sequence[int] = (0,),
  from_mnli: bool = True,
  dry_run: bool = False,
  **values: Any,
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
  if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
    raise UserError(
      f'expected distinct seeds of 0 or more, got {seeds}; set SEEDS'
    )
  first = initial_model.read(init_from, vocab_file, config)
  # One process reads, here and below: files reach other machines late.
  rows = processes.from_first(lambda: results.read(run_dir))
  table = results.Table(run_dir, rows)
  for data in sorted(data_sets, key=lambda data: specs.place(data.task)):
    task, start = specs.with_values(data.task, values), first
    mnli = table.best_run(task.start_from) if from_mnli and init_from else None
    origin = task.start_from if mnli else None
    if mnli:
      print(f'{task.name} starts from the model of {origin}: {mnli}')
      start = initial_model.read(mnli)
    missing = processes.from_first(lambda: table.missing(task, origin, seeds))  # noqa: B023
    if missing or dry_run:
      data = dataclasses.replace(data, task=task)
      arguments = prepare(data, start, optimizer, schedule, mesh)
    if dry_run:
      loop.train(**arguments, run_dir=table.folder(task), dry_run=True)
      continue
    for seed in missing:
      folder = table.folder(task, seed)
      print(
        f'\n{task.name}, seed {seed}: {arguments["steps"]:,} steps', flush=True
      )
      began = time.monotonic()
      if processes.is_first():
        table.write()  # marks run_dir as used with this configuration
        _write_model(folder, task, start)
      trained = train(arguments, seed, folder)
      if processes.is_first():
        _write_result(folder, task, seed, origin, began, trained)
    if processes.is_first():
      table.add(task)
    rows = processes.from_first(lambda: table.rows)  # noqa: B023
    table = results.Table(run_dir, rows)
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
  kind, size = kinds.find(task.kind), task.batch_size
  if kind.loss is None or kind.trivial is None:
    raise UserError(f'{task.name}: models of {task.kind} are not fine-tuned')
  if task.length > start.config.positions:
    raise UserError(
      f'LENGTH {task.length} exceeds the {start.config.positions} positions of '
      'the model; set LENGTH'
    )
  if task.pack and not kind.packs:
    raise UserError(
      f'rows of a task of {task.kind} are not packed; set PACK to False'
    )
  partitioning.check_batch_size(size, mesh, 1)
  train = keep(data.train())
  rows, cut = _rows(task, kind, start, train)
  if cut:
    print(
      f'{cut:,} of {len(rows):,} training examples are longer than '
      f'LENGTH {task.length} and cut'
    )
  config = dataclasses.replace(
    start.config, dropout=task.dropout, attention_dropout=None
  )
  model = BertForTask(
    config, kinds.head_of(task), kind.outputs(task), task.head_dropout
  )
  trivial = kind.trivial(task, train)
  evaluations = {
    name: scoring.TaskEvaluation(
      model, task, start.tokenizer, keep(read()), trivial
    )
    for name, read in data.evaluations.items()
  }
  for evaluation in evaluations.values():
    evaluation.check()
  steps = math.ceil(len(rows) * task.epochs / size)
  every = max(1, math.ceil(len(rows) / size) // task.evaluations)
  learning_rate = schedule(peak=task.learning_rate, total_steps=steps)
  return {
    'objective': objectives.TaskObjective(
      model,
      kind.loss,
      kind.label,
      class_weights(task, kind, rows),
      task.metrics,
      task.kind,
    ),
    'optimizer': layerwise.scale(
      optimizer(learning_rate=learning_rate),
      config.layers,
      task.layer_decay,
      task.frozen_layers,
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
    'select': _metric(task) if task.select == 'best' else None,
    'patience': task.patience,
  }


def _rows(
  task: specs.Task, kind: kinds.Kind, start: InitialModel, train: Iterable[Any]
) -> tuple[Rows, int]:
  """Returns the training rows, and how many of them were cut."""
  count = 0

  def labelled() -> Iterator[tuple[Row, Label]]:
    nonlocal count
    for row, label in kinds.labelled_rows(task, start.tokenizer, train):
      count += row.source.cut
      yield row, label

  return Rows.of(labelled(), kind.label), count


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
    return tuple(
      float(counts.sum() / (len(counts) * max(1, n))) for n in counts
    )
  if not isinstance(wanted, list | tuple) or (
    len(wanted) != len(task.labels) or min(wanted) < 0
  ):
    raise UserError(
      f"expected 'balanced' or a weight for each of {', '.join(task.labels)}, "
      f'got {wanted}; set CLASS_WEIGHTS'
    )
  return tuple(map(float, wanted))


def train(
  arguments: dict[str, Any], seed: int, folder: str
) -> loop.Trained | None:
  """Trains one seed in `folder`, with the arguments that `prepare` returned."""
  batches = functools.partial(arguments['batches'], seed=seed)
  return loop.train(
    **arguments | {'batches': batches},
    seed=seed,
    run_dir=folder,
    keep=1,
    keep_first=False,
  )


def _metric(task: specs.Task) -> str:
  return f'eval/{task.metrics[0]}'


def _write_model(folder: str, task: specs.Task, start: InitialModel) -> None:
  """Writes the vocabulary and task.json, which prediction needs."""
  tokenizer = start.tokenizer
  os.makedirs(folder, exist_ok=True)
  vocabulary_file.write(
    tokenizer.tokens, os.path.join(folder, layout.VOCABULARY), tokenizer.cased
  )
  model_file.write_task(
    folder,
    {
      'task': task.name,
      'kind': task.kind,
      'head': kinds.head_of(task),
      'labels': task.labels,
      'metrics': task.metrics,
      'length': task.length,
      'stride': task.stride,
      'columns': dict(task.columns),
    },
  )


def _write_result(
  folder: str,
  task: specs.Task,
  seed: int,
  origin: str | None,
  began: float,
  trained: loop.Trained | None,
) -> None:
  assert trained is not None  # it was no dry run
  values = trained.best_values or trained.values
  seconds = time.monotonic() - began
  results.write(folder, task, seed, trained.best_step, origin, seconds, values)
  if 'eval/threshold' in values:  # above it, there is no answer
    written = model_file.read_task(folder)
    assert written is not None  # by `_write_model`
    model_file.write_task(
      folder, written | {'threshold': values['eval/threshold']}
    )
