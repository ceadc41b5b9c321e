"""Fine-tunes transformers' BERT on SST-2 as `recipes/glue.gin` fine-tunes ours.

    pip install -r requirements.txt torch transformers
    PYTHONPATH=. python experiments/golden/finetune_against_torch.py \\
        --data $DATA/glue/SST-2 --start runs/novels --seeds 0 1 2 \\
        --epochs 1 --learning_rate 3e-4 [--from_nothing]

The architecture, vocabulary, rows, order of batches, AdamW with BERT's decay
mask, clipping, dropout 0.1, and linear warmup and decay are the same. torch
draws the classifier, the dropout and, from nothing, all weights. Prints the
accuracy on dev.tsv after the last step for each seed, and their median, to
compare with the table of

    python -m bertjax.main --gin_file=gin_configs/recipes/glue.gin \\
        --gin.DATA_DIR=$DATA/glue --gin.TASKS=SST-2 --gin.SELECT=last \\
        --gin.INIT_FROM=runs/novels --gin.EPOCHS=1 --gin.LEARNING_RATE=3e-4
"""

import argparse
import os
import statistics
import tempfile
import time

import jax
import numpy as np
import torch
import transformers

from bertjax.inference import export
from bertjax.tasks import glue_files, kinds, specs
from bertjax.tasks.labelled_batches import LabelledBatches, Rows
from bertjax.text import batching
from bertjax.text.tokenizer import Tokenizer

TASK = specs.GLUE['SST-2']
BATCH_SIZE, LENGTH, DECAY = TASK.batch_size, TASK.length, 0.01


def make_model(folder: str, from_nothing: bool):
  kinds = {
    'num_labels': 2,
    'hidden_dropout_prob': 0.1,
    'attention_probs_dropout_prob': 0.1,
  }
  config = transformers.AutoConfig.from_pretrained(folder, **kinds)
  if from_nothing:
    return transformers.BertForSequenceClassification(config)
  return transformers.BertForSequenceClassification.from_pretrained(
    folder, config=config
  )


def logits_of(model, batch) -> torch.Tensor:
  tensors = {
    key: torch.from_numpy(np.asarray(batch[key])).long()
    for key in ('tokens', 'types', 'segments')
  }
  return model(
    input_ids=tensors['tokens'],
    token_type_ids=tensors['types'],
    attention_mask=tensors['segments'],
  ).logits


def train(model, rows: Rows, seed: int, epochs: float, peak: float) -> None:
  steps = -int(-len(rows) * epochs // BATCH_SIZE)
  warmup = steps // 10
  plain = [
    p
    for n, p in model.named_parameters()
    if n.endswith('bias') or 'LayerNorm' in n
  ]
  kept = {id(p) for p in plain}
  adamw = torch.optim.AdamW(
    [
      {'params': plain, 'weight_decay': 0.0},
      {
        'params': [p for p in model.parameters() if id(p) not in kept],
        'weight_decay': DECAY,
      },
    ],
    lr=peak,
    betas=(0.9, 0.999),
    eps=1e-6,
  )
  batches = LabelledBatches(rows, BATCH_SIZE, LENGTH, seed)
  model.train()
  began = time.monotonic()
  for step in range(steps):
    rate = (
      min((step + 1) / (warmup + 1), 1)
      * peak
      * min(1, (steps - step) / (steps - warmup))
    )
    for group in adamw.param_groups:
      group['lr'] = rate
    batch = next(batches)
    loss = torch.nn.functional.cross_entropy(
      logits_of(model, batch), torch.from_numpy(batch['labels'][:, 0]).long()
    )
    adamw.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    adamw.step()
    if step % 100 == 99:
      seconds = time.monotonic() - began
      print(
        f'step {step + 1}/{steps}   loss {loss.item():.4f}   '
        f'{(step + 1) / seconds:.2f} steps/s',
        flush=True,
      )


def accuracy(model, tokenizer, examples) -> float:
  model.eval()

  @torch.no_grad()
  def alone(rows):
    for row in rows:  # transformers has no packed rows
      batch = batching.make([[row]], count=1, columns=len(row.ids))
      yield row, logits_of(model, batch).numpy()[0]

  pairs = kinds.answers(TASK, tokenizer, examples, alone)
  return kinds.KINDS['classes'].score(TASK, pairs)['accuracy']


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument('--data', required=True)
  parser.add_argument('--start', required=True)
  parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
  parser.add_argument('--epochs', type=float, default=1)
  parser.add_argument('--learning_rate', type=float, default=3e-4)
  parser.add_argument('--from_nothing', action='store_true')
  arguments = parser.parse_args()
  jax.config.update('jax_platforms', 'cpu')
  tokenizer = Tokenizer.load(arguments.start)
  train_examples, examples = (
    list(glue_files.read(os.path.join(arguments.data, name), 'SST-2'))
    for name in ('train.tsv', 'dev.tsv')
  )
  rows = Rows.of(kinds.labelled_rows(TASK, tokenizer, train_examples))
  found = []
  with tempfile.TemporaryDirectory() as folder:
    export.export(model=arguments.start, output=os.path.join(folder, 'start'))
    for seed in arguments.seeds:
      torch.manual_seed(seed)
      model = make_model(os.path.join(folder, 'start'), arguments.from_nothing)
      train(model, rows, seed, arguments.epochs, arguments.learning_rate)
      found.append(accuracy(model, tokenizer, examples))
      print(f'seed {seed}: accuracy {found[-1]:.4f}', flush=True)
  print(f'median {statistics.median(found):.4f} of {found}')


if __name__ == '__main__':
  main()
