"""Bytes that an instruction of a TPU program moves.

    >>> entry = hlo.parse('''ENTRY %main (a: f32[2,3]) -> f32[2,3] {
    ...   %a = f32[2,3]{1,0} parameter(0)
    ...   ROOT %b = f32[2,3]{1,0} all-reduce(%a), to_apply=%add
    ... }''')
    >>> of_memory(entry.root)  # in and out
    48
    >>> of_collective(entry.root)
    24

The padding of layouts does not count. Source of what a fusion reads of an
operand: XLA's `HloCostAnalysis`.
"""

from bertjax.plan import hlo

# These only name values or wait for them.
_MOVE_NOTHING = frozenset(
  'parameter constant tuple get-tuple-element bitcast while call conditional '
  'after-all partition-id replica-id opt-barrier async-start async-update '
  # and these targets of a custom call
  'AllocateBuffer ConcatBitcast SliceBitcast AssumeGatherIndicesInBound '
  'Sharding'.split()
)


def of_collective(instruction: hlo.Instruction) -> int:
  """Returns the bytes of the whole arrays that a collective works on."""
  given = sum(
    a.bytes for operand in instruction.operands for a in operand.arrays
  )
  made = sum(array.bytes for array in instruction.arrays)
  if instruction.opcode.endswith('-start') and len(instruction.arrays) > 1:
    made -= given  # the result of a start holds its operands as well
  return max(given, made)


def of_memory(instruction: hlo.Instruction) -> int:
  """Returns the bytes that one execution reads and writes in main memory.

  Operands and results in on-chip memory do not count, nor do instructions that
  only name other values. A slice counts what it takes, an update in place what
  it updates, and an asynchronous copy counts at its start.
  """
  opcode = instruction.opcode
  target = instruction.found(r'custom_call_target="(\w+)"')
  if _MOVE_NOTHING & {opcode, target} or opcode.endswith('-done'):
    return 0
  if opcode in ('copy-start', 'slice-start'):
    # A copy returns (result, operand, ...), a slice (operand, result, ...).
    made = instruction.arrays['slice' in opcode]
    return made.bytes * sum(a.space == 0 for a in instruction.arrays[:2])
  moved = 0
  for number, operand in enumerate(instruction.operands):
    whole = sum(a.bytes for a in operand.arrays if a.space == 0)
    moved += min(whole, _read(instruction, number, whole))
  arrays = instruction.arrays
  written = _written(instruction)
  if opcode.endswith('-start'):
    given = sum(len(operand.arrays) for operand in instruction.operands)
    arrays = arrays[given:] or arrays
  if len(written) != len(arrays):
    written = [array.bytes for array in arrays]
  return moved + sum(
    size
    for array, size in zip(arrays, written, strict=True)
    if array.space == 0
  )


def _read(user: hlo.Instruction, number: int, whole: int) -> int:
  """Returns how many bytes of operand `number`, of `whole`, `user` reads."""
  if number == 0 and user.opcode in ('dynamic-slice', 'slice', 'gather'):
    return user.arrays[0].bytes
  if number == 0 and user.opcode == 'dynamic-update-slice':
    return 0  # in place
  if user.opcode == 'fusion':
    return _read_by_users(user.inside.parameter(number), whole)
  return whole


def _read_by_users(value: hlo.Instruction, whole: int) -> int:
  """Returns how much of a value of `whole` bytes its users in a fusion read."""
  if value.root:
    return whole
  return min(
    whole,
    sum(
      _read_by_users(user, whole)
      if _only_renames(user)
      else _read(user, number, whole)
      for user, number in value.users
    ),
  )


def _only_renames(instruction: hlo.Instruction) -> bool:
  """Whether it is a bitcast, or a fusion that consists of bitcasts."""
  if instruction.opcode == 'fusion':
    inside = instruction.inside.instructions.values()
    return all(i.opcode in ('parameter', 'bitcast') for i in inside)
  return instruction.opcode == 'bitcast'


def _written(instruction: hlo.Instruction) -> list[int]:
  """Returns the bytes of each result, or those updated in place."""
  operands = instruction.operands
  if instruction.opcode == 'fusion':
    return _written(instruction.inside.root)
  if instruction.opcode in ('tuple', 'bitcast'):
    return [size for operand in operands for size in _written(operand)]
  if instruction.opcode == 'dynamic-update-slice':
    return [operands[1].arrays[0].bytes]
  return [array.bytes for array in instruction.arrays]
