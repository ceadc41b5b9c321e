"""Checks that pretraining is worth 5 points of accuracy in the demonstration.

python .ci/check_finetune.py runs/quickstart_finetune runs/from_nothing
"""

import json
import pathlib
import statistics
import sys

medians = []
for run_dir in map(pathlib.Path, sys.argv[1:]):
  (row,) = json.loads((run_dir / 'results.json').read_text())['tasks']
  assert len(row['seeds']) == 3, row['seeds']
  assert (run_dir / 'results.md').stat().st_size > 0
  medians.append(statistics.median(row['scores']['eval/accuracy']))
print(f'pretrained {medians[0]:.4f}, from nothing {medians[1]:.4f}')
assert medians[0] >= medians[1] + 0.05, medians
