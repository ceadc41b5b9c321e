"""Floating-point operations of an instruction of a TPU program.

    >>> entry = hlo.parse('''ENTRY %f (a: f32[2,3], b: f32[3,4]) -> f32[2,4] {
    ...   %a = f32[2,3]{1,0} parameter(0)
    ...   %b = f32[3,4]{1,0} parameter(1)
    ...   ROOT %c = f32[2,4]{1,0} dot(%a, %b), lhs_contracting_dims={1}
    ... }''')
    >>> of_product(entry.root)  # 2 x 2 x 3 x 4
    48

Source of the count of a convolution: XLA's `HloCostAnalysis`.
"""

import math
import re

import numpy as np

from bertjax.plan import hlo

_WINDOW = {'stride': 1, 'pad': 0, 'lhs_dilate': 1, 'rhs_dilate': 1}


def of_product(instruction: hlo.Instruction) -> int:
  """Returns 2 for each multiply-add of a dot or convolution.

  XLA's TPU compiler writes every matrix product as a convolution. It turns
  batch dimensions into spatial ones, kept apart by padding and dilation, so
  only products with a real element count.
  """
  left, right = (i.arrays[0].dimensions for i in instruction.operands[:2])
  result = instruction.arrays[0].dimensions
  found = instruction.found
  if instruction.opcode == 'dot':
    axes = re.findall(r'\d+', found(r'lhs_contracting_dims=\{([\d,]*)\}'))
    return 2 * math.prod((*result, *(left[int(axis)] for axis in axes)))
  labels = re.split('_|->', found(r'dim_labels=(\w+_\w+->\w+)'))
  # The kernel's 'i' is the features of one group.
  count = (
    left[labels[0].index('b')]
    // int(found(r'batch_group_count=(\d+)', '1'))
    * right[labels[1].index('i')]
    * result[labels[2].index('f')]
  )
  window = dict(re.findall(r'(\w+)=(\S+)', found(r'window=\{([^}]*)\}')))
  for axis in range(len(labels[0]) - 2):
    inputs, kernel, outputs = (
      sizes[label.index(str(axis))]
      for sizes, label in zip((left, right, result), labels, strict=True)
    )
    # An axis' stride, low padding, and dilation of input and kernel.
    stride, padding, input_dilation, kernel_dilation = (
      int(window[name].split('x')[axis].split('_')[0])
      if name in window
      else default
      for name, default in _WINDOW.items()
    )
    # The place in the input that each pair of an output and kernel meets.
    place = np.arange(outputs)[:, None] * stride - padding
    place = place + np.arange(kernel) * kernel_dilation
    meets = (place % input_dilation == 0) & (0 <= place)
    meets &= place <= (inputs - 1) * input_dilation
    count *= int(meets.sum())
  return 2 * count


def is_pallas(instruction: hlo.Instruction) -> bool:
  """Whether an instruction calls a kernel written in Pallas."""
  return 'custom_call_target="tpu_custom_call"' in instruction.attributes


def of_pallas(instruction: hlo.Instruction) -> int | None:
  """Returns the FLOPs of a Pallas kernel, or None if they are unknown.

  Those of jax's flash and splash attention follow from their kind and shapes.
  Each head has products of L x M x K: 2 forward (scores, context), 3 for the
  gradient of the query (scores again, weights, query), 4 for those of key and
  value, 5 for all three at once; see `_pairs_of_grid` for blocks that are left
  out. Other kernels count what their own cost estimate says.
  """
  if not re.search('flash|splash', instruction.name):
    said = instruction.found(r'"cost_estimate":\{"flops":"(\d+)"')
    return int(said) if said else None
  query, key = [
    array.dimensions
    for operand in instruction.operands
    for array in operand.arrays
    if len(array.dimensions) > 2 and array.dtype in ('bf16', 'f16', 'f32')
  ][:2]
  # The rest of the results is for one block. One row has no dimension of rows.
  rank = len(query)
  gradients = [a for a in instruction.arrays if len(a.dimensions) >= rank]
  # The features are last in the results, but not in every operand.
  features = gradients[0].dimensions[-1] if gradients else key[-1]
  keys = key[-1] * key[-2] // features
  products = 3 if 'dq' in instruction.name else 2
  if 'dkv' in instruction.name:
    products = 5 if len(gradients) > 2 else 4
  queries = query[-1] * query[-2] // features
  pairs = _pairs_of_grid(instruction) or queries * keys
  return 2 * products * math.prod(query) // queries * pairs


def _pairs_of_grid(instruction: hlo.Instruction) -> int | None:
  """Returns how many pairs of positions splash attention multiplies in a row.

  Its grid leaves out the blocks that a mask forbids, where it can: the first
  operand says for each step which block comes next, and the sizes of blocks
  stand in the metadata. Steps at the ends of a row that do nothing count, and
  so do those of a kernel for all gradients, which leaves out none.

  Returns:
    None: there is no mask, or nothing is known of it.
  """
  first = instruction.operands[0].arrays[0]
  suffix = re.search('dkv|dq', instruction.name)
  sides = [
    instruction.found(
      rf'block_{side}{suffix and "_" + suffix[0] or ""}\W+(\d+)'
    )
    for side in ('q', 'kv')
  ]
  if first.dtype not in ('s8', 's16', 's32') or not all(sides):
    return None
  return math.prod(first.dimensions) * int(sides[0]) * int(sides[1])
