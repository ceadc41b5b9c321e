"""Our parameters and Hugging Face's tensors: one table for both directions.

    tensors = names.to_huggingface(parameters, config)
    parameters = names.from_huggingface(tensors, config, names.PRETRAINING)

Tensors have the names under which the classes with a head of transformers 4 and
5 save them; the rows are those of a `Family`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from flax import traverse_util

from bertjax.errors import UserError
from bertjax.interop import config_json
from bertjax.interop.family import Family, Row
from bertjax.models.config import EncoderConfig

Parameters = dict[str, 'np.ndarray | Parameters']
FLOATS = ('float32', 'float16', 'bfloat16', 'float64')
ANY = -1  # a size
# Letter of a size -> attribute of EncoderConfig.
SIZES = {
  'V': 'vocabulary_size',
  'D': 'width',
  'H': 'heads',
  'K': 'head_width',
  'F': 'feed_forward',
  'L': 'positions',
  'T': 'types',
}
# By their name among our parameters.
HEADS = (
  'pooler',
  'prediction_head',
  'mlm_head',
  'nsp_head',
  'classifier',
  'tag_head',
  'span_head',
)
PRETRAINING = ('pooler', 'mlm_head', 'nsp_head')
# Heads of pretraining that transformers has no place for.
WITHOUT_COUNTERPART = ('sop_head', 'same_document_head', 'detection_head')
# Parameters with a row for each token.
_VOCABULARY = (
  'embeddings/token/embedding',
  'mlm_head/bias',
  'mlm_head/decoder',
)


def table(
  config: EncoderConfig, heads: Iterable[str], family: Family | None = None
) -> Iterator[Row]:
  """Yields the row of every tensor.

  Args:
    config: of the model.
    heads: names in `HEADS` that the family has.
    family: None: that of the configuration.
  """
  family, heads = family or config_json.family_of(config), tuple(heads)
  yield from family.encoder_rows(config)
  for head in heads:
    yield from rows_of(config, head, heads, family)


def rows_of(
  config: EncoderConfig, head: str, heads: Sequence[str], family: Family
) -> list[Row]:
  """Returns the rows of a head, with all `heads` beside it."""
  rows = [*family.head_rows(config, head, heads)]
  if head == 'mlm_head' and not config.tied_decoder:
    rows.append(Row(('mlm_head/decoder',), family.decoder, 'VD'))
  return rows


def heads_of(parameters: Parameters) -> tuple[str, ...]:
  """Returns the names in `HEADS` that the parameters hold."""
  return tuple(head for head in HEADS if head in parameters)


def to_huggingface(
  parameters: Parameters, config: EncoderConfig, skipped: int = 0
) -> dict[str, np.ndarray]:
  """Converts parameters, or their gradients, to tensors.

  Args:
    parameters: nested by name, unboxed; with any heads of the family.
    config: of the model.
    skipped: how many rows their table of positions has more: zeros, in front.

  Returns:
    tensors by name, with their dtypes; a tied table appears once.

  Raises:
    UserError: the parameters belong to another model, or transformers has none
      of this configuration.
  """
  flat = traverse_util.flatten_dict(parameters, sep='/')
  rows = tuple(table(config, heads_of(parameters)))
  expected = {path for row in rows for path in row.ours}
  if expected != set(flat):
    missing = sorted(expected - set(flat))
    unknown = sorted(set(flat) - expected)
    raise UserError(
      f'expected the parameters of this EncoderConfig, got {len(missing)} '
      f'missing ({_few(missing)}) and {len(unknown)} unknown '
      f'({_few(unknown)}); give the configuration that they were made with'
    )
  tensors = {}
  for row in rows:
    parts = [_tensor(np.asarray(flat[x]), x, row, config) for x in row.ours]
    if row.skips:
      parts.insert(0, np.zeros((skipped, *parts[0].shape[1:]), parts[0].dtype))
    tensors[row.theirs] = np.concatenate(parts) if len(parts) > 1 else parts[0]
  return tensors


def _tensor(
  array: np.ndarray, path: str, row: Row, config: EncoderConfig
) -> np.ndarray:
  """Returns the part of a tensor that holds one parameter."""
  if row.is_vocabulary:
    array = array[: config.vocabulary_size]
  if not _fits(array.shape, _sizes(row.shape, config)):
    raise UserError(
      f'expected the parameters of this EncoderConfig, got {path} of shape '
      f'{list(array.shape)}; give the configuration that they were made with'
    )
  array = array.reshape(_sizes(row.merged, config))
  return array.T if row.is_kernel else array


def from_huggingface(
  tensors: Mapping[str, np.ndarray],
  config: EncoderConfig,
  heads: Iterable[str],
  family: Family | None = None,
  skipped: int = 0,
) -> Parameters:
  """Converts tensors to our parameters.

  Args:
    tensors: by name; those that are not in `table` are ignored.
    config: of the model.
    heads: names in `HEADS`.
    family: None: that of the configuration.
    skipped: how many rows their table of positions has more, in front.

  Returns:
    parameters nested by name, float32.

  Raises:
    UserError: a tensor is missing, has another shape than `config` gives it, is
      not of floating point, or holds NaN or infinity.
  """
  heads = tuple(heads)
  family = family or config_json.family_of(config)
  rows = tuple(table(config, heads, family))
  missing = sorted({row.theirs for row in rows} - set(tensors))
  if missing:
    raise UserError(
      f'expected a checkpoint with {config.layers} layers and '
      f'{", ".join(heads) or "no head"}, but it lacks {len(missing)} of its '
      f'tensors ({_few(missing)}); it is cut off, of another model, or '
      'num_hidden_layers of its config.json is not its own'
    )
  flat = {}
  for row in rows:
    array = np.asarray(tensors[row.theirs])
    front = skipped if row.skips else 0
    _check_tensor(array, row, config, family, front)
    parts = np.split(np.asarray(array[front:], np.float32), len(row.ours))
    for path, part in zip(row.ours, parts, strict=True):
      part = part.T if row.is_kernel else part
      part = part.reshape(_sizes(row.shape, config))
      flat[path] = _pad_rows(part, config) if row.is_vocabulary else part
  return traverse_util.unflatten_dict(flat, sep='/')


def _check_tensor(
  array: np.ndarray,
  row: Row,
  config: EncoderConfig,
  family: Family,
  front: int,
) -> None:
  if array.dtype.name not in FLOATS:
    raise UserError(
      f'expected {row.theirs} to be one of {", ".join(FLOATS)}, got '
      f'{array.dtype}; choose a checkpoint that is not quantized'
    )
  expected = _sizes(row.merged, config)
  expected = expected[::-1] if row.is_kernel else expected
  if expected[0] != ANY:
    expected[0] = expected[0] * len(row.ours) + front
  if not _fits(array.shape, expected):
    shape = str(expected).replace(str(ANY), 'C')
    sizes = dict.fromkeys(SIZES[x] for x in row.merged if x in SIZES)
    theirs = ' or '.join(family.attribute_of(name) for name in sizes)
    raise UserError(
      f'expected {row.theirs} of shape {shape}, got {list(array.shape)}; '
      f'mend {theirs or "architectures"} in its config.json, or set '
      'EncoderConfig'
    )
  if not np.isfinite(np.asarray(array, np.float32)).all():
    raise UserError(
      f'expected finite numbers in {row.theirs}, got NaN or infinity; choose '
      'another checkpoint'
    )


def fit_vocabulary(parameters: Parameters, config: EncoderConfig) -> Parameters:
  """Pads, or cuts, the vocabulary's rows to as many as `config` has.

  Args:
    parameters: nested by name, of the same vocabulary; with any heads.
    config: of the model that is to hold them.
  """
  flat = traverse_util.flatten_dict(parameters, sep='/')
  for path in _VOCABULARY:
    if path in flat:
      flat[path] = _pad_rows(np.asarray(flat[path]), config)
  return traverse_util.unflatten_dict(flat, sep='/')


def _pad_rows(array: np.ndarray, config: EncoderConfig) -> np.ndarray:
  """Returns V rows and, below them, zeros for the padding of our table."""
  size = config.vocabulary_size
  rest = np.zeros((config.vocabulary_rows - size, *array.shape[1:]))
  return np.concatenate([array[:size], rest.astype(array.dtype)])


def _fits(shape: Sequence[int], sizes: Sequence[int]) -> bool:
  return len(shape) == len(sizes) and all(
    size in (n, ANY) for size, n in zip(sizes, shape, strict=True)
  )


def _sizes(letters: str, config: EncoderConfig) -> list[int]:
  """Returns the size of each axis; `ANY`, which numpy infers, for C."""
  sizes = {letter: getattr(config, name) for letter, name in SIZES.items()}
  sizes |= {'C': ANY, '2': 2}
  return [sizes[letter] for letter in letters]


def _few(names: list[str]) -> str:
  return ', '.join(names[:5]) + (', ...' if len(names) > 5 else '')
