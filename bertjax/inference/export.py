"""Writes a model as a directory that transformers loads.

    export.export(model='runs/books', output='books-bert')

The files are those of `interop.huggingface.save`, with a model card. A Hugging
Face directory is written anew, with today's names, and keeps its card.
"""

import os
import pathlib
from collections.abc import Iterable

from bertjax.errors import expect
from bertjax.inference.predictor import Predictor
from bertjax.interop import config_json, head_classes, huggingface, names
from bertjax.models.config import EncoderConfig
from bertjax.runs import gin_bindings, output_files, trained_model
from bertjax.runs.metrics_file import read_metrics
from bertjax.values import Count, Natural, Path, Share, checked

_CARD = """---
library_name: transformers
tags: [{tag}, bertjax]
---

# {title}, {training} with bertjax

{config.layers} layers of width {config.width}, {config.heads} heads, \
{vocabulary} vocabulary entries
({case}). Trained for {step} steps{average}.
It repeats what its text holds, errors and prejudices included, and was
evaluated on nothing but what stands below.

    from transformers import {auto_class}, AutoTokenizer
    model = {auto_class}.from_pretrained('{name}')
    tokenizer = AutoTokenizer.from_pretrained('{name}')

## Scores

{scores}

## Configuration

```
{configuration}
```
"""


@checked
def export(
  *,
  model: Path,
  output: Path,
  step: Natural | None = None,
  average: Count | None = None,
  average_decay: Share | None = None,
  overwrite: bool = False,
  dry_run: bool = False,
) -> None:
  """Writes the parameters, vocabulary and tokenizer of a model, and a card.

  Args:
    model: see `Predictor.load`.
    output: a directory, new or empty.
    step: of a run's checkpoint; None: the best, or else the latest.
    average: how many of the run's checkpoints, up to `step` or the latest, are
      averaged; None: none are.
    average_decay: the weight of a checkpoint over that of the next one; None:
      they count alike.
    overwrite: whether to replace a directory of nothing but files.
    dry_run: check everything and write nothing.

  Raises:
    UserError: there is no model or checkpoint, transformers has no such model,
      or `output` is not empty or cannot be written.
  """
  output_files.check_directory(output, model, overwrite)
  both = average_decay is None or average is not None
  expect(both, 'None without AVERAGE', average_decay, 'AVERAGE_DECAY')
  predictor = Predictor.load(model, step, average, average_decay or 1.0)
  name = auto_class(names.heads_of(predictor.parameters), predictor.config)
  if dry_run:
    return
  task = predictor.task
  source = trained_model.best_run(model)
  with output_files.writing(output, replaces=overwrite) as part:
    huggingface.save(
      part,
      predictor.config,
      predictor.parameters,
      predictor.tokenizer,
      labels=(task and task.labels) or None,
      problem_type=huggingface.PROBLEM_TYPE_OF.get(task.kind) if task else None,
      card=_card(predictor, source, output, name),
    )
  step_of = '' if predictor.step is None else f'step {predictor.step} of '
  if predictor.averaged:
    step_of = f'average of the steps {_listed(predictor.averaged)} of '
  print(
    f'{output}: {step_of}{source}, for {name} and AutoTokenizer of transformers'
  )


def auto_class(heads: Iterable[str], config: EncoderConfig) -> str:
  """Returns the class that loads these heads, such as 'AutoModelForMaskedLM'.

  Raises:
    UserError: see `head_classes.architecture`.
  """
  family = config_json.family_of(config)
  model = head_classes.architecture(heads, config).removeprefix(family.prefix)
  return 'AutoModel' + model.removeprefix('Model')


def _card(
  predictor: Predictor, source: str, output: str, name: str
) -> str | None:
  if predictor.step is None:  # a Hugging Face directory
    card = pathlib.Path(source, 'README.md')
    return card.read_text('utf-8', 'replace') if card.exists() else None
  tokenizer, task = predictor.tokenizer, predictor.task
  title = config_json.family_of(predictor.config).title
  return _CARD.format(
    title=title,
    tag=title.lower(),
    name=os.path.basename(os.path.normpath(output)),
    auto_class=name,
    training=f'fine-tuned on {task.name}' if task else 'pretrained',
    config=predictor.config,
    vocabulary=len(tokenizer.tokens),
    case='cased' if tokenizer.cased else 'lower-cased',
    step=predictor.step,
    average=(
      f', the average of those at {_listed(predictor.averaged)}'
      if predictor.averaged
      else ''
    ),
    scores=_scores(source, predictor.step, bool(predictor.averaged)),
    configuration=gin_bindings.read(source).strip(),
  )


def _listed(steps: Iterable[int]) -> str:
  return ', '.join(map(str, steps))


def _scores(run_dir: str, step: int | None, averaged: bool) -> str:
  """Returns the evaluation at `step` as a Markdown table."""
  if averaged:
    return 'None of the average.'
  rows = [
    f'| {name} | {values[steps.index(step)]:.4f} |'
    for name, (steps, values) in read_metrics(run_dir).items()
    if name.startswith('eval/') and step in steps
  ]
  if not rows:
    return f'None at step {step}.'
  return '\n'.join(['| held-out | |', '|---|---|', *rows])
