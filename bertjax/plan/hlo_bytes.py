"""Bytes that an instruction of a TPU program moves.

    >>> module = hlo.parse('''ENTRY %main (a: f32[2,3]) -> f32[2,3] {
    ...   %a = f32[2,3]{1,0} parameter(0)
    ...   ROOT %b = f32[2,3]{1,0} all-reduce(%a), to_apply=%add
    ... }''')
    >>> of_memory(module, module.entry, module.entry.root)  # in and out
    48
    >>> of_collective(module.entry, module.entry.root)
    24

The padding of layouts does not count. Source of what a fusion reads of an
operand: XLA's `HloCostAnalysis`.
"""

import re

from bertjax.plan import hlo

# These only name values or wait for them.
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
  """Returns the bytes of the whole arrays that a collective works on."""
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
  """Returns the bytes that one execution reads and writes in main memory.

  Operands and results in on-chip memory do not count, nor do instructions that
  only name other values. A slice counts what it takes, an update in place what
  it updates, and an asynchronous copy counts at its start.
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
    # A copy returns (result, operand, ...), a slice (operand, result, ...).
    made, source = instruction.arrays[:2][:: -1 if 'slice' in opcode else 1]
    return made.bytes * ((made.space == 0) + (source.space == 0))
  read = 0
  for number, name in enumerate(instruction.operands):
    arrays = computation.instructions[name].arrays
    whole = sum(array.bytes for array in arrays if array.space == 0)
    read += min(whole, _bytes_of_use(module, instruction, number, whole))
  return read + _bytes_written(module, computation, instruction)


def _bytes_used(
  module: hlo.Module,
  computation: hlo.Computation,
  value: hlo.Instruction,
  whole: int,
) -> int:
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


def _only_renames(module: hlo.Module, instruction: hlo.Instruction) -> bool:
  """Whether it is a bitcast, or a fusion that consists of bitcasts."""
  if instruction.opcode == 'fusion':
    inside = module.inside(instruction).instructions
    return all(i.opcode in ('parameter', 'bitcast') for i in inside.values())
  return instruction.opcode == 'bitcast'


def _bytes_of_use(
  module: hlo.Module, user: hlo.Instruction, number: int, whole: int
) -> int:
  """Returns how many bytes of operand `number`, of `whole`, `user` reads."""
  if number == 0 and user.opcode in ('dynamic-slice', 'slice', 'gather'):
    return user.arrays[0].bytes
  if number == 0 and user.opcode == 'dynamic-update-slice':
    return 0  # in place
  if user.opcode == 'fusion':
    inside = module.inside(user)
    return _bytes_used(module, inside, inside.parameter(number), whole)
  return whole


def _bytes_written(
  module: hlo.Module,
  computation: hlo.Computation,
  instruction: hlo.Instruction,
) -> int:
  """Returns the bytes of the results, or those updated in place."""
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


def _roots(
  module: hlo.Module,
  computation: hlo.Computation,
  instruction: hlo.Instruction,
) -> list[int | None]:
  """Returns the bytes updated in each result; None: the whole is written."""
  if instruction.opcode == 'fusion':
    inside = module.inside(instruction)
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
