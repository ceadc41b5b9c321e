"""Bytes that an instruction of a TPU program moves.

    hlo_bytes.of_memory(module, computation, instruction)
    hlo_bytes.of_collective(computation, instruction)

Without the padding of layouts. Source: ours; what a fusion reads of an operand
is as in XLA's `HloCostAnalysis`.
"""

import re

from bertjax.plan import hlo

# These name values, or wait for them, and move nothing themselves.
_MOVES_NOTHING = {
  'parameter',
  'constant',
  'tuple',
  'get-tuple-element',
  'bitcast',
  'while',
  'call',
  'conditional',
  'after-all',
  'partition-id',
  'replica-id',
  'opt-barrier',
  'async-start',
  'async-update',
  'async-done',
}
_TARGETS_THAT_MOVE_NOTHING = {
  'AllocateBuffer',
  'ConcatBitcast',
  'SliceBitcast',
  'AssumeGatherIndicesInBound',
  'Sharding',
}


def of_collective(
  computation: hlo.Computation, instruction: hlo.Instruction
) -> int:
  """Returns the bytes of the whole arrays that it reduces, gathers, sends."""
  given = sum(
    array.bytes
    for name in instruction.operands
    for array in computation.instructions[name].arrays
  )
  made = sum(array.bytes for array in instruction.arrays)
  if instruction.opcode.endswith('-start') and len(instruction.arrays) > 1:
    made -= given  # the result of a start holds its operands as well
  return max(given, made)


def of_memory(
  module: hlo.Module,
  computation: hlo.Computation,
  instruction: hlo.Instruction,
) -> int:
  """Returns what one execution reads from and writes to the main memory.

  Operands and results in on-chip memory do not count, nor does what only names
  other values. Of a slice counts what is taken, of an update in place what is
  updated; copies that start here and end elsewhere count here.
  """
  opcode = instruction.opcode
  target = re.search(r'custom_call_target="(\w+)"', instruction.attributes)
  if (
    opcode in _MOVES_NOTHING
    or opcode.endswith('-done')
    or (target and target[1] in _TARGETS_THAT_MOVE_NOTHING)
  ):
    return 0
  if opcode in ('copy-start', 'slice-start'):
    # Results: what is made and what it is made of, in this order or the other.
    made, source = instruction.arrays[:2][:: -1 if 'slice' in opcode else 1]
    return made.bytes * ((made.space == 0) + (source.space == 0))
  read = 0
  for number, name in enumerate(instruction.operands):
    arrays = computation.instructions[name].arrays
    whole = sum(array.bytes for array in arrays if array.space == 0)
    read += min(whole, _bytes_of_use(module, instruction, number, whole))
  return read + _bytes_written(module, computation, instruction)


def _bytes_used(module, computation, value, whole) -> int:
  """Returns how much of a value of `whole` bytes its users in a fusion read."""
  if value.name == computation.root.name:
    return whole
  used = 0
  for user in computation.instructions.values():
    for number, name in enumerate(user.operands):
      if name == value.name:
        if _only_renames(module, user):
          used += _bytes_used(module, computation, user, whole)
        else:
          used += _bytes_of_use(module, user, number, whole)
      if used >= whole:
        return whole
  return used


def _only_renames(module, instruction) -> bool:
  """Whether it is a bitcast, or a fusion of nothing but one."""
  if instruction.opcode == 'fusion':
    inside = module.computations[instruction.called('calls')].instructions
    return all(i.opcode in ('parameter', 'bitcast') for i in inside.values())
  return instruction.opcode == 'bitcast'


def _bytes_of_use(module, user, number, whole) -> int:
  """Returns how much of operand `number` one instruction reads."""
  if number == 0 and user.opcode in ('dynamic-slice', 'slice', 'gather'):
    return user.arrays[0].bytes
  if number == 0 and user.opcode == 'dynamic-update-slice':
    return 0  # in place
  if user.opcode == 'fusion':
    inside = module.computations[user.called('calls')]
    return _bytes_used(module, inside, inside.parameter(number), whole)
  return whole


def _bytes_written(module, computation, instruction) -> int:
  """Returns the bytes of the results; of an update in place, those updated."""
  arrays = instruction.arrays
  if instruction.opcode.endswith('-start'):
    operands = sum(
      len(computation.instructions[name].arrays)
      for name in instruction.operands
    )
    arrays = arrays[operands:] if len(arrays) > operands else arrays
  roots = _roots(module, computation, instruction)
  if len(roots) != len(arrays):
    roots = [None] * len(arrays)
  return sum(
    array.bytes if root is None else root
    for array, root in zip(arrays, roots, strict=True)
    if array.space == 0
  )


def _roots(module, computation, instruction) -> list[int | None]:
  """Returns for each result the bytes of its update, or None: all of it."""
  if instruction.opcode == 'fusion':
    inside = module.computations[instruction.called('calls')]
    return _roots(module, inside, inside.root)
  if instruction.opcode == 'tuple':
    return [
      root
      for name in instruction.operands
      for root in _roots(module, computation, computation.instructions[name])
    ]
  if instruction.opcode == 'bitcast':
    return _roots(
      module, computation, computation.instructions[instruction.operands[0]]
    )
  if instruction.opcode == 'dynamic-update-slice':
    update = computation.instructions[instruction.operands[1]]
    return [update.arrays[0].bytes]
  return [None] * len(instruction.arrays)
