"""Our parameters and Hugging Face's tensors: one table for both directions.

    tensors = names.to_huggingface(parameters, config)
    parameters = names.from_huggingface(tensors, config, names.PRETRAINING)

Tensors have the names under which the `BertFor...` classes of transformers 4
and 5 save them. torch's linear layers are [out, in], flax's kernels [in, out],
and our attention has an axis for its heads. Source: transformers
`modeling_bert.py`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from flax import traverse_util

from bertjax.errors import UserError
from bertjax.models.config import EncoderConfig

Parameters = dict[str, 'np.ndarray | Parameters']
Row = tuple[str, str, str, str]


class Layout(NamedTuple):
  """Converts an array's layout, in both directions."""

  to_theirs: Callable[[np.ndarray, EncoderConfig], np.ndarray]
  to_ours: Callable[[np.ndarray, EncoderConfig], np.ndarray]


LAYOUTS = {
  'same': Layout(
    lambda ours, config: ours,
    lambda theirs, config: theirs,
  ),
  'vocabulary': Layout(
    lambda ours, config: ours[: config.vocabulary_size],
    lambda theirs, config: _pad_rows(theirs, config),
  ),
  'linear': Layout(
    lambda ours, config: ours.T,
    lambda theirs, config: theirs.T,
  ),
  'into_heads': Layout(  # [D, H, K] and [H * K, D]
    lambda ours, config: ours.reshape(config.width, -1).T,
    lambda theirs, config: theirs.T.reshape(
      config.width, config.heads, config.head_width
    ),
  ),
  'out_of_heads': Layout(  # [H, K, D] and [D, H * K]
    lambda ours, config: ours.reshape(-1, config.width).T,
    lambda theirs, config: theirs.T.reshape(
      config.heads, config.head_width, config.width
    ),
  ),
  'heads': Layout(  # [H, K] and [H * K]
    lambda ours, config: ours.reshape(-1),
    lambda theirs, config: theirs.reshape(config.heads, config.head_width),
  ),
}


def _pad_rows(array: np.ndarray, config: EncoderConfig) -> np.ndarray:
  """Returns V rows and, below them, zeros for the padding of our table."""
  padding = config.vocabulary_rows - config.vocabulary_size
  known = array[: config.vocabulary_size]
  return np.concatenate(
    [known, np.zeros((padding, *array.shape[1:]), array.dtype)]
  )


def _norm(ours: str, theirs: str) -> tuple[Row, ...]:
  return (
    (f'{ours}/scale', f'{theirs}.weight', 'D', 'same'),
    (f'{ours}/bias', f'{theirs}.bias', 'D', 'same'),
  )


def _linear(
  ours: str,
  theirs: str,
  shape: str,
  kernel: str = 'linear',
  bias: str = 'same',
) -> tuple[Row, ...]:
  return (
    (f'{ours}/kernel', f'{theirs}.weight', shape, kernel),
    (f'{ours}/bias', f'{theirs}.bias', shape[0], bias),
  )


_OURS = 'encoder/layer_{:02}'
_THEIRS = 'bert.encoder.layer.{}'

# Our path, their name, their shape in the letters of `_sizes`, the layout.
EMBEDDINGS: tuple[Row, ...] = (
  (
    'embeddings/token/embedding',
    'bert.embeddings.word_embeddings.weight',
    'VD',
    'vocabulary',
  ),
  (
    'embeddings/position/embedding',
    'bert.embeddings.position_embeddings.weight',
    'LD',
    'same',
  ),
  (
    'embeddings/type/embedding',
    'bert.embeddings.token_type_embeddings.weight',
    'TD',
    'same',
  ),
  *_norm('embeddings/norm', 'bert.embeddings.LayerNorm'),
)
IN_EVERY_LAYER: tuple[Row, ...] = (
  *_linear(
    f'{_OURS}/attention/query',
    f'{_THEIRS}.attention.self.query',
    'DD',
    'into_heads',
    'heads',
  ),
  *_linear(
    f'{_OURS}/attention/key',
    f'{_THEIRS}.attention.self.key',
    'DD',
    'into_heads',
    'heads',
  ),
  *_linear(
    f'{_OURS}/attention/value',
    f'{_THEIRS}.attention.self.value',
    'DD',
    'into_heads',
    'heads',
  ),
  *_linear(
    f'{_OURS}/attention/output',
    f'{_THEIRS}.attention.output.dense',
    'DD',
    'out_of_heads',
  ),
  *_norm(f'{_OURS}/attention_norm', f'{_THEIRS}.attention.output.LayerNorm'),
  *_linear(
    f'{_OURS}/feed_forward/input', f'{_THEIRS}.intermediate.dense', 'FD'
  ),
  *_linear(f'{_OURS}/feed_forward/output', f'{_THEIRS}.output.dense', 'DF'),
  *_norm(f'{_OURS}/feed_forward_norm', f'{_THEIRS}.output.LayerNorm'),
)
# The heads, by their name among our parameters; C is any number of classes.
# Heads for tags and for classes share a name there, and need two here.
HEADS: dict[str, tuple[Row, ...]] = {
  'pooler': _linear('pooler', 'bert.pooler.dense', 'DD'),
  'mlm_head': (
    *_linear('mlm_head/dense', 'cls.predictions.transform.dense', 'DD'),
    *_norm('mlm_head/norm', 'cls.predictions.transform.LayerNorm'),
    ('mlm_head/bias', 'cls.predictions.bias', 'V', 'vocabulary'),
  ),
  'nsp_head': _linear('nsp_head', 'cls.seq_relationship', '2D'),
  'classifier': _linear('classifier', 'classifier', 'CD'),
  'tag_head': _linear('tag_head', 'classifier', 'CD'),
  'span_head': _linear('span_head', 'qa_outputs', '2D'),
}
PRETRAINING = ('pooler', 'mlm_head', 'nsp_head')
DECODER: Row = (
  'mlm_head/decoder',
  'cls.predictions.decoder.weight',
  'VD',
  'vocabulary',
)


def table(config: EncoderConfig, heads: Iterable[str]) -> Iterator[Row]:
  """Yields (our path, their name, their shape, layout) of every parameter."""
  yield from EMBEDDINGS
  for index in range(config.layers):
    for ours, theirs, shape, layout in IN_EVERY_LAYER:
      yield ours.format(index), theirs.format(index), shape, layout
  for head in heads:
    yield from HEADS[head]
    if head == 'mlm_head' and not config.tied_decoder:
      yield DECODER


def heads_of(parameters: Parameters) -> tuple[str, ...]:
  """Returns the names in `HEADS` that the parameters hold."""
  return tuple(head for head in HEADS if head in parameters)


def to_huggingface(
  parameters: Parameters, config: EncoderConfig
) -> dict[str, np.ndarray]:
  """Converts parameters, or their gradients, to tensors.

  Args:
    parameters: nested by name, unboxed; with any heads.
    config: of the model.

  Returns:
    tensors by name, with their dtypes; a tied table appears once.

  Raises:
    UserError: the parameters belong to another model.
  """
  flat = dict(flatten(parameters))
  rows = tuple(table(config, heads_of(parameters)))
  _refuse_difference({ours for ours, *_ in rows}, set(flat))
  return {
    theirs: LAYOUTS[layout].to_theirs(np.asarray(flat[ours]), config)
    for ours, theirs, _, layout in rows
  }


def from_huggingface(
  tensors: Mapping[str, np.ndarray],
  config: EncoderConfig,
  heads: Iterable[str],
) -> Parameters:
  """Converts tensors to our parameters.

  Args:
    tensors: by name; those that are not in `table` are ignored.
    config: of the model.
    heads: names in `HEADS`.

  Returns:
    parameters nested by name, with their dtypes.

  Raises:
    UserError: a tensor is missing, or has another shape than `config` gives it.
  """
  sizes = _sizes(config)
  flat = {}
  rows = tuple(table(config, heads))
  missing = sorted({theirs for _, theirs, *_ in rows} - set(tensors))
  if missing:
    raise UserError(
      f'expected a checkpoint with {config.layers} layers and '
      f'{", ".join(heads) or "no head"}, but it lacks {len(missing)} of its '
      f'tensors ({_few(missing)}); it is cut off, or of another model'
    )
  for ours, theirs, shape, layout in rows:
    tensor = np.asarray(tensors[theirs])
    expected = tuple(sizes.get(letter) for letter in shape)
    if len(tensor.shape) != len(expected) or any(
      size not in (None, got)
      for size, got in zip(expected, tensor.shape, strict=True)
    ):
      raise UserError(
        f'expected {theirs} of shape {_shape(expected)}, got '
        f'{_shape(tensor.shape)}; its config.json, or EncoderConfig, gives '
        'other sizes'
      )
    flat[ours] = LAYOUTS[layout].to_ours(tensor, config)
  return traverse_util.unflatten_dict(flat, sep='/')


def fit_vocabulary(parameters: Parameters, config: EncoderConfig) -> Parameters:
  """Pads, or cuts, the vocabulary's rows to as many as `config` has.

  Args:
    parameters: nested by name, of the same vocabulary; with any heads.
    config: of the model that is to hold them.
  """
  tables = {
    ours
    for ours, *_, layout in table(config, heads_of(parameters))
    if layout == 'vocabulary'
  }
  return traverse_util.unflatten_dict(
    {
      name: _pad_rows(np.asarray(array), config) if name in tables else array
      for name, array in flatten(parameters)
    },
    sep='/',
  )


def _sizes(config: EncoderConfig) -> dict[str, int]:
  return {
    'V': config.vocabulary_size,
    'D': config.width,
    'F': config.feed_forward,
    'L': config.positions,
    'T': config.types,
    '2': 2,
  }


def flatten(
  parameters: Parameters, prefix: str = ''
) -> Iterator[tuple[str, np.ndarray]]:
  """Yields (path, array) of nested parameters.

      >>> dict(flatten({'encoder': {'layer_00': 1}}))
      {'encoder/layer_00': 1}

  Args:
    parameters: nested by name.
    prefix: put before every path.
  """
  for name, value in parameters.items():
    if isinstance(value, Mapping):
      yield from flatten(value, f'{prefix}{name}/')
    else:
      yield f'{prefix}{name}', value


def _refuse_difference(expected: set[str], got: set[str]) -> None:
  if expected == got:
    return
  missing, unknown = sorted(expected - got), sorted(got - expected)
  raise UserError(
    f'expected the parameters of this EncoderConfig, got {len(missing)} '
    f'missing ({_few(missing)}) and {len(unknown)} unknown '
    f'({_few(unknown)}); give the configuration that they were made with'
  )


def _few(names: list[str], most: int = 5) -> str:
  return ', '.join(names[:most]) + (', ...' if len(names) > most else '')


def _shape(sizes: Iterable[int | None]) -> str:
  return str(list(sizes)).replace('None', 'C')
