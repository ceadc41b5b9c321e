"""The training loop.

    loop.train(objective=..., optimizer=..., batches=..., run_dir='runs/x', ...)

The order of things, each step: next batch, update; then, where due: evaluate,
log, keep the best, save. What a step writes stands in metrics.jsonl before the
checkpoint of that step is made, so a run that continues from it lacks nothing
and repeats nothing. Source: ours; big_vision's `train.py` for the shape.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
import optax
from jax.sharding import Mesh

from bertjax.errors import RunStopped, UserError
from bertjax.models import flops, kernels
from bertjax.parallel import partitioning, processes
from bertjax.runs import curves, layout, metrics_file, model_file
from bertjax.runs.checkpoints import Checkpoints
from bertjax.runs.filled_masks import FilledMasks
from bertjax.training import (
  profiling,
  signals,
  throughput,
  warm_start,
)
from bertjax.training import state as state_lib
from bertjax.training import step as step_lib
from bertjax.training.progress import TrainingProgress
from bertjax.training.selection import Best
from bertjax.training.totals import Totals


def train(
  *,
  objective,
  optimizer: optax.GradientTransformation,
  learning_rate: optax.Schedule,
  batches: Callable,
  evaluations: Mapping,
  mesh: Mesh,
  run_dir: str,
  steps: int,
  shapes: Mapping[str, jax.ShapeDtypeStruct],
  seed: int = 0,
  initial: Callable | None = None,
  accumulation: int = 1,
  log_steps: int = 100,
  eval_steps: int | None = None,
  checkpoint_steps: int | None = 1000,
  keep: int = 3,
  keep_every: int | None = None,
  keep_first: bool = True,
  select: str | None = None,
  patience: int | None = None,
  profile_steps: Sequence[int] | None = None,
  dry_run: bool = False,
) -> None:
  """Trains from the last checkpoint in `run_dir` (or step 0) to `steps`.

  Args:
    objective: has `.model`, `.weights`, and gives sums, see `objectives`.
    optimizer: optax transformation.
    learning_rate: the optimizer's schedule, to be logged.
    batches: makes the iterable of host batches; its iterator has `position`
      and `restore`, see `pipeline`.
    evaluations: name -> has `prepare`, `summary` and `samples`, see
      `evaluation.HeldOut`.
    mesh: see `partitioning.make_mesh`.
    run_dir: holds everything that the run leaves.
    steps: of the whole run.
    shapes: of a global batch, see `bertjax.batch`; its length is the greatest.
    seed: of parameters and dropout.
    initial: reads parameters to start from, nested by name, instead of fresh
      ones; may give None. Called before the data is made, and not where a
      checkpoint is continued from.
    accumulation: parts that a batch is worked through in.
    log_steps: how often train/* and speed/* are written.
    eval_steps: how often evaluations run; None: at the end only.
    checkpoint_steps: how often the state is saved; None: at the end only.
    keep: how many of the last checkpoints stay.
    keep_every: checkpoints at multiples of this stay for good.
    keep_first: whether the parameters of step 0 are saved.
    select: a metric, such as 'eval/accuracy', see `selection`; the parameters
      of its best evaluation are kept in `run_dir`/best. None: nothing is.
    patience: stop after this many evaluations that were no better.
    profile_steps: first and last step to profile, see `profiling`; into
      `run_dir`/profile.
    dry_run: print the model's size and the batch's shapes, and return.

  Raises:
    UserError: settings that cannot work.
    RunStopped: the loss is not finite, or a signal asked to stop.
  """
  model = objective.model
  batch_size, length = shapes['tokens'].shape
  _check(
    model, steps, batch_size, length, log_steps, eval_steps, checkpoint_steps
  )
  kernels.check(model.config)
  partitioning.check_batch_size(batch_size, mesh, accumulation)
  best = Best(select, patience)
  profile = profiling.Profile(
    os.path.join(run_dir, layout.PROFILE), profile_steps, steps
  )
  abstract = state_lib.abstract(model, optimizer, shapes, mesh)
  print(_describe(abstract, shapes, mesh), flush=True)
  if dry_run:
    if initial and (loaded := initial()) is not None:
      warm_start.report(abstract.parameters, loaded, 'INIT_FROM')
    return

  # -- data, state, and where they stood ---------------------------------------
  started = time.monotonic()
  totals = Totals()  # of train/*, since the last line in metrics.jsonl
  with (
    Checkpoints(
      os.path.join(run_dir, layout.CHECKPOINTS),
      keep=keep,
      keep_every=keep_every,
    ) as checkpoints,
    # Two: a kill now and a resumed run lose the later one.
    Checkpoints(os.path.join(run_dir, layout.BEST), keep=2)
    if select
    else contextlib.nullcontext() as best_checkpoint,
    metrics_file.Writer(run_dir) as writer,
    signals.Stop() as stop,
  ):
    loaded = None if checkpoints.steps() or not initial else initial()
    iterator = iter(batches())
    evaluators = {
      name: (held_out.prepare(mesh, abstract), held_out.samples(run_dir))
      for name, held_out in evaluations.items()
    }
    examples = FilledMasks(run_dir)
    texts = []  # of the last evaluation
    restored = checkpoints.restore(abstract)
    if restored is None:
      state = state_lib.create(model, optimizer, shapes, mesh, seed)
      if loaded is None and initial:  # checkpoints there, all of them damaged
        loaded = initial()
      if loaded is not None:
        state = state.replace(
          parameters=warm_start.replace(state.parameters, loaded, 'INIT_FROM')
        )
      step = 0
      writer.resume(0)
      if keep_first:
        checkpoints.save(0, state, _position(iterator, totals))
    else:
      state, position, step = restored
      totals.restore(position.pop('totals'))
      iterator.restore(position)
      writer.resume(step)
      print(f'continuing from step {step} of {steps}', flush=True)
    examples.resume(step)
    best.resume(run_dir)
    if best_checkpoint:
      best_checkpoint.remove_after(step)
    if processes.is_first():
      model_file.write(run_dir, model.config)
    if step >= steps:
      print(
        f'{run_dir} is at step {step} already; nothing to train. Raise '
        'TRAIN_STEPS to go on.'
      )

    # -- compiled functions ----------------------------------------------------
    train_step = step_lib.compile_train_step(
      objective, optimizer, mesh, abstract, accumulation
    )
    rng = jax.random.key(seed)

    def evaluate():
      values = {}
      texts.clear()
      for name, (evaluator, sample) in evaluators.items():
        found = evaluator(state.parameters)
        texts.extend(sample(state.parameters))
        if found:
          progress.note(
            f'step {step}, {name}: {evaluations[name].summary(found)}'
          )
        values |= {f'{name}/{key}': value for key, value in found.items()}
      examples.write(step, texts)
      return values

    # -- the loop --------------------------------------------------------------
    clock = throughput.Clock(
      lambda batch: flops.of_step(
        model.config, batch, getattr(model, 'next_sentence', False)
      ),
      throughput.peak(mesh),
      partitioning.process_share(mesh),
    )
    pending = []  # terms of steps that the host has not looked at yet
    first_step = True
    with (
      TrainingProgress(steps, step) as progress,
      contextlib.closing(profile),
    ):
      while step < steps and not best.exhausted:
        with clock.waiting():
          batch = next(iterator)
        profile.before(step + 1)
        state, terms = train_step(
          state, partitioning.put_batch(batch, mesh), rng
        )
        step += 1
        pending.append((step, terms))
        clock.count(batch)
        if len(pending) > 1:  # the host runs at most one step ahead
          jax.block_until_ready(pending[-2][1])
        if told := profile.after(step, terms):
          progress.note(told)
        if first_step:
          jax.block_until_ready(terms)
          first_step = False
          progress.note(f'first step after {time.monotonic() - started:.1f} s')
          clock.start()

        last = step == steps
        evaluate_now = last or (eval_steps and step % eval_steps == 0)
        if evaluate_now:
          _look_at(pending, totals, checkpoints)
        with clock.paused('evaluation'):
          found = evaluate() if evaluate_now else {}
        is_best = best.add(step, found)
        last = last or best.exhausted
        log = last or step % log_steps == 0
        stopping = stop.agreed()
        save = (
          last
          or stopping
          or (checkpoint_steps and step % checkpoint_steps == 0)
        )
        if log or save:
          _look_at(pending, totals, checkpoints)
        values = {}
        if log:
          means = totals.means()
          totals.clear()
          values = {f'train/{key}': value for key, value in means.items()}
          values['train/loss'] = float(
            np.float32(
              sum(means[name] for name in objective.losses if name in means)
            )
          )
          values['train/learning_rate'] = float(learning_rate(step - 1))
          values |= clock.speed()
          progress.update(step, values)
        values |= found
        with clock.paused('checkpoint'):
          if values:
            writer.write(step, values)
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
    checkpoints.wait()
  if processes.is_first():
    curves.draw(run_dir)
    if texts:
      print(
        '\nHeld-out text, its masks filled in as [guess] or [guess≠right]:',
        *texts,
        sep='\n',
      )


def _check(model, steps, batch_size, length, *intervals):
  """Refuses numbers that cannot work, before anything is made."""
  if length > model.config.positions:
    raise UserError(
      f'LENGTH {length} exceeds the {model.config.positions} positions of '
      'the model; set EncoderConfig.positions or a smaller LENGTH'
    )
  if length < 8:
    raise UserError(f'LENGTH {length} is too short; set LENGTH to 8 or more')
  for name, value in (('TRAIN_STEPS', steps), ('BATCH_SIZE', batch_size)):
    if value < 1:
      raise UserError(f'{name} is {value}; set it to 1 or more')
  names = ('LOG_STEPS', 'EVAL_STEPS', 'CHECKPOINT_STEPS')
  for name, value in zip(names, intervals, strict=True):
    if value is not None and value < 1:
      raise UserError(f'{name} is {value}; set it to 1 or more, or None')


def _describe(abstract, shapes, mesh) -> str:
  """Returns the lines that `--dry_run` and the start of a run print."""
  lines = [
    f'parameters: {state_lib.count_parameters(abstract):,}',
    f'mesh: {dict(mesh.shape)} over {mesh.size} '
    f'{mesh.devices.flat[0].platform} device(s)',
    'batch:',
    *(
      f'  {key:<17}{np.dtype(s.dtype).name}{list(s.shape)}'
      for key, s in shapes.items()
    ),
  ]
  return '\n'.join(lines)


def _position(iterator, totals: Totals) -> dict[str, bytes]:
  return {**iterator.position(), 'totals': totals.to_bytes()}


def _look_at(pending: list, totals: Totals, checkpoints: Checkpoints) -> None:
  """Moves terms to the host; stops the run where one is not finite."""
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
