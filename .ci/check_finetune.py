"""Checks that pretraining is worth something in the demonstration.

python .ci/check_finetune.py runs/quickstart_finetune runs/from_nothing

After the first of three epochs it is worth 20 points of accuracy and more in
every one of four pretrainings. What is left of that at the end depends on the
pretraining: 47, 53, 59 and 63 against 46 from nothing (experiments/LOG.md).
"""

import json
import pathlib
import statistics
import sys

first, last = [], []
for run_dir in map(pathlib.Path, sys.argv[1:]):
  (row,) = json.loads((run_dir / 'results.json').read_text())['tasks']
  assert len(row['seeds']) == 3, row['seeds']
  assert (run_dir / 'results.md').stat().st_size > 0
  last.append(statistics.median(row['scores']['eval/accuracy']))
  files = [*run_dir.glob('docstrings/seed_*/metrics.jsonl')]
  assert len(files) == 3, files
  evaluations = [json.loads(x.read_text().splitlines()[0]) for x in files]
  first.append(statistics.median(x['eval/accuracy'] for x in evaluations))
for when, (pretrained, nothing) in (('one epoch', first), ('three', last)):
  print(
    f'after {when}: pretrained {pretrained:.4f}, from nothing {nothing:.4f}'
  )
assert first[0] >= first[1] + 0.1, first
# The standard error of a score of 564 examples is 0.02.
assert last[0] >= last[1] - 0.02, last
