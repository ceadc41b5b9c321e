"""Plans the shipped pretraining steps for TPU v5e and compares with a table.

    pip install -r requirements-tpu.txt
    PYTHONPATH=. python experiments/benchmarks/tpu_plan.py            # compare
    PYTHONPATH=. python experiments/benchmarks/tpu_plan.py --write    # replace
    PYTHONPATH=. python experiments/benchmarks/tpu_plan.py --cases base_128

`tpu_plan.json` beside this file holds, by case, what the compiler said, with
the versions of jax and libtpu. At the same versions a figure that is worse by
more than 3% fails, until the table is written anew, with the reason in the
commit; at other versions the figures are printed and nothing fails. Compiles on
the CPU, a case after the other, a minute or more each. Source: ours.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from bertjax.plan import compare

TABLE = pathlib.Path(__file__).with_suffix('.json')
CUT = ('config.EncoderConfig.layers=2',)

# Rows a chip of 8: 64 for base and 32 for large at 128.
CASES = {
    'base_128': (('plan', 'models/bert_base'), (
        'BATCH_SIZE=512', 'LENGTH=128', 'DROPOUT=0.0')),
    'base_128_dropout': (('plan', 'models/bert_base'), (
        'BATCH_SIZE=512', 'LENGTH=128', 'DROPOUT=0.1')),
    'large_128': (('plan', 'models/bert_large'), (
        'BATCH_SIZE=256', 'LENGTH=128', 'DROPOUT=0.0')),
    'large_128_dropout': (('plan', 'models/bert_large'), (
        'BATCH_SIZE=256', 'LENGTH=128', 'DROPOUT=0.1')),
    # Shipped recipes, cut to 2 layers.
    **{f'{recipe}_2_layers': ((f'recipes/{recipe}', 'plan'), CUT)
       for recipe in ('quickstart', 'pretrain_text')},
}


def plan(case: str) -> dict:
  """Returns the figures of a case, compiled in a process of its own."""
  files, bindings = CASES[case]
  files = [f'recipes/{f}.gin' if f == 'plan' else f'{f}.gin' for f in files]
  with tempfile.TemporaryDirectory() as folder:
    subprocess.run(
        [sys.executable, '-m', 'bertjax.main',
         *(f'--gin_file={file}' for file in files),
         *(f'--gin.{binding}' for binding in bindings),
         '--gin.planning.run.largest_batch=False',
         '--gin.TOPOLOGY=v5e:2x4', f'--gin.RUN_DIR={folder}'],
        check=True, stdout=subprocess.DEVNULL,
        env=os.environ | {'TF_CPP_MIN_LOG_LEVEL': '3'})
    with open(os.path.join(folder, 'plan.json')) as file:
      return compare.row(json.load(file))


def main() -> int:
  parser = argparse.ArgumentParser()
  parser.add_argument('--cases', nargs='+', default=list(CASES), choices=CASES)
  parser.add_argument('--write', action='store_true')
  options = parser.parse_args()
  kept = json.loads(TABLE.read_text()) if TABLE.exists() else {}
  worse = []
  print(compare.header())
  for case in options.cases:
    now = plan(case)
    print(compare.line(case, now), flush=True)
    if options.write:
      kept[case] = now
      TABLE.write_text(json.dumps(kept, indent=1, sort_keys=True) + '\n')
    elif case in kept:
      worse += [
          f'{case}: {what}' for what in compare.worse(kept[case], now)]
      if not compare.same_versions(kept[case], now):
        print(f'{case}: the table is of other versions, not compared')
    else:
      print(f'{case}: not in {TABLE.name}')
  print('\n'.join(worse))
  return 1 if worse else 0


if __name__ == '__main__':
  sys.exit(main())
