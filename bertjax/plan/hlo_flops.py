"""Floating-point operations of an instruction of a TPU program.

    >>> module = hlo.parse('''ENTRY %f (a: f32[2,3], b: f32[3,4]) -> f32[2,4] {
    ...   %a = f32[2,3]{1,0} parameter(0)
    ...   %b = f32[3,4]{1,0} parameter(1)
    ...   ROOT %c = f32[2,4]{1,0} dot(%a, %b), lhs_contracting_dims={1}
    ... }''')
    >>> of_product(module.entry, module.entry.root)  # 2 x 2 x 3 x 4
    48

Source of the count of a convolution: XLA's `HloCostAnalysis`.
"""

import functools
import math
import re

import numpy as np

from bertjax.plan import hlo


def of_product(
  computation: hlo.Computation, instruction: hlo.Instruction
) -> int:
  """Returns 2 for each multiply-add of a dot or convolution.

  XLA's TPU compiler writes every matrix product as a convolution. It turns
  batch dimensions into spatial ones, kept apart by padding and dilation, so
  only products with a real element count.
  """
  left, right = (
    computation.instructions[name].arrays[0].dimensions
    for name in instruction.operands[:2]
  )
  result = instruction.arrays[0].dimensions
  text = instruction.attributes
  if instruction.opcode == 'dot':
    contracted = _found(r'lhs_contracting_dims=\{([\d,]*)\}', text)
    sizes = [left[int(d)] for d in re.findall(r'\d+', contracted[1])]
    return 2 * math.prod(result) * math.prod(sizes)
  labels = _found(r'dim_labels=(\w+)_(\w+)->(\w+)', text)
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


def _found(pattern: str, text: str) -> re.Match[str]:
  found = re.search(pattern, text)
  assert found is not None, f'{pattern} is not in {text}'
  return found


def _window(text: str, axis: int) -> tuple[int, int, int, int]:
  """Returns an axis' stride, low padding, and dilation of input and kernel."""
  fields = dict(field.split('=') for field in text.split())

  def value(name: str, default: str) -> str:
    return fields[name].split('x')[axis] if name in fields else default

  return (
    int(value('stride', '1')),
    int(value('pad', '0_0').split('_')[0]),
    int(value('lhs_dilate', '1')),
    int(value('rhs_dilate', '1')),
  )


@functools.lru_cache
def _pairs(
  inputs: int, kernel: int, outputs: int, window: tuple[int, int, int, int]
) -> int:
  """Counts the pairs of output and kernel elements that meet an input."""
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
  """Whether an instruction calls a kernel written in Pallas."""
  return 'custom_call_target="tpu_custom_call"' in instruction.attributes


def of_pallas(
  computation: hlo.Computation, instruction: hlo.Instruction
) -> int | None:
  """Returns the FLOPs of a Pallas kernel, or None if they are unknown.

  Those of jax's flash and splash attention follow from their kind and shapes,
  as if no block were skipped. Each head has products of L x M x K: 2 forward
  (scores, context), 3 for the gradient of the query (scores again, weights,
  query), 4 for those of key and value, 5 for all three at once. Other kernels
  count what their own cost estimate says.
  """
  if re.search('flash|splash', instruction.name):
    query, key = [
      array.dimensions
      for name in instruction.operands
      for array in computation.instructions[name].arrays
      if len(array.dimensions) > 2 and array.dtype in ('bf16', 'f16', 'f32')
    ][:2]
    gradients = [a for a in instruction.arrays if len(a.dimensions) > 3]
    # The features are last in the results, but not in every operand.
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
