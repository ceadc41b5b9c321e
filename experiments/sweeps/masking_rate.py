"""How much to mask, with next-sentence prediction and without?

Three minutes a run of BERT mini on English novels, 15 to 40% of the tokens
masked. The loss of another rate is another question (more hidden words are
harder to guess), so fine-tuning decides: SST-2, one epoch. Wettig et al. 2023
(arXiv:2202.08005) find 40% better than 15% for large models.
"""

from experiments import sweep

SWEEP = sweep.Sweep(
    files=('recipes/pretrain_text.gin', 'models/bert_mini.gin'),
    bindings={
        'TEXT_FILES': '$DATA/text/novels.txt', 'VOCAB_SIZE': 8192,
        'TRAIN_STEPS': sweep.Minutes(3), 'LENGTH': 64, 'DROPOUT': 0.0,
        'LEARNING_RATE': 1e-3},
    grid={'MASK_RATE': (0.15, 0.2, 0.3, 0.4), 'NSP': (True, False)},
    metric='eval/mlm_accuracy', higher_is_better=True,
    then=sweep.Stage(
        files=('recipes/glue.gin',),
        bindings={
            'DATA_DIR': '$DATA/glue', 'TASKS': 'SST-2', 'EPOCHS': 1,
            'LENGTH': 64, 'LEARNING_RATE': 3e-4, 'SELECT': 'last'},
        metric='SST-2/accuracy'))
