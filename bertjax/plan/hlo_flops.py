"""Floating-point operations of instructions of a TPU program.

    hlo_flops.of_product(computation, instruction)    # convolution or dot
    hlo_flops.of_pallas(computation, instruction)

Source: ours; the count of a convolution is that of XLA's `HloCostAnalysis`.
"""

import functools
import math
import re

import numpy as np

from bertjax.plan import hlo


def of_product(
  computation: hlo.Computation, instruction: hlo.Instruction
) -> int:
  """Returns 2 for each multiplication and addition of a dot or convolution.

  XLA's TPU compiler writes every matrix product as a convolution, with batch
  dimensions as spatial ones that padding and dilation keep apart; only pairs
  that meet a real element count.
  """
  left, right = (
    computation.instructions[name].arrays[0].dimensions
    for name in instruction.operands[:2]
  )
  result = instruction.arrays[0].dimensions
  text = instruction.attributes
  if instruction.opcode == 'dot':
    contracted = re.search(r'lhs_contracting_dims=\{([\d,]*)\}', text)
    sizes = [left[int(d)] for d in re.findall(r'\d+', contracted[1])]
    return 2 * math.prod(result) * math.prod(sizes)
  labels = re.search(r'dim_labels=(\w+)_(\w+)->(\w+)', text)
  groups = re.search(r'batch_group_count=(\d+)', text)
  # The kernel's 'i' is the features of one group.
  count = (
    left[labels[1].index('b')]
    // (int(groups[1]) if groups else 1)
    * right[labels[2].index('i')]
    * result[labels[3].index('f')]
  )
  window = re.search(r'window=\{([^}]*)\}', text)
  for axis in range(len(labels[1]) - 2):
    label = str(axis)
    count *= _pairs(
      left[labels[1].index(label)],
      right[labels[2].index(label)],
      result[labels[3].index(label)],
      _window(window[1] if window else '', axis),
    )
  return 2 * count


def _window(text: str, axis: int) -> tuple[int, int, int, int]:
  """Returns stride, low padding, dilation of input and of kernel of an axis."""
  fields = dict(field.split('=') for field in text.split())

  def value(name, default):
    return fields[name].split('x')[axis] if name in fields else default

  return (
    int(value('stride', 1)),
    int(value('pad', '0_0').split('_')[0]),
    int(value('lhs_dilate', 1)),
    int(value('rhs_dilate', 1)),
  )


@functools.lru_cache
def _pairs(inputs: int, kernel: int, outputs: int, window) -> int:
  """Counts pairs of an output and a kernel element that meet an input."""
  stride, padding, input_dilation, kernel_dilation = window
  place = np.arange(outputs) * stride - padding
  return sum(
    int(
      np.count_nonzero(
        ((place + shift) % input_dilation == 0)
        & (place + shift >= 0)
        & (place + shift <= (inputs - 1) * input_dilation)
      )
    )
    for shift in range(0, kernel * kernel_dilation, kernel_dilation)
  )


def is_pallas(instruction: hlo.Instruction) -> bool:
  """Whether an instruction is a kernel written in Pallas."""
  return 'custom_call_target="tpu_custom_call"' in instruction.attributes


def of_pallas(
  computation: hlo.Computation, instruction: hlo.Instruction
) -> int | None:
  """Returns the FLOPs of a Pallas kernel, or None where nobody says.

  Those of jax's flash and splash attention follow from their kind and shapes,
  as if no block were skipped: products of L x M x K a head, of which the
  forward pass has 2 (scores, context), the gradient of the query 3 (scores
  again, weights, query), those of key and value 4, all three at once 5. Of
  others, what the kernel estimates of itself.
  """
  if re.search('flash|splash', instruction.name):
    query, key = [
      array.dimensions
      for name in instruction.operands
      for array in computation.instructions[name].arrays
      if len(array.dimensions) > 2 and array.dtype in ('bf16', 'f16', 'f32')
    ][:2]
    gradients = [a for a in instruction.arrays if len(a.dimensions) > 3]
    # Features are last in the results, but not always in what is read.
    features = gradients[0].dimensions[-1] if gradients else key[-1]
    keys = key[-1] * key[-2] // features
    products = 2
    if 'dkv' in instruction.name:
      products = 5 if len(gradients) > 2 else 4
    elif 'dq' in instruction.name:
      products = 3
    return 2 * products * math.prod(query) * keys
  said = re.search(r'"cost_estimate":\{"flops":"(\d+)"', instruction.attributes)
  return int(said[1]) if said else None
