"""The training loop.

    loop.train(objective=..., optimizer=..., batches=..., run_dir='runs/x', ...)

Each step: next batch, update; then, if due, evaluate, log, keep the best, save.
A step's metrics are in metrics.jsonl before its checkpoint is made, so a run
that continues from the checkpoint lacks nothing and repeats nothing. Source:
big_vision's `train.py`, for the shape.
"""

import contextlib
import dataclasses
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

import jax
import numpy as np
import optax
from jax.sharding import Mesh

from bertjax.batch import Batch
from bertjax.errors import RunStopped, choose, expect
from bertjax.parallel import partitioning, processes
from bertjax.runs import curves, layout, metrics_file, model_file
from bertjax.runs.checkpoints import Checkpoints
from bertjax.runs.progress_line import LONG, wait
from bertjax.training import (
  profiling,
  signals,
  throughput,
  warm_start,
)
from bertjax.training import state as state_lib
from bertjax.training import step as step_lib
from bertjax.training.abstract_objective import Objective, Terms
from bertjax.training.evaluation import Evaluation, HeldOut
from bertjax.training.progress import TrainingProgress
from bertjax.training.selection import Best
from bertjax.training.state import TrainState
from bertjax.training.totals import Totals
from bertjax.values import Count, Path, Seed, checked


@runtime_checkable
class ResumableIterator(Protocol):
  """Gives host batches from a position that can be saved."""

  def __next__(self) -> Batch: ...

  def position(self) -> dict[str, bytes]: ...

  def restore(self, position: dict[str, bytes]) -> None:
    """Continues from a result of `position`."""


class Trained(NamedTuple):
  """What a run measured, by the names in metrics.jsonl.

  Attributes:
    step: the run's last.
    values: of the last evaluation, such as 'eval/accuracy'.
    best_step: of the best evaluation; None without `select`.
    best_values: of the best evaluation; None without `select`.
  """

  step: int
  values: Mapping[str, float]
  best_step: int | None
  best_values: Mapping[str, float] | None


@checked
def train(
  *,
  objective: Objective,
  optimizer: optax.GradientTransformation,
  learning_rate: optax.Schedule,
  batches: Callable[[], Iterable[Batch]],
  evaluations: Mapping[str, Evaluation],
  mesh: Mesh,
  run_dir: Path,
  steps: Count,
  shapes: Mapping[str, jax.ShapeDtypeStruct],
  seed: Seed = 0,
  initial: Callable[[], Mapping[str, Any] | None] | None = None,
  accumulation: Count = 1,
  log_steps: Count = 100,
  eval_steps: Count | None = None,
  evaluates_first: bool = False,
  checkpoint_steps: Count | None = 1000,
  keep: Count = 3,
  keep_every: Count | None = None,
  keep_first: bool = True,
  select: str | None = None,
  patience: Count | None = None,
  profile_steps: Sequence[int] | None = None,
  introduced: bool = False,
  dry_run: bool = False,
) -> Trained | None:
  """Trains from the last checkpoint in `run_dir` (or step 0) to `steps`.

  Args:
    objective: what to minimise.
    optimizer: its updates include the learning rate.
    learning_rate: the optimizer's schedule, for the log.
    batches: makes the iterable of host batches; its iterator is a
      `ResumableIterator`.
    evaluations: by name.
    mesh: see `partitioning.make_mesh`.
    run_dir: the directory for everything that the run writes.
    steps: updates in the whole run.
    shapes: of a global batch, see `bertjax.batch`; no row is longer.
    seed: for parameters and dropout.
    initial: reads parameters to start from, nested by name, instead of fresh
      ones; may return None. Called before the data is made, and not if training
      continues from a checkpoint.
    accumulation: number of parts that a batch is worked through in.
    log_steps: steps between two writes of train/* and speed/*.
    eval_steps: steps between evaluations; None: only at the end.
    evaluates_first: whether to evaluate before the first step, too, which tells
      what `initial` gave.
    checkpoint_steps: steps between checkpoints; None: only at the end.
    keep: how many of the last checkpoints to keep.
    keep_every: keep checkpoints at multiples of this for good.
    keep_first: whether to save the parameters of step 0.
    select: a metric, such as 'eval/accuracy', see `selection`; the parameters
      of its best evaluation are kept in `run_dir`/best. None: none are.
    patience: stop after this many evaluations in a row without improvement.
    profile_steps: first and last step to profile into `run_dir`/profile, see
      `profiling`.
    introduced: whether an earlier run has said what this one would say of its
      model and of `initial`.
    dry_run: print the model's size and the batch's shapes, and return.

  Returns:
    what the whole run measured, also if it was done before; None if `dry_run`.

  Raises:
    UserError: settings that cannot work.
    RunStopped: the loss is not finite, or a signal asked to stop after the
      first step.
  """
  expect(run_dir, 'a directory for what the run writes', run_dir, 'RUN_DIR')
  known = 'tokens' in shapes
  expect(known, 'shapes that have tokens', [*shapes], 'loop.train.shapes')
  batch_size, length = shapes['tokens'].shape
  objective.check_models(length)
  expect(length >= 8, '8 tokens or more', length, 'LENGTH')
  partitioning.check_batch_size(batch_size, mesh, accumulation)
  best = Best(select, patience)
  names = [f'{name}/' for name in evaluations]
  what = f'a metric that begins with {" or ".join(names)}'
  fits = select is None or select.startswith(tuple(names))
  expect(fits, what, select, 'loop.train.select')
  profile = profiling.Profile(
    os.path.join(run_dir, layout.PROFILE), profile_steps, steps
  )
  abstract = state_lib.abstract(objective, optimizer, shapes, mesh)
  abstract_frozen = state_lib.abstract_frozen(objective, shapes, mesh)
  for name, evaluation in evaluations.items():
    if (
      select
      and select.startswith(f'{name}/')
      and isinstance(evaluation, HeldOut)
    ):
      found_later = evaluation.metrics(abstract, abstract_frozen, shapes)
      metrics = {f'{name}/{metric}': None for metric in found_later}
      choose(metrics, select, 'loop.train.select')
  if not introduced:
    print(_describe(abstract, abstract_frozen, mesh), flush=True)
  frozen = abstract_frozen and warm_start.place(
    objective.read_frozen(), abstract_frozen
  )
  if dry_run:
    print(_list_shapes(shapes), flush=True)
    if initial and (loaded := initial()) is not None:
      warm_start.report(objective.of_main(abstract.parameters), loaded)
    return None

  # -- data and state, fresh or restored ---------------------------------------
  started = time.monotonic()
  totals = Totals()  # of train/*, since the last line in metrics.jsonl
  with (
    Checkpoints(
      os.path.join(run_dir, layout.CHECKPOINTS), keep, keep_every
    ) as checkpoints,
    # Two: after a kill here, the resumed run removes the later one.
    Checkpoints(os.path.join(run_dir, layout.BEST), keep=2)
    if select
    else contextlib.nullcontext() as best_checkpoint,
    signals.Stop() as stop,
  ):
    restored = checkpoints.restore(abstract)
    loaded = initial() if initial and restored is None else None
    iterator = cast(ResumableIterator, iter(batches()))
    what = 'batches whose iterator has position() and restore(position)'
    got, resumable = type(iterator).__name__, ResumableIterator
    expect(isinstance(iterator, resumable), what, got, 'loop.train.batches')
    evaluators = {
      name: evaluation.prepare(mesh, abstract, run_dir)
      for name, evaluation in evaluations.items()
    }
    if restored is None:
      step = 0
      with wait('initialising the parameters'):
        state = state_lib.create(objective, optimizer, shapes, mesh, seed)
      if loaded is not None:
        fresh = objective.of_main(state.parameters)
        if not introduced:
          warm_start.report(fresh, loaded)
        replaced = warm_start.replace(fresh, loaded)
        state = dataclasses.replace(
          state, parameters=objective.with_main(state.parameters, replaced)
        )
      if keep_first:
        checkpoints.save(0, state, _position(iterator, totals))
    else:
      state, position, step = restored
      totals.restore(position.pop('totals'))
      iterator.restore(position)
      print(f'continuing from step {step} of {steps}', flush=True)
    if best_checkpoint:
      best_checkpoint.remove_after(step)
    if processes.is_first():
      if restored is not None:
        model_file.check_vocabulary(run_dir)
      model_file.write(
        run_dir, objective.configs, objective.facts(), objective.main
      )
    if step >= steps:
      print(
        f'{run_dir} is at step {step} already; nothing to train. Raise '
        'TRAIN_STEPS to go on.'
      )

    # -- compiled functions ----------------------------------------------------
    placed = step_lib.placement(abstract, abstract_frozen)
    train_step = step_lib.compile_train_step(
      objective, optimizer, mesh, placed, accumulation
    )
    rng = jax.random.key(seed)

    def due(every: int | None) -> bool:
      return every is not None and step % every == 0

    # -- the loop --------------------------------------------------------------
    clock = throughput.Clock(
      objective.flops, throughput.peak(mesh), partitioning.process_share(mesh)
    )
    pending: list[tuple[int, Terms]] = []  # steps not yet checked by the host
    found: dict[str, float] = {}  # by the evaluations of this step
    texts: list[str] = []
    summaries: dict[str, str] = {}  # of the last evaluations
    slow = True  # whether evaluating takes seconds; first it is compiled
    began = step

    def first(what: str) -> contextlib.AbstractContextManager[None]:
      return wait(what) if step == began else contextlib.nullcontext()

    def evaluate() -> tuple[dict[str, float], list[str]]:
      """Runs all evaluations; returns their values and sample texts."""
      nonlocal slow
      found: dict[str, float] = {}
      texts: list[str] = []
      if slow and evaluators:
        progress.show(f'step {step}/{steps}   evaluating')
      evaluating = time.monotonic()
      with clock.timed('evaluation'):
        for name, evaluator in evaluators.items():
          one = evaluator(state.parameters, frozen)
          found |= {f'{name}/{key}': x for key, x in one.values.items()}
          texts += one.samples
          if one.summary:
            summaries[name] = one.summary
            progress.note(f'step {step}, {name}: {one.summary}')
      seconds = time.monotonic() - evaluating
      slow = seconds > LONG
      if slow:
        progress.note(f'evaluated in {seconds:.1f} s')
      return found, texts

    with (
      # A run that goes on from step 0 writes what it measures there again.
      metrics_file.Writer(run_dir, step or -1) as writer,
      TrainingProgress(steps, step) as progress,
      contextlib.closing(profile),
    ):
      best.resume(run_dir)
      if evaluates_first and step == 0:
        writer.write(0, *evaluate())
      while step < steps and not best.exhausted:
        with first('preparing the first batch'), clock.timed('data_wait'):
          batch = next(iterator)
        if step == began:
          objective.check_batch(batch)
          if unread := objective.unread(batch):
            progress.note(
              f'warning: the data has {" and ".join(unread)}, which '
              f'{objective.name}.keys does not name, so nothing is learnt of it'
            )
        profile.before(step + 1)
        with first('compiling the step'):
          state, terms = train_step(
            state, partitioning.put_batch(batch, mesh), rng, frozen
          )
        step += 1
        pending.append((step, terms))
        clock.count(batch)
        if len(pending) > 1:  # the host runs at most one step ahead
          jax.block_until_ready(pending[-2][1])
        if told := profile.after(step, terms):
          progress.note(told)
        if step == began + 1:
          jax.block_until_ready(terms)
          stop.listen()
          progress.note(f'first step after {time.monotonic() - started:.1f} s')
          clock.start()

        last = step == steps
        found, texts = {}, []
        if last or due(eval_steps):
          _check_terms(pending, totals, checkpoints)
          found, texts = evaluate()
        is_best = best.add(step, found)
        last = last or best.exhausted
        log = last or due(log_steps)
        stopping = stop.agreed()
        save = last or stopping or due(checkpoint_steps)
        if log or save:
          _check_terms(pending, totals, checkpoints)
        values: dict[str, float] = {}
        if log:
          means = totals.means()
          totals.clear()
          values = {f'train/{key}': value for key, value in means.items()}
          losses = {k: v for k, v in means.items() if k in objective.losses}
          values['train/loss'] = float(np.float32(objective.total(losses)))
          values['train/learning_rate'] = float(learning_rate(step - 1))
          values |= clock.speed()
          progress.update(step, values)
        values |= found
        with clock.timed('checkpoint'):
          if values:
            writer.write(step, values, texts)
          if is_best and best_checkpoint:
            checkpoints.wait()
            best_checkpoint.save(
              step, {'step': state.step, 'parameters': state.parameters}
            )
            best_checkpoint.wait()
          if save:
            checkpoints.save(step, state, _position(iterator, totals))
        if stopping and not last:
          checkpoints.wait()
          raise RunStopped(
            f'stopped by {signal.Signals(stopping).name} at step {step}, '
            'which is saved; the same command goes on from there',
            status=128 + stopping,
          )
    with wait('saving, and drawing the curves'):
      checkpoints.wait()
      if processes.is_first():
        curves.draw(run_dir, objective.panels)
  if texts and processes.is_first():
    print(f'\n{objective.samples_title}', *texts, sep='\n')
    for name, text in summaries.items():  # once more, since texts are long
      print(f'\nstep {step}, {name}: {text}')
  measured = metrics_file.read_evaluations(run_dir)
  last_values = measured[-1][1] if measured else {}
  return Trained(step, last_values, best.step, best.values)


def _describe(
  abstract: TrainState,
  frozen: state_lib.Parameters | None,
  mesh: Mesh,
) -> str:
  """Returns the lines that a run prints first."""
  lines = [f'parameters: {state_lib.count_parameters(abstract.parameters):,}']
  if frozen:
    lines += [f'frozen parameters: {state_lib.count_parameters(frozen):,}']
  platform = mesh.devices.flat[0].platform
  lines += [f'mesh: {dict(mesh.shape)} over {mesh.size} {platform} device(s)']
  return '\n'.join(lines)


def _list_shapes(shapes: Mapping[str, jax.ShapeDtypeStruct]) -> str:
  """Returns the lines that `--dry_run` prints of the batch."""
  lines = ['batch:']
  for key, shape in shapes.items():
    lines += [f'  {key:<17}{np.dtype(shape.dtype).name}{list(shape.shape)}']
  return '\n'.join(lines)


def _position(iterator: ResumableIterator, totals: Totals) -> dict[str, bytes]:
  return {**iterator.position(), 'totals': totals.to_bytes()}


def _check_terms(
  pending: list[tuple[int, Terms]], totals: Totals, checkpoints: Checkpoints
) -> None:
  """Adds pending terms to the totals; stops the run if one is not finite."""
  for step, terms in pending:
    terms = jax.device_get(terms)
    bad = [name for name, (x, _) in terms.items() if not np.isfinite(x)]
    if bad:
      checkpoints.wait()
      good = [s for s in checkpoints.steps() if s < step]
      raise RunStopped(
        f'{" and ".join(bad)} of step {step} is not finite; the last good '
        f'checkpoint is of step {max(good, default="none")}. Try a lower '
        'LEARNING_RATE, more WARMUP_STEPS, or clipping',
        status=1,
      )
    totals.add(terms)
  pending.clear()
