"""Which learning rate, at which batch size, for fine-tuning?

The quickstart's model (runs/quickstart; run that recipe first), three epochs
on the docstring task. With a batch twice as large there are half as many steps:
does the best rate grow with it?
"""

from experiments import sweep

SWEEP = sweep.Sweep(
  files=('recipes/quickstart_finetune.gin',),
  bindings={'INIT_FROM': 'runs/quickstart'},
  grid={'BATCH_SIZE': (16, 32, 64, 128), 'LEARNING_RATE': (3e-4, 1e-3, 3e-3)},
  seeds=(0, 1, 2),
  minutes=0.8,
  megabytes=10,
  metric='docstrings/accuracy',
  higher_is_better=True,
)
