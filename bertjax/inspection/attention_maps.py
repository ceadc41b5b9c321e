"""What each attention head attends to in a text: numbers, picture, page.

    predictor = Predictor.load('runs/books')
    (maps,) = attention_maps.compute(predictor, ['The cat sat.'])
    maps.tokens, maps.weights, maps.entropies, maps.importance
    attention_maps.write(model='runs/books', texts='The cat sat.',
                         output='maps')

Source of a head's importance: Michel et al. 2019, see `head_importance`.
"""

import os
from collections.abc import Sequence

import numpy as np

from bertjax import values
from bertjax.errors import UserError, expect
from bertjax.inference.predictor import Predictor
from bertjax.inspection import figure, head_importance, page, taps
from bertjax.inspection.maps import Maps
from bertjax.models import bert
from bertjax.runs import output_files
from bertjax.runs.progress_line import wait
from bertjax.text import batching, input_files
from bertjax.values import Count, Natural, Path, checked

WEIGHTS = 'layer_*/attention/weights'
BATCH = 8  # texts in a batch
MAKER = 'attention_maps'  # also in page.html
PAGE = f'{MAKER}.html'


def compute(
  predictor: Predictor,
  texts: Sequence[str | Sequence[str]],
  length: Count | None = None,
  layers: int | Sequence[int] | None = None,
  importance: bool = False,
) -> list[Maps]:
  """Returns the attention of each text, in their order.

  Args:
    predictor: any; the weights do not depend on its output heads.
    texts: texts, or pairs of texts. '[MASK]' is the special token.
    length: the most tokens of a text, special ones included; longer texts are
      an error. None: see `Predictor.length`.
    layers: numbers from 0; None: all.
    importance: whether to compute the heads' importance for masked LM, which
      takes a backward pass for each token.

  Raises:
    UserError: a text is too long or has no tokens, a layer does not exist, or
      importance is wanted without a masked-LM head.
  """
  given = {'predictor': predictor, 'length': length, 'layers': layers}
  values.check(compute, given)
  rows, layers = check(predictor, texts, length, layers, importance)
  model = bert.Bert(predictor.config)
  # One shape for all, so each program is compiled once.
  count, columns = min(BATCH, len(rows)), max(len(row.ids) for row in rows)
  maps = []
  for start in range(0, len(rows), BATCH):
    some = rows[start : start + BATCH]
    batch = batching.make([[row] for row in some], count, columns)
    found = taps.collect(model, predictor.parameters, batch, (WEIGHTS,))
    weights = np.asarray(taps.stack(found, WEIGHTS), np.float32)
    for line, row in enumerate(some):
      size = len(row.ids)
      maps.append(
        Maps(
          tuple(predictor.tokenizer.shown_row(row.ids)),
          row.second,
          tuple(layers),
          weights[layers, line, :, :size, :size],
          head_importance.of_masking(predictor, row, columns)[layers]
          if importance
          else None,
        )
      )
  return maps


def check(
  predictor: Predictor,
  texts: str | Sequence[str | Sequence[str]],
  length: int | None,
  layers: int | Sequence[int] | None,
  importance: bool,
) -> tuple[list[batching.Row], list[int]]:
  """Returns the rows of the texts, and the numbers of the layers.

  Args and Raises: see `compute`.
  """
  length = predictor.length(length)
  predictor.check_length(length)
  count = predictor.config.layers
  if isinstance(layers, int):
    layers = [layers]
  wanted = range(count) if layers is None else layers
  valid = wanted and all(layer in range(count) for layer in wanted)
  what = f'layers from 0 to {count - 1}, each once'
  expect(valid and len({*wanted}) == len(wanted), what, layers, 'LAYERS')
  if importance:
    predictor.check_fills_masks()
  if isinstance(texts, str):
    texts = [texts]
  expect(texts, 'a text or a list of texts', texts, 'TEXTS')
  repaired = []
  for text in texts:
    parts = [text] if isinstance(text, str) else text
    valid = isinstance(parts, list | tuple) and len(parts) in (1, 2)
    valid = valid and all(isinstance(part, str) for part in parts)
    expect(valid, 'texts, or pairs of texts in parentheses', text, 'TEXTS')
    repaired.append([input_files.repair(part) for part in parts])
  found = predictor.tokenizer.rows(repaired, 10**9, masks=True)
  for parts, (row, _) in zip(repaired, found, strict=True):
    if len(row.ids) > length:
      raise UserError(
        f'the text that begins {parts[0][:40]!r} has {len(row.ids)} tokens, '
        f'more than LENGTH {length}; shorten it or set LENGTH, up to the '
        f'{predictor.config.positions} positions of {predictor.origin}'
      )
    if predictor.tokenizer.room(len(row.ids), len(parts)) < 1:
      raise UserError(f'the text {parts[0][:40]!r} has no tokens; set TEXTS')
  return [row for row, _ in found], [int(layer) for layer in wanted]


@checked
def write(
  *,
  model: Path,
  texts: str | Sequence[str | Sequence[str]],
  output: Path,
  length: Count | None = None,
  layers: Natural | Sequence[Natural] | None = None,
  importance: bool | None = None,
  overwrite: bool = False,
  dry_run: bool = False,
) -> None:
  """Draws the attention of texts: a PNG for each, and a page for all.

  Args:
    model: see `Predictor.load`.
    texts: a text, or several texts or pairs; see `compute`.
    output: a directory, new or empty, or of earlier maps, which are replaced.
    length: see `compute`.
    layers: see `compute`.
    importance: see `compute`; None: if the model has a masked-LM head.
    overwrite: whether to replace any directory of nothing but files.
    dry_run: check everything and write nothing.

  Raises:
    UserError: files, a model, or settings that cannot work.
  """
  output_files.check_directory(output, model, overwrite, MAKER)
  predictor = Predictor.load(model)
  if importance is None:
    importance = 'mlm_head' in predictor.parameters
  check(predictor, texts, length, layers, importance)
  for text in [texts] if isinstance(texts, str) else texts:
    if isinstance(text, str) and os.path.isfile(text):
      told = (
        f'warning: {text} is taken for a text, not for the file of that name'
      )
      print(f'{told}; set TEXTS to what is in the file', flush=True)
  if dry_run:
    return
  with output_files.writing(output, replaces=True) as folder:
    os.mkdir(folder)  # fails before minutes of work
    with wait('computing the attention'):
      found = compute(predictor, texts, length, layers, importance)
    with wait('drawing'):
      for number, maps in enumerate(found, start=1):
        figure.draw(maps, predictor.origin).savefig(
          os.path.join(folder, f'{MAKER}_{number:02}.png'),
          metadata={'Software': output_files.mark(MAKER)},
        )
    text = page.render(found, predictor.origin)
    output_files.write_text(os.path.join(folder, PAGE), text)
  print(
    f'{os.path.join(output, PAGE)}, and beside it a picture for each of '
    f'{len(found)} text(s)'
    + ('' if importance else '; no importance of heads was computed')
  )
