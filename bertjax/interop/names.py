"""Our parameters and Hugging Face's tensors, one table for both directions.

    tensors = names.to_huggingface(params, config)
    params = names.from_huggingface(tensors, config, next_sentence=True)

Names as `BertForPreTraining` of transformers 4 and 5 saves them. torch's
linear layers keep [out, in], flax's kernels [in, out], and our attention keeps
its heads apart. Source: transformers `modeling_bert.py`.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from bertjax.errors import UserError
from bertjax.models.config import EncoderConfig

Params = dict[str, 'np.ndarray | Params']


class Layout(NamedTuple):
  """How an array is laid out on the other side: (array, config) -> array."""

  to_theirs: Callable[[np.ndarray, EncoderConfig], np.ndarray]
  to_ours: Callable[[np.ndarray, EncoderConfig], np.ndarray]


LAYOUTS = {
    'same': Layout(
        lambda ours, config: ours,
        lambda theirs, config: theirs,
    ),
    'linear': Layout(
        lambda ours, config: ours.T,
        lambda theirs, config: theirs.T,
    ),
    'into_heads': Layout(  # [D, H, K] and [H * K, D]
        lambda ours, config: ours.reshape(config.width, -1).T,
        lambda theirs, config: theirs.T.reshape(
            config.width, config.heads, config.head_width),
    ),
    'out_of_heads': Layout(  # [H, K, D] and [D, H * K]
        lambda ours, config: ours.reshape(-1, config.width).T,
        lambda theirs, config: theirs.T.reshape(
            config.heads, config.head_width, config.width),
    ),
    'heads': Layout(  # [H, K] and [H * K]
        lambda ours, config: ours.reshape(-1),
        lambda theirs, config: theirs.reshape(config.heads, config.head_width),
    ),
}


def _norm(ours: str, theirs: str):
  return ((f'{ours}/scale', f'{theirs}.weight', 'D', 'same'),
          (f'{ours}/bias', f'{theirs}.bias', 'D', 'same'))


def _linear(ours: str, theirs: str, shape: str, kernel='linear', bias='same'):
  return ((f'{ours}/kernel', f'{theirs}.weight', shape, kernel),
          (f'{ours}/bias', f'{theirs}.bias', shape[0], bias))


_OURS = 'encoder/layer_{:02}'
_THEIRS = 'bert.encoder.layer.{}'

# Our path, their name, their shape in the letters of `_sizes`, the layout.
OUTSIDE_LAYERS = (
    ('embeddings/token/embedding',
     'bert.embeddings.word_embeddings.weight', 'VD', 'same'),
    ('embeddings/position/embedding',
     'bert.embeddings.position_embeddings.weight', 'LD', 'same'),
    ('embeddings/type/embedding',
     'bert.embeddings.token_type_embeddings.weight', 'TD', 'same'),
    *_norm('embeddings/norm', 'bert.embeddings.LayerNorm'),
    *_linear('mlm_head/dense', 'cls.predictions.transform.dense', 'DD'),
    *_norm('mlm_head/norm', 'cls.predictions.transform.LayerNorm'),
    ('mlm_head/bias', 'cls.predictions.bias', 'V', 'same'),
)
IN_EVERY_LAYER = (
    *_linear(f'{_OURS}/attention/query', f'{_THEIRS}.attention.self.query',
             'DD', 'into_heads', 'heads'),
    *_linear(f'{_OURS}/attention/key', f'{_THEIRS}.attention.self.key',
             'DD', 'into_heads', 'heads'),
    *_linear(f'{_OURS}/attention/value', f'{_THEIRS}.attention.self.value',
             'DD', 'into_heads', 'heads'),
    *_linear(f'{_OURS}/attention/output', f'{_THEIRS}.attention.output.dense',
             'DD', 'out_of_heads'),
    *_norm(f'{_OURS}/attention_norm', f'{_THEIRS}.attention.output.LayerNorm'),
    *_linear(f'{_OURS}/feed_forward/input', f'{_THEIRS}.intermediate.dense',
             'FD'),
    *_linear(f'{_OURS}/feed_forward/output', f'{_THEIRS}.output.dense', 'DF'),
    *_norm(f'{_OURS}/feed_forward_norm', f'{_THEIRS}.output.LayerNorm'),
)
NEXT_SENTENCE = (
    *_linear('pooler', 'bert.pooler.dense', 'DD'),
    *_linear('nsp_head', 'cls.seq_relationship', 'CD'),
)
# Saved twice by some versions: the second name, and the one that it repeats.
TIED = {
    'cls.predictions.decoder.weight': 'bert.embeddings.word_embeddings.weight',
    'cls.predictions.decoder.bias': 'cls.predictions.bias',
}
# A buffer that some versions save: 0, 1, 2, ...
IGNORED = ('bert.embeddings.position_ids',)


def table(
    config: EncoderConfig, next_sentence: bool
) -> Iterator[tuple[str, str, str, str]]:
  """Yields (our path, their name, their shape, layout) of every parameter."""
  yield from OUTSIDE_LAYERS
  for index in range(config.layers):
    for ours, theirs, shape, layout in IN_EVERY_LAYER:
      yield ours.format(index), theirs.format(index), shape, layout
  if next_sentence:
    yield from NEXT_SENTENCE


def to_huggingface(
    params: Params, config: EncoderConfig
) -> dict[str, np.ndarray]:
  """Renames parameters, or their gradients, and lays them out as tensors.

  Args:
    params: nested by name, unboxed; with or without the next-sentence head.
    config: of the model.

  Returns:
    Tensors by name, dtypes kept; what is tied stands once.

  Raises:
    UserError: parameters of another model.
  """
  flat = dict(_flatten(params))
  rows = tuple(table(config, next_sentence='nsp_head' in params))
  _refuse_difference({ours for ours, *_ in rows}, set(flat))
  return {
      theirs: LAYOUTS[layout].to_theirs(np.asarray(flat[ours]), config)
      for ours, theirs, _, layout in rows
  }


def from_huggingface(
    tensors: Mapping[str, np.ndarray],
    config: EncoderConfig,
    next_sentence: bool = True,
) -> Params:
  """Renames tensors and lays them out as our parameters.

  Args:
    tensors: by name, as `BertForPreTraining` has them.
    config: of the model.
    next_sentence: False leaves the pooler and the next-sentence head out.

  Returns:
    Parameters nested by name, dtypes kept.

  Raises:
    UserError: tensors missing or unknown, shapes of another model, or a
      decoder that is not tied.
  """
  rows = tuple(table(config, next_sentence))
  optional = {*TIED, *IGNORED}
  if not next_sentence:
    optional.update(theirs for _, theirs, *_ in NEXT_SENTENCE)
  _refuse_difference({theirs for _, theirs, *_ in rows},
                     set(tensors) - optional)
  for copy, original in TIED.items():
    if copy in tensors and not np.array_equal(
        tensors[copy], tensors[original]):
      raise UserError(f'expected {copy} to equal {original}, got an untied '
                      'decoder; choose another checkpoint')
  sizes = _sizes(config)
  params: Params = {}
  for ours, theirs, shape, layout in rows:
    tensor = np.asarray(tensors[theirs])
    expected = tuple(sizes[letter] for letter in shape)
    if tensor.shape != expected:
      raise UserError(f'expected {theirs} of shape {expected}, got '
                      f'{tensor.shape}; set EncoderConfig to the sizes of the '
                      'checkpoint')
    *modules, leaf = ours.split('/')
    inner = functools.reduce(
        lambda node, name: node.setdefault(name, {}), modules, params)
    inner[leaf] = LAYOUTS[layout].to_ours(tensor, config)
  return params


def _sizes(config: EncoderConfig) -> dict[str, int]:
  return {
      'V': config.vocabulary_size,
      'D': config.width,
      'F': config.feed_forward,
      'L': config.positions,
      'T': config.types,
      'C': 2,
  }


def _flatten(params: Params, prefix: str = '') -> Iterator[tuple[str, object]]:
  for name, value in params.items():
    if isinstance(value, Mapping):
      yield from _flatten(value, f'{prefix}{name}/')
    else:
      yield f'{prefix}{name}', value


def _refuse_difference(expected: set[str], got: set[str]) -> None:
  if expected == got:
    return
  missing, unknown = sorted(expected - got), sorted(got - expected)
  raise UserError(
      f'expected the weights of a BertForPreTraining, got {len(missing)} '
      f'missing ({", ".join(missing[:5])}) and {len(unknown)} unknown '
      f'({", ".join(unknown[:5])}); set EncoderConfig and next_sentence to '
      'what the checkpoint holds')
