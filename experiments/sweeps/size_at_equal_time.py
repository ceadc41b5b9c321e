"""A larger model for fewer steps, or a smaller one for more?

BERT tiny, mini and small on English novels ($DATA/text/novels.txt), 5 minutes
each on the same machine, which must be idle for that: by held-out masked-LM
loss, and by SST-2 ($DATA/glue) after the same fine-tuning, a fifth of an
epoch.
"""

from experiments import sweep

SWEEP = sweep.Sweep(
  files=('recipes/pretrain_text.gin',),
  bindings={
    'TEXT_FILES': '$DATA/text/novels.txt',
    'VOCAB_SIZE': 8192,
    'TRAIN_STEPS': sweep.Minutes(5),
    'LENGTH': 64,
    'DROPOUT': 0.0,
    'LEARNING_RATE': 1e-3,
  },
  grid={
    'SIZE': (
      'models/bert_tiny.gin',
      'models/bert_mini.gin',
      'models/bert_small.gin',
    )
  },
  metric='eval/mlm_loss',
  minutes=12,
  megabytes=380,
  then=sweep.Stage(
    files=('recipes/glue.gin',),
    bindings={
      'DATA_DIR': '$DATA/glue',
      'TASKS': 'SST-2',
      'EPOCHS': 0.2,
      'LENGTH': 32,
      'LEARNING_RATE': 3e-4,
      'SELECT': 'last',
    },
    metric='SST-2/accuracy',
  ),
)
