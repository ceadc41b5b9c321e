"""A run as a directory that transformers loads.

    export.run(run_dir='runs/books', output='books-bert')

Source: ours; the files are those of `interop.huggingface.save`.
"""

import json
import os

from bertjax.errors import UserError
from bertjax.inference.predictor import Predictor
from bertjax.interop import huggingface

_CARD = """---
library_name: transformers
tags: [bert, bertjax]
---

# BERT, pretrained with bertjax

{layers} layers of width {width}, {heads} heads, {vocabulary} vocabulary entries
({case}). Trained for {step} steps. It repeats what its text holds, errors and
prejudices included, and was evaluated on nothing but what stands below.

    from transformers import AutoModelForPreTraining, AutoTokenizer
    model = AutoModelForPreTraining.from_pretrained('{name}')
    tokenizer = AutoTokenizer.from_pretrained('{name}')

## Scores

{scores}

## Configuration

```
{configuration}
```
"""


def run(
    *,
    run_dir: str,
    output: str,
    step: int | None = None,
    dry_run: bool = False,
) -> None:
  """Writes the parameters, vocabulary and tokenizer of a run, and a card.

  Args:
    run_dir: of a run of this project.
    output: a directory, new or empty.
    step: of the checkpoint; None: the latest.
    dry_run: check everything and write nothing.

  Raises:
    UserError: no run or checkpoint there; a directory that holds something.
  """
  if os.path.exists(output) and (
      not os.path.isdir(output) or os.listdir(output)):
    raise UserError(f'expected a new directory, but {output} is there and '
                    'holds something; set OUTPUT to another')
  if os.path.exists(os.path.join(run_dir, 'config.json')):
    raise UserError(f'{run_dir} is a Hugging Face directory already; set '
                    'RUN_DIR to a run')
  predictor = Predictor.load(run_dir, step)
  if dry_run:
    return
  tokenizer = predictor.tokenizer
  part = output.rstrip('/') + '.part'
  huggingface.save(part, predictor.config, predictor.params,
                   tokenizer.tokens, tokenizer.cased,
                   card=_card(predictor, run_dir, output))
  if os.path.isdir(output):
    os.rmdir(output)
  os.replace(part, output)
  print(f'{output}: step {predictor.step} of {run_dir}, for transformers'
        "' AutoModel and AutoTokenizer")


def _card(predictor: Predictor, run_dir: str, output: str) -> str:
  config = predictor.config
  return _CARD.format(
      layers=config.layers,
      width=config.width,
      heads=config.heads,
      vocabulary=len(predictor.tokenizer.tokens),
      case='cased' if predictor.tokenizer.cased else 'lower-cased',
      step=predictor.step,
      name=os.path.basename(os.path.normpath(output)),
      scores=_scores(run_dir, predictor.step),
      configuration=_read(os.path.join(run_dir, 'config.gin')).strip(),
  )


def _scores(run_dir: str, step: int) -> str:
  """Returns the evaluation at `step` as a Markdown table."""
  for line in _read(os.path.join(run_dir, 'metrics.jsonl')).splitlines():
    values = json.loads(line)
    found = {k: v for k, v in values.items() if k.startswith('eval/')}
    if values['step'] == step and found:
      rows = [f'| {name} | {value:.4f} |' for name, value in found.items()]
      return '\n'.join(['| held-out | |', '|---|---|', *rows])
  return f'None at step {step}.'


def _read(path: str) -> str:
  if not os.path.exists(path):
    return ''
  with open(path, encoding='utf-8') as file:
    return file.read()
