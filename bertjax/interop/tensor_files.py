"""Tensors of a Hugging Face directory.

    tensors = tensor_files.read('bert-base-uncased')
    tensors = tensor_files.canonical(tensors, 'bert.')
    tensors['bert.pooler.dense.weight']  # [768, 768]
    tensor_files.write('out', tensors)

Reads one `model.safetensors`, or shards with an index; `canonical` gives names
as transformers writes them today. Source: safetensors.
"""

import contextlib
import os
import re
import shlex
from collections.abc import Mapping

import ml_dtypes  # noqa: F401  safetensors finds numpy's bfloat16 through it
import numpy as np
import safetensors.numpy

from bertjax.errors import UserError
from bertjax.interop import absent_model
from bertjax.text import whole_files

FILE = 'model.safetensors'
INDEX = 'model.safetensors.index.json'
# What encoders' tensors are called in a file without a head.
_OF_ENCODERS = ('embeddings.', 'encoder.', 'layers.', 'final_norm.', 'pooler.')


def read(directory: str) -> dict[str, np.ndarray]:
  """Returns all tensors by the names that they have there.

  Raises:
    UserError: no such directory, no safetensors in it, or a damaged file.
  """
  tensors: dict[str, np.ndarray] = {}
  for path in _files(directory):
    try:
      tensors |= safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
      raise UserError(
        f'expected tensors in {path}, got {error}; it is missing, cut off or '
        'damaged, fetch it again'
      ) from error
    except AttributeError as error:  # numpy has no such dtype
      raise UserError(
        f'expected tensors in {path} that numpy can hold, got one of {error}; '
        'set MODEL or INIT_FROM to a checkpoint that is not quantized'
      ) from error
  return tensors


def write(directory: str, tensors: Mapping[str, np.ndarray]) -> None:
  """Writes one `model.safetensors`.

  Raises:
    OSError: the file system refuses, for example because the disk is full.
  """
  path = os.path.join(directory, FILE)
  with open(path, 'wb') as file:  # with the mode that the umask gives
    mode = os.fstat(file.fileno()).st_mode
  try:
    safetensors.numpy.save_file(
      {name: np.ascontiguousarray(t) for name, t in tensors.items()},
      path,
      metadata={'format': 'pt'},
    )
    os.chmod(path, mode)  # safetensors makes a new file, for the owner alone
  except safetensors.SafetensorError as error:
    raise OSError(str(error)) from error


def canonical(
  tensors: Mapping[str, np.ndarray], base: str
) -> dict[str, np.ndarray]:
  """Returns tensors by the names that transformers gives them today.

      >>> tensor = np.zeros(2)
      >>> [*canonical({'embeddings.LayerNorm.gamma': tensor}, 'bert.')]
      ['bert.embeddings.LayerNorm.weight']

  With the prefix `base`, and with weight and bias in norms, which the first
  BERT called gamma and beta.
  """
  has_base = any(name.startswith(base) for name in tensors)
  found = {}
  for name, tensor in tensors.items():
    module, _, leaf = name.rpartition('.')
    if module.endswith('LayerNorm'):
      leaf = {'gamma': 'weight', 'beta': 'bias'}.get(leaf, leaf)
      name = f'{module}.{leaf}'
    if not has_base and name.startswith(_OF_ENCODERS):
      name = base + name
    found[name] = tensor
  return found


def _files(directory: str) -> list[str]:
  if not os.path.isdir(directory):
    raise absent_model.refusal(directory)
  there = sorted(os.listdir(directory))
  if FILE in there:
    return [os.path.join(directory, FILE)]
  if INDEX in there:
    index = os.path.join(directory, INDEX)
    content = whole_files.read_object(index, 'fetch it again') or {}
    form = {'weight_map': dict[str, str]}
    whole_files.check(content, form, index, 'fetch it again')
    shards = set(content['weight_map'].values())
    for name in shards:
      if not re.fullmatch(r'[\w.-]+\.safetensors', str(name)):
        raise UserError(
          f'expected names of safetensors files beside it in {index}, got '
          f'{name!r}; fetch it again'
        )
    return [os.path.join(directory, name) for name in sorted(shards)]
  if any(name.endswith(('.bin', '.pt', '.pth')) for name in there):
    raise UserError(
      f'{directory} has its weights as a pickle, which can run any code and '
      f'is not opened; if you trust it, run {_conversion(directory)} and '
      'use the directory that it makes'
    )
  raise UserError(
    f'expected {FILE} in {directory}, which holds '
    f'{", ".join(there[:8]) or "nothing"}; put it there, or point MODEL or '
    'INIT_FROM elsewhere'
  )


def _conversion(directory: str) -> str:
  """Returns a command that saves a directory again as safetensors."""
  name = ''
  with contextlib.suppress(UserError, LookupError, TypeError):
    content = whole_files.read_object(f'{directory}/config.json', '') or {}
    name = str(content['architectures'][0])
  if not name.isidentifier():  # the user will run it as code
    name = 'AutoModelForPreTraining'
  there, output = repr(directory), repr(directory.rstrip('/') + '-safetensors')
  code = (
    'import transformers as t; '
    f't.{name}.from_pretrained({there}).save_pretrained({output}); '
    f't.AutoTokenizer.from_pretrained({there}).save_pretrained({output})'
  )
  return f'python -c {shlex.quote(code)}'
