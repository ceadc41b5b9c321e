"""Plans the shipped pretraining steps for TPU v5e and compares with a table.

    pip install -r requirements-tpu.txt
    PYTHONPATH=. python experiments/benchmarks/tpu_plan.py
    PYTHONPATH=. python experiments/benchmarks/tpu_plan.py --write 'why'
    PYTHONPATH=. python experiments/benchmarks/tpu_plan.py --cases large_512

`tpu_plan.json` next to this file holds what the compiler said of each case, the
versions of jax and libtpu, and the reason for the last change. A case fails
if it does not compile, does not fit the chip, or has no row. With the same
versions it also fails if a figure is worse by more than 3%, until the table is
written again; with other versions the figures are only printed.

Without --cases it plans what CI has time for. Compiles on the CPU, in this
process, because the compiler keeps two cores busy by itself.
"""

import argparse
import contextlib
import dataclasses
import functools
import io
import json
import os
import pathlib
import re
import sys
import tempfile
import time

from experiments.benchmarks import kept_plans

TABLE = pathlib.Path(__file__).with_suffix('.json')
RECIPES = pathlib.Path(__file__).parents[2] / 'gin_configs' / 'recipes'


@dataclasses.dataclass(frozen=True)
class Case:
  """A step to plan, as gin files and bindings."""

  files: tuple[str, ...]
  bindings: tuple[str, ...] = ()

  def cut_to(self, layers: int) -> 'Case':
    """Returns the case with this many layers, see `tpu_depth.py`."""
    return Case(
      self.files, (*self.bindings, f'config.EncoderConfig.layers={layers}')
    )


def pretraining_recipes() -> list[str]:
  """Returns the names of the shipped recipes that pretrain."""
  return sorted(
    path.stem
    for path in RECIPES.glob('*.gin')
    if re.search(r"^include 'runs/pretrain.gin'", path.read_text(), re.M)
  )


def published_size(size: str, length: int, dropout: float = 0.0) -> Case:
  """Returns BERT base, 8192 tokens per chip, or large, 4096, on 8 chips."""
  tokens = {'base': 8192, 'large': 4096}[size]
  return Case(
    ('recipes/plan.gin', f'models/bert_{size}.gin'),
    (
      f'BATCH_SIZE={8 * tokens // length}',
      f'LENGTH={length}',
      f'DROPOUT={dropout}',
    ),
  )


def later_encoder(name: str, length: int, rows: int, *more: str) -> Case:
  """Returns a model of `gin_configs/models`, so many rows per chip, on 8 chips.

  Args:
    name: of its file.
    length: L.
    rows: of a chip.
    more: bindings.
  """
  return Case(
    ('recipes/plan.gin', f'models/{name}.gin'),
    (f'BATCH_SIZE={8 * rows}', f'LENGTH={length}', 'DROPOUT=0.0', *more),
  )


def all_cases() -> dict[str, Case]:
  """Returns the cases by name."""
  cases = {
    f'{name}_2_layers': Case((f'recipes/{name}.gin', 'runs/plan.gin')).cut_to(2)
    for name in pretraining_recipes()
  }
  for size in ('base', 'large'):
    for length in (128, 512):
      for dropout, suffix in ((0.0, ''), (0.1, '_dropout')):
        name = f'{size}_{length}{suffix}'
        cases[name] = published_size(size, length, dropout)
        cases[f'{name}_2_layers'] = cases[name].cut_to(2)
  # 16 rows per chip need FSDP and recomputed layers.
  cases['large_512_16_rows'] = Case(
    ('recipes/plan.gin', 'models/bert_large.gin', 'meshes/fsdp.gin'),
    (
      'BATCH_SIZE=128',
      'LENGTH=512',
      'DROPOUT=0.0',
      "config.EncoderConfig.recompute='products'",
    ),
  )
  # Data parallel 16 x FSDP 16. The layers are a loop: unrolled they take too
  # long to compile.
  cases['large_512_v5e_16x16'] = Case(
    ('recipes/plan.gin', 'models/bert_large.gin', 'meshes/fsdp.gin'),
    (
      'TOPOLOGY=v5e:16x16',
      'BATCH_SIZE=2048',
      'LENGTH=512',
      'DROPOUT=0.0',
      'partitioning.make_mesh.data=16',
      'config.EncoderConfig.scan_layers=True',
      "config.EncoderConfig.recompute='products'",
    ),
  )
  cases['roberta_base_512'] = later_encoder('roberta_base', 512, 16)
  base = functools.partial(later_encoder, 'modernbert_base')
  large = functools.partial(later_encoder, 'modernbert_large')
  masked = 'MASK_RATE=0.3'
  cases['modernbert_base_1024'] = base(1024, 8, masked)
  cases['modernbert_base_1024_2_layers'] = base(1024, 8, masked).cut_to(2)
  # The second and third phases mask 30% as well; a row a chip.
  loop = (masked, 'config.EncoderConfig.scan_layers=True')
  cases['modernbert_base_8192_2_layers'] = base(8192, 1, masked).cut_to(2)
  cases['modernbert_base_8192'] = base(8192, 1, *loop)
  cases['modernbert_base_8192_v5p'] = base(8192, 1, *loop, V5P)
  cases['modernbert_large_8192'] = large(
    8192, 1, *loop, "config.EncoderConfig.recompute='products'"
  )
  cases['modernbert_large_8192_v5p'] = large(8192, 1, *loop, V5P)
  return cases


V5P = 'TOPOLOGY=v5p:2x2x2'
CASES = all_cases()
# As many as CI has time for; of each length or rate only BERT base.
IN_CI = (
  *(f'{name}_2_layers' for name in pretraining_recipes()),
  'base_128',
  'large_128',
  'base_128_dropout_2_layers',
  'base_512_2_layers',
  'modernbert_base_1024_2_layers',
  'modernbert_base_8192_2_layers',
)


def plan(case: Case) -> dict:
  """Returns the figures of a case as `recipes/plan.gin` reports them.

  Raises:
    UserError: see `planning.plan`.
  """
  import gin

  from bertjax import main
  from bertjax.launch import configuration

  with tempfile.TemporaryDirectory() as folder:
    configuration.parse(
      case.files,
      (
        'TOPOLOGY=v5e:2x4',
        *case.bindings,
        'planning.plan.largest_batch=False',
        f'RUN_DIR={folder}',
      ),
    )
    with contextlib.redirect_stdout(io.StringIO()):
      gin.get_configurable(main.run)()
    with open(os.path.join(folder, 'plan.json')) as file:
      return json.load(file)


def check(names: list[str], reason: str | None) -> list[str]:
  """Plans cases, prints a line for each, and compares or writes the table.

  Args:
    names: of cases.
    reason: why figures changed, written next to them; None: kept_plans.

  Returns:
    What failed, in words.
  """
  table = json.loads(TABLE.read_text()) if TABLE.exists() else {}
  failures = []
  print(kept_plans.HEADER)
  for name in names:
    started, busy = time.monotonic(), time.process_time()
    try:
      now = kept_plans.row(plan(CASES[name]))
    except ValueError as error:  # or a UserError; the other cases continue
      failures.append(f'{name}: {str(error).splitlines()[0]}')
      continue
    print(
      f'{kept_plans.line(name, now)}  {time.monotonic() - started:.0f} s, '
      f'{time.process_time() - busy:.0f} of CPU',
      flush=True,
    )
    if reason is not None:
      table[name] = kept_plans.renewed(table.get(name), now, reason)
      kept = {key: row for key, row in table.items() if key in CASES}
      TABLE.write_text(json.dumps(kept, indent=1, sort_keys=True) + '\n')
    elif name not in table:
      failures.append(f'{name}: no row in {TABLE.name}; add it with --write')
    elif not kept_plans.same_versions(table[name], now):
      print(f'{name}: the table is of other versions, not compared')
    else:
      failures += [
        f'{name}: {what}' for what in kept_plans.worse(table[name], now)
      ]
  return failures


def prepare() -> None:
  """Silences the compiler; exits if there is none."""
  # Before anything imports jax, which would set it first.
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  from bertjax.plan import topologies

  if not topologies.has_compiler():
    sys.exit('libtpu is not installed; pip install -r requirements-tpu.txt')


def run() -> int:
  """Returns the exit status of the command line."""
  parser = argparse.ArgumentParser()
  parser.add_argument(
    '--cases',
    nargs='+',
    choices=CASES,
    metavar='CASE',
    default=IN_CI,
    help=f'of {", ".join(CASES)}; by default those of CI',
  )
  parser.add_argument(
    '--write',
    metavar='REASON',
    help='write the figures into the table, and why they changed',
  )
  options = parser.parse_args()
  prepare()
  failures = check(options.cases, options.write)
  print('\n'.join(failures))
  return 1 if failures else 0


if __name__ == '__main__':
  sys.exit(run())
