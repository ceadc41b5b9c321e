"""How much to mask, with next-sentence prediction and without?

The quickstart's model on Python's documentation, 15 to 40% of the tokens
masked, as many steps each as take about 2 minutes of 2 idle cores (their number
is fixed, not the time: other work on the machine then changes nothing). The
accuracy of another rate is another question (more hidden words are harder to
guess), so fine-tuning decides: from which package is a docstring? Wettig et al.
2023 (arXiv:2202.08005) find 40% better than 15% for large models.
"""

from experiments import sweep

SWEEP = sweep.Sweep(
  files=('recipes/quickstart.gin',),
  bindings={'TRAIN_STEPS': 1400, 'EVAL_STEPS': None, 'CHECKPOINT_STEPS': 350},
  grid={'MASK_RATE': (0.15, 0.2, 0.3, 0.4), 'NSP': (True, False)},
  seeds=(0, 1),
  minutes=5,
  megabytes=27,
  metric='eval/mlm_accuracy',
  higher_is_better=True,
  then=sweep.Stage(
    files=('recipes/quickstart_finetune.gin',),
    bindings={},
    metric='docstrings/accuracy',
  ),
)
