"""Fine-tuning: every task, every seed, and one table of what came out.

    finetune.run(data_sets=data_sets.glue('glue', 'SST-2'), run_dir='runs/sst2',
                 init_from='runs/books', seeds=(0, 1, 2), ...)

A run is `training.loop` with a task's head and loss, in RUN_DIR/TASK/seed_N. It
goes on where it was stopped; one that is done is not run again. Source: ours;
several seeds and their spread, Dodge et al. 2020.
"""

import dataclasses
import functools
import math
import os
import time
from collections.abc import Callable, Sequence

import jax
import numpy as np
import optax
from jax.sharding import Mesh

from bertjax import batch, partitioning, vocabulary_file
from bertjax.errors import UserError
from bertjax.finetuning import encoders, results, scoring, specs
from bertjax.finetuning.batches import Batches, Rows
from bertjax.finetuning.data_sets import DataSet
from bertjax.inference.tokenize import Tokenizer
from bertjax.interop import names, source
from bertjax.models.bert import BertForTask
from bertjax.models.config import EncoderConfig
from bertjax.training import layerwise, loop, model_file, objectives
from bertjax.training.selection import Best


@dataclasses.dataclass(frozen=True)
class Settings:
  """How tasks are trained; None: as the task has it.

  Attributes:
    epochs: how often each training example is seen; need not be whole.
    batch_size: examples of an update, global.
    length: the most tokens of an example.
    stride: tokens from one window of a context to the next.
    learning_rate: the peak.
    dropout: rate in the encoder.
    head_dropout: rate before the head; None: that of the encoder.
    layer_decay: see `layerwise.scale`.
    frozen_layers: see `layerwise.scale`.
    fresh_layers: topmost layers that are initialised anew, see `layerwise`.
    class_weights: of each class in the loss, in the order of their names;
      'balanced': by the inverse of its frequency in training; None: 1.
    pack: whether short examples share a row.
    select: 'best', the parameters of the best evaluation, or 'last'.
    patience: stop after so many evaluations without a better one; None: never.
    evaluations: how many there are an epoch.
    log_steps: see `loop.train`.
  """

  epochs: float | None = None
  batch_size: int | None = None
  length: int | None = None
  stride: int = 128
  learning_rate: float | None = None
  dropout: float = 0.1
  head_dropout: float | None = None
  layer_decay: float = 1.0
  frozen_layers: int | None = None
  fresh_layers: int = 0
  class_weights: str | Sequence[float] | None = None
  pack: bool = False
  select: str = 'best'
  patience: int | None = None
  evaluations: int = 1
  log_steps: int = 100

  def __post_init__(self):
    if self.select not in ('best', 'last'):
      raise UserError(
          f"expected 'best' or 'last', got {self.select!r}; set SELECT")
    for name in ('epochs', 'batch_size', 'length', 'learning_rate', 'stride',
                 'evaluations', 'log_steps'):
      value = getattr(self, name)
      if value is not None and not value > 0:
        raise UserError(f'expected a number above 0, got {value}; set '
                        f'{name.upper()}')


@dataclasses.dataclass(frozen=True)
class Start:
  """What a task starts from: parameters to load, or none, and a vocabulary."""

  config: EncoderConfig
  tokenizer: Tokenizer
  params: names.Params | None
  task: dict | None


def run(
    *,
    data_sets: Sequence[DataSet],
    run_dir: str,
    settings: Settings,
    optimizer: Callable[..., optax.GradientTransformation],
    schedule: Callable[..., optax.Schedule],
    mesh: Mesh,
    config: Callable[..., EncoderConfig] | None = None,
    init_from: str | None = None,
    vocab_file: str | None = None,
    seeds: int | Sequence[int] = (0,),
    from_mnli: bool = True,
    dry_run: bool = False,
) -> None:
  """Fine-tunes and scores a model for each task and seed.

  Args:
    data_sets: see `data_sets`.
    run_dir: holds everything that is left: results.json, results.md, and the
      folder of each run.
    settings: of all tasks.
    optimizer: makes it, given `learning_rate`.
    schedule: makes the learning rate, given `peak` and `total_steps`.
    mesh: see `partitioning.make_mesh`.
    config: makes the architecture, given `vocabulary_size`, where init_from is
      None.
    init_from: a run or a Hugging Face directory to start from.
    vocab_file: the vocabulary where init_from is None.
    seeds: one for each run of a task: of its order, its head and its dropout.
    from_mnli: whether tasks that may do so start from the model of MNLI, where
      that is trained here, too, from init_from.
    dry_run: check everything, and print what would be run.

  Raises:
    UserError: files, a model, or settings that cannot work.
  """
  seeds = [seeds] if isinstance(seeds, int) else list(seeds)
  if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
    raise UserError(f'expected distinct seeds of 0 or more, got {seeds}; set '
                    'SEEDS')
  start = _start(init_from, vocab_file, config)
  table = results.Table(run_dir)
  data_sets = sorted(data_sets, key=_place)
  for data in data_sets:
    first = data.task.start_from
    mnli = table.best_run(first) if from_mnli and init_from else None
    begin = _start(mnli, None, None) if mnli else start
    if mnli:
      print(f'{data.task.name} starts from the model of {first}: {mnli}')
    runs = [os.path.join(run_dir, data.task.name, f'seed_{s}') for s in seeds]
    missing = [pair for pair in zip(seeds, runs, strict=True)
               if dry_run or not results.is_done(pair[1])]
    if missing:
      work = _Work(data, begin, settings, optimizer, schedule, mesh)
      if not dry_run:
        table.write()  # marks run_dir as one with runs of this configuration
      for seed, folder in missing[:1] if dry_run else missing:
        work.train(seed, folder, dry_run)
    if not dry_run:
      table.add(data.task, runs)
  if not dry_run:
    print('\n' + table.markdown(), flush=True)


def _place(data: DataSet) -> int:
  """The order of GLUE's tasks, in which MNLI is the first."""
  order = list(specs.GLUE)
  name = data.task.name
  return order.index(name) if name in order else len(order)


class _Work:
  """What the seeds of a task share: rows, model, optimizer."""

  def __init__(self, data, start, settings, optimizer, schedule, mesh):
    task, self._data = data.task, data
    self._start, self._settings, self._mesh = start, settings, mesh
    self._size = settings.batch_size or task.batch_size
    self._length = settings.length or task.length
    if self._length > start.config.positions:
      raise UserError(f'LENGTH {self._length} exceeds the '
                      f'{start.config.positions} positions of the model; set '
                      'LENGTH')
    encoder = encoders.make(
        task, start.tokenizer, self._length, settings.stride)
    multiple = mesh.shape['data'] * mesh.shape['fsdp']
    partitioning.check_batch_size(self._size, mesh, 1)
    self._rows = Rows.of(encoder.rows(data.train()), task.kind)
    self._report(encoder)
    # Made here, so that what cannot work is refused before anything is left.
    self._batches = functools.partial(
        Batches, self._rows, self._size, self._length, pack=settings.pack,
        multiple=multiple)
    self._batches(seed=0)
    config = dataclasses.replace(
        start.config, dropout=settings.dropout, attention_dropout=None)
    model = BertForTask(config, task.head, task.outputs, settings.head_dropout)
    self._objective = objectives.Task(
        model, task.kind, class_weights(settings.class_weights, task,
                                        self._rows))
    self._evaluations = {
        name: scoring.TaskEvaluation(model, encoder, list(read()), data.train,
                                     self._size)
        for name, read in data.evaluations.items()
    }
    for evaluation in self._evaluations.values():
      evaluation.check()
    self._epoch = math.ceil(len(self._rows) / self._size)
    self._steps = max(1, math.ceil(
        len(self._rows) * (settings.epochs or task.epochs) / self._size))
    self._learning_rate = schedule(
        peak=settings.learning_rate or task.learning_rate,
        total_steps=self._steps)
    self._optimizer = layerwise.scale(
        optimizer(learning_rate=self._learning_rate), config.layers,
        settings.layer_decay, settings.frozen_layers)

  def train(self, seed: int, folder: str, dry_run: bool) -> None:
    """Trains one run and writes its result.json."""
    task, settings = self._data.task, self._settings
    print(f'\n{task.name}, seed {seed}: {len(self._rows):,} training rows, '
          f'{self._steps:,} steps', flush=True)
    metric = f'eval/{task.metrics[0]}'
    select = metric if settings.select == 'best' else None
    began = time.monotonic()
    if not dry_run:
      tokenizer = self._start.tokenizer
      os.makedirs(folder, exist_ok=True)
      vocabulary_file.write(tokenizer.tokens, os.path.join(folder, 'vocab.txt'),
                            tokenizer.cased)
      model_file.write_task(folder, {
          'task': task.name, 'kind': task.kind, 'labels': task.labels,
          'metrics': task.metrics, 'length': self._length,
          'stride': settings.stride, 'columns': dict(self._data.columns)})
    every = max(1, self._epoch // settings.evaluations)
    loop.train(
        objective=self._objective,
        optimizer=self._optimizer,
        learning_rate=self._learning_rate,
        batches=functools.partial(self._batches, seed=seed),
        evaluations=self._evaluations,
        mesh=self._mesh,
        run_dir=folder,
        steps=self._steps,
        shapes=batch.task_shapes(self._size, self._length),
        seed=seed,
        initial=self._parameters,
        log_steps=settings.log_steps,
        eval_steps=every,
        checkpoint_steps=every,
        keep=1,
        keep_first=False,
        select=select,
        patience=settings.patience,
        dry_run=dry_run,
    )
    if not dry_run:
      best = Best(metric)
      best.resume(folder)
      values = results.write(folder, task, seed, best.step if select else None,
                             time.monotonic() - began)
      if 'eval/threshold' in values:  # above which predictions are ''
        model_file.write_task(folder, model_file.read_task(folder) | {
            'threshold': values['eval/threshold']})

  def _parameters(self) -> names.Params | None:
    """What is loaded: of another task's head only that for the same labels."""
    start, task = self._start, self._data.task
    if start.params is None:
      return None
    loaded = layerwise.without_top(
        start.params, start.config.layers, self._settings.fresh_layers)
    same = start.task and (start.task['kind'], tuple(start.task['labels'])) == (
        task.kind, tuple(task.labels))
    heads = ('classifier', 'tag_head', 'span_head')
    return {k: v for k, v in loaded.items() if same or k not in heads}

  def _report(self, encoder) -> None:
    if getattr(encoder, 'cut', 0):
      print(f'{encoder.cut:,} of {len(self._rows):,} training examples are '
            f'longer than LENGTH {self._length} and cut')


def class_weights(
    wanted: str | Sequence[float] | None, task, rows: Rows
) -> tuple[float, ...] | None:
  """Returns the weight of each class; see `Settings.class_weights`.

  'balanced' is n / (C * n_c), as scikit-learn has it.
  """
  if wanted is None:
    return None
  if task.kind not in ('classes', 'tags'):
    raise UserError(f'a task of {task.kind} takes no CLASS_WEIGHTS; set them '
                    'to None')
  if wanted == 'balanced':
    labels = np.asarray(rows.labels)
    counts = np.bincount(labels[labels >= 0], minlength=task.outputs)
    return tuple(
        float(counts.sum() / (len(counts) * max(1, n))) for n in counts)
  if not isinstance(wanted, list | tuple) or (
      len(wanted) != task.outputs or min(wanted) < 0):
    raise UserError(f"expected 'balanced' or a weight for each of "
                    f'{", ".join(task.labels)}, got {wanted}; set '
                    'CLASS_WEIGHTS')
  return tuple(map(float, wanted))


def _start(init_from, vocab_file, config) -> Start:
  if init_from is not None:
    found = source.read(init_from)
    params = jax.tree.map(np.asarray, found.params)
    tokenizer = Tokenizer.load(found.path)
    if len(tokenizer.tokens) > found.config.vocabulary_size:
      raise UserError(
          f'{found.path} has a vocabulary of {len(tokenizer.tokens)} entries '
          f'and a token table of {found.config.vocabulary_size} rows; put the '
          'vocab.txt there that it was trained with')
    return Start(found.config, tokenizer, params, found.task)
  if vocab_file is None or config is None:
    raise UserError('a model to start from is expected in INIT_FROM, or, to '
                    'start from nothing, a vocab.txt in VOCAB_FILE')
  tokens = vocabulary_file.read(vocab_file)
  cased, _ = vocabulary_file.detect_cased(vocab_file, tokens)
  return Start(config(vocabulary_size=len(tokens)), Tokenizer(tokens, cased),
               None, None)
