"""Parameters of a large model from those of a smaller one.

    larger = tile(parameters, EncoderConfig(width=128, ...),
                  EncoderConfig(width=256, ...))

Each axis holds the smaller one in its middle, repeated to both sides; heads are
repeated whole; a layer comes from the one at the same depth. Source: Warner et
al. 2024 (arXiv:2412.13663), section 2.2, and `init_model_from_pretrained` of
AnswerDotAI/ModernBERT, after Phi-2 and Rae et al. 2021 (arXiv:2112.11446).

Deviation: features that are read several times count once in all, as in Chen et
al. 2016 (Net2Net, arXiv:1511.05641), so that a model whose width is multiplied
computes what it did; ModernBERT's outputs grow with the width. The copies weigh
1, 2, ... parts, for equal ones would learn the same (Wang et al. 2023, LEMON,
arXiv:2310.07999). A layer comes from the nearest with the same window, where
ModernBERT's may come from one with another.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import traverse_util
from flax.core import meta

from bertjax import batch
from bertjax.errors import UserError
from bertjax.models import bert, layer_patterns
from bertjax.models.config import EncoderConfig

# What may grow.
SIZES = ('width', 'layers', 'heads', 'feed_forward')
# Behind them stands the token table, whose columns are also the input's.
_BEFORE_TABLE = ('mlm_head/norm/', 'prediction_head/norm/')


def tile(
  parameters: Mapping[str, Any], there: EncoderConfig, here: EncoderConfig
) -> dict[str, Any]:
  """Returns the parameters of a model that is at least as large.

  Args:
    parameters: nested by name; the token table has the rows that `here` says.
      Heads that pretraining does not have are left out.
    there: their architecture.
    here: that of the result, which differs in `SIZES`; in the same sizes, the
      result is equal.

  Raises:
    UserError: `here` is smaller, or has heads of another width.
  """
  _check(there, here)
  flat = traverse_util.flatten_dict(dict(parameters), sep='/')
  sources = {name: name for name in flat if not name.startswith('encoder/lay')}
  for index, source in enumerate(_layers(there, here)):
    old, new = (f'encoder/layer_{i:02}/' for i in (source, index))
    sources |= {
      new + name.removeprefix(old): name
      for name in flat
      if name.startswith(old)
    }
  sizes = shapes(here)
  tiled = {}
  for name in [name for name in sources if name in sizes]:
    array = np.asarray(flat[sources[name]])
    tiled[name] = _tile(array, sizes[name])
    if name.endswith('/kernel') or name.startswith(_BEFORE_TABLE):
      share = _shares(len(array), len(tiled[name]))
      share = share.reshape(-1, *[1] * (array.ndim - 1))
      tiled[name] = tiled[name] * share.astype(array.dtype)
  return traverse_util.unflatten_dict(tiled, sep='/')


def shapes(config: EncoderConfig) -> dict[str, tuple[int, ...]]:
  """Returns the shape of each parameter that pretraining can have, by path."""
  # Other kernels refuse this length, and have the same parameters.
  plain = dataclasses.replace(config, attention_kernel='einsum')
  model = bert.BertForPreTraining(plain, noise_target='detection')
  made = jax.eval_shape(
    lambda example: model.init(jax.random.key(0), example, train=False),
    batch.shapes(1, 1, 1),
  )
  flat = traverse_util.flatten_dict(meta.unbox(made['params']), sep='/')
  return {name: leaf.shape for name, leaf in flat.items()}


def _check(there: EncoderConfig, here: EncoderConfig) -> None:
  for name in SIZES:
    least, got = getattr(there, name), getattr(here, name)
    if got < least:
      raise UserError(
        f'expected {name} of {least} or more, as INIT_FROM has, got {got}; set '
        f'EncoderConfig.{name}, or TILE to False'
      )
  if there.head_width != here.head_width:
    raise UserError(
      f'expected heads of width {there.head_width}, as in INIT_FROM, got '
      f'{here.head_width}; set EncoderConfig.heads to '
      f'EncoderConfig.width / {there.head_width}'
    )


def _layers(there: EncoderConfig, here: EncoderConfig) -> list[int]:
  """Returns from which layer each comes."""
  old = layer_patterns.specs(dataclasses.replace(here, layers=there.layers))
  found = []
  for index, spec in enumerate(layer_patterns.specs(here)):
    # The first one may lack a norm that all others have.
    fit = [i for i, x in enumerate(old) if x.norm_first == spec.norm_first]
    if not fit:
      raise UserError(
        f'expected 2 layers or more in INIT_FROM, whose first one has no norm, '
        f'got {there.layers}; set TILE to False, or INIT_FROM to another model'
      )
    fit = [i for i in fit if old[i] == spec] or fit
    place = index * len(old) / here.layers
    found.append(min(fit, key=lambda i: (abs(i - place), i)))
  return found


def _tile(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
  """Repeats an array along each axis, from its middle.

  >>> _tile(np.array([1, 2, 3]), (8,)).tolist()
  [2, 3, 1, 2, 3, 1, 2, 3]
  """
  for axis, (old, new) in enumerate(zip(array.shape, shape, strict=True)):
    array = array.take((np.arange(new) - (new - old) // 2) % old, axis)
  return array


def _shares(old: int, new: int) -> np.ndarray:
  """Returns what part of a feature each of its copies is, from `_tile`.

  >>> _shares(2, 5).round(2).tolist()
  [0.17, 0.33, 0.33, 0.67, 0.5]
  """
  place = np.arange(new)
  copies = (new - 1 - place % old) // old + 1
  return (place // old + 1) / (copies * (copies + 1) / 2)
