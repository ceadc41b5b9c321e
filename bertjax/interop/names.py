"""Our parameters and Hugging Face's tensors: one table for both directions.

    tensors = names.to_huggingface(parameters, config)
    parameters = names.from_huggingface(tensors, config, names.PRETRAINING)

Tensors have the names under which the `BertFor...` classes of transformers 4
and 5 save them. torch's linear layers are [out, in], flax's kernels [in, out],
and our attention has an axis for its heads. Source: transformers
`modeling_bert.py`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from flax import traverse_util

from bertjax.errors import UserError
from bertjax.interop import config_json
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


class Row(NamedTuple):
  """A parameter of ours and a tensor of theirs.

  Attributes:
    ours: the parameter's path.
    theirs: the tensor's name.
    shape: of the parameter, in the letters of `_sizes`.
  """

  ours: str
  theirs: str
  shape: str

  @property
  def is_kernel(self) -> bool:
    """Whether the tensor is transposed."""
    return self.ours.endswith('/kernel')

  @property
  def is_vocabulary(self) -> bool:
    """Whether our rows are padded, see `EncoderConfig.vocabulary_rows`."""
    return self.shape[0] == 'V'

  @property
  def merged(self) -> str:
    """`shape` with the features of all heads on one axis, as theirs."""
    return self.shape.replace('HK', 'D')


def _embedding(ours: str, theirs: str, rows: str) -> Row:
  path = f'embeddings/{ours}/embedding'
  return Row(path, f'bert.embeddings.{theirs}_embeddings.weight', f'{rows}D')


def _norm(ours: str, theirs: str) -> list[Row]:
  return [
    Row(f'{ours}/scale', f'{theirs}.weight', 'D'),
    Row(f'{ours}/bias', f'{theirs}.bias', 'D'),
  ]


def _linear(ours: str, theirs: str, inputs: str, outputs: str) -> list[Row]:
  return [
    Row(f'{ours}/kernel', f'{theirs}.weight', inputs + outputs),
    Row(f'{ours}/bias', f'{theirs}.bias', outputs),
  ]


EMBEDDINGS = (
  _embedding('token', 'word', 'V'),
  _embedding('position', 'position', 'L'),
  _embedding('type', 'token_type', 'T'),
  *_norm('embeddings/norm', 'bert.embeddings.LayerNorm'),
)
# Paths and names within a layer.
IN_EVERY_LAYER = (
  *_linear('attention/query', 'attention.self.query', 'D', 'HK'),
  *_linear('attention/key', 'attention.self.key', 'D', 'HK'),
  *_linear('attention/value', 'attention.self.value', 'D', 'HK'),
  *_linear('attention/output', 'attention.output.dense', 'HK', 'D'),
  *_norm('attention_norm', 'attention.output.LayerNorm'),
  *_linear('feed_forward/input', 'intermediate.dense', 'D', 'F'),
  *_linear('feed_forward/output', 'output.dense', 'F', 'D'),
  *_norm('feed_forward_norm', 'output.LayerNorm'),
)
# The heads, by their name among our parameters; C is any number of classes.
# Heads for tags and for classes share a name there, and need two here.
HEADS = {
  'pooler': _linear('pooler', 'bert.pooler.dense', 'D', 'D'),
  'mlm_head': [
    *_linear('mlm_head/dense', 'cls.predictions.transform.dense', 'D', 'D'),
    *_norm('mlm_head/norm', 'cls.predictions.transform.LayerNorm'),
    Row('mlm_head/bias', 'cls.predictions.bias', 'V'),
  ],
  'nsp_head': _linear('nsp_head', 'cls.seq_relationship', 'D', '2'),
  'classifier': _linear('classifier', 'classifier', 'D', 'C'),
  'tag_head': _linear('tag_head', 'classifier', 'D', 'C'),
  'span_head': _linear('span_head', 'qa_outputs', 'D', '2'),
}
PRETRAINING = ('pooler', 'mlm_head', 'nsp_head')
# Heads of pretraining that transformers' BERT has no place for.
WITHOUT_COUNTERPART = ('sop_head', 'same_document_head', 'detection_head')
DECODER = Row('mlm_head/decoder', 'cls.predictions.decoder.weight', 'VD')


def table(config: EncoderConfig, heads: Iterable[str]) -> Iterator[Row]:
  """Yields the row of every parameter."""
  yield from EMBEDDINGS
  for index in range(config.layers):
    for ours, theirs, shape in IN_EVERY_LAYER:
      path = f'encoder/layer_{index:02}/{ours}'
      yield Row(path, f'bert.encoder.layer.{index}.{theirs}', shape)
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
  flat = traverse_util.flatten_dict(parameters, sep='/')
  rows = tuple(table(config, heads_of(parameters)))
  expected = {row.ours for row in rows}
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
    array = np.asarray(flat[row.ours])
    if row.is_vocabulary:
      array = array[: config.vocabulary_size]
    if not _fits(array.shape, _sizes(row.shape, config)):
      raise UserError(
        f'expected the parameters of this EncoderConfig, got {row.ours} of '
        f'shape {list(array.shape)}; give the configuration that they were '
        'made with'
      )
    array = array.reshape(_sizes(row.merged, config))
    tensors[row.theirs] = array.T if row.is_kernel else array
  return tensors


def from_huggingface(
  tensors: Mapping[str, np.ndarray], config: EncoderConfig, heads: Iterable[str]
) -> Parameters:
  """Converts tensors to our parameters.

  Args:
    tensors: by name; those that are not in `table` are ignored.
    config: of the model.
    heads: names in `HEADS`.

  Returns:
    parameters nested by name, float32.

  Raises:
    UserError: a tensor is missing, has another shape than `config` gives it, is
      not of floating point, or holds NaN or infinity.
  """
  rows = tuple(table(config, heads))
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
    if array.dtype.name not in FLOATS:
      raise UserError(
        f'expected {row.theirs} to be one of {", ".join(FLOATS)}, got '
        f'{array.dtype}; choose a checkpoint that is not quantized'
      )
    array = np.asarray(array, np.float32)
    got, expected = array.shape, _sizes(row.merged, config)
    if row.is_kernel:
      array, expected = array.T, expected[::-1]
    if not _fits(got, expected):
      shape = str(expected).replace(str(ANY), 'C')
      sizes = dict.fromkeys(SIZES[x] for x in row.merged if x in SIZES)
      theirs = ' or '.join(config_json.THEIRS[name] for name in sizes)
      raise UserError(
        f'expected {row.theirs} of shape {shape}, got {list(got)}; '
        f'mend {theirs or "architectures"} in its config.json, or set '
        'EncoderConfig'
      )
    if not np.isfinite(array).all():
      raise UserError(
        f'expected finite numbers in {row.theirs}, got NaN or infinity; choose '
        'another checkpoint'
      )
    array = array.reshape(_sizes(row.shape, config))
    flat[row.ours] = _pad_rows(array, config) if row.is_vocabulary else array
  return traverse_util.unflatten_dict(flat, sep='/')


def fit_vocabulary(parameters: Parameters, config: EncoderConfig) -> Parameters:
  """Pads, or cuts, the vocabulary's rows to as many as `config` has.

  Args:
    parameters: nested by name, of the same vocabulary; with any heads.
    config: of the model that is to hold them.
  """
  flat = traverse_util.flatten_dict(parameters, sep='/')
  for row in table(config, heads_of(parameters)):
    if row.is_vocabulary and row.ours in flat:
      flat[row.ours] = _pad_rows(np.asarray(flat[row.ours]), config)
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
