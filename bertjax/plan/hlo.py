"""The text of an optimised HLO module, as computations and instructions.

    >>> entry = parse('''ENTRY %main (a: f32[2,3]) -> f32[2,3] {
    ...   %a = f32[2,3]{1,0} parameter(0)
    ...   ROOT %b = f32[2,3]{1,0} add(%a, %a)
    ... }''')
    >>> for execution in entry.executions():
    ...   execution.instruction.opcode, execution.times, execution.fused
    ('parameter', 1, False)
    ('add', 1, False)

Reads only what `bertjax.plan.compiled` counts: jax's own analysis of a program
counts the body of a loop once. Source of the format: XLA's
`HloInstruction::ToString`, which prints operands before their users.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Iterator
from typing import NamedTuple

_BITS = {'pred': 8, 'token': 0, 'opaque': 0, 'bf16': 16}
_ARRAY = re.compile(r'\b([a-z]+\d*[a-z0-9]*)\[([\d,<=]*)\](\{[^{}]*\})?')
_NAME = re.compile(r'%([\w.\-]+)')
# The metadata of a Pallas kernel has several lines.
_STARTS = re.compile(r'\n(?=\n|\s+(?:ROOT )?%?[\w.\-]+ = )')
_HEADER = re.compile(r'\s*(ENTRY )?%?([\w.\-]+) \(.*\{$')
_INSTRUCTION = re.compile(
  r'\s+(ROOT )?%?([\w.\-]+) = (.*?) ([a-z][\w\-]*)'
  r'\((?P<literal>.*?)\)(?=,|\n|$)(.*)',
  re.DOTALL,
)
# Of several branches the first, as if it were taken.
_INSIDE = (
  r'(?:calls|to_apply|body|true_computation|branch_computations)'
  r'=\{?%?([\w.\-]+)'
)
_RUN = ('while', 'fusion', 'call', 'async-start', 'conditional')


class Array(NamedTuple):
  """The type of an array.

  Attributes:
    dtype: HLO's name, such as 'bf16'.
    dimensions: sizes.
    space: 0 for the device's main memory, 1 for a TPU's on-chip VMEM.
  """

  dtype: str
  dimensions: tuple[int, ...]
  space: int

  @property
  def bytes(self) -> int:
    """The size without the padding of the layout."""
    digits = re.findall(r'\d+', self.dtype)
    bits = _BITS.get(self.dtype, int((digits or [8])[0]))
    return math.prod(self.dimensions) * bits // 8


@dataclasses.dataclass(eq=False, repr=False)
class Instruction:
  """One line.

  Attributes:
    operands: of the same computation.
    computations: those of the module, by name.
    users: (instruction, number of its operand) for each use of the result.
    root: 'ROOT ' if the result is the computation's.
    name: unique in its module.
    types: text of the result's.
    opcode: such as 'fusion'.
    literal: the text between the parentheses.
    attributes: the rest of the line.
  """

  operands: list['Instruction']
  computations: dict[str, 'Computation']
  users: list[tuple['Instruction', int]]
  root: str | None
  name: str
  types: str
  opcode: str
  literal: str
  attributes: str

  @functools.cached_property
  def arrays(self) -> list[Array]:
    """Types of the result, or of the elements of a tuple, flattened."""
    return [
      Array(
        dtype,
        tuple(map(int, re.findall(r'\d+', sizes))),
        int((re.findall(r'S\((\d+)\)', layout) or '0')[0]),
      )
      for dtype, sizes, layout in _ARRAY.findall(self.types)
    ]

  @property
  def inside(self) -> 'Computation':
    """The computation that a fusion, a loop or a call runs."""
    return self.computations[self.found(_INSIDE)]

  def found(self, pattern: str, default: str = '') -> str:
    """Returns the first group of a pattern in the attributes."""
    match = re.search(pattern, self.attributes)
    return match[1] if match else default

  def turns(self) -> int | None:
    """Returns how often it runs what is inside; None: a loop, unknown.

    For a `while` this is XLA's `known_trip_count`, or, since TPU programs lack
    it, what follows from a condition `counter < constant` on a counter that
    grows by one.
    """
    if self.opcode != 'while':
      return 1
    if known := self.found(r'known_trip_count":?=?\{"?n"?[:=]"?(\d+)'):
      return int(known)
    less = self.computations[self.found(r'condition=%?([\w.\-]+)')].root
    chain = (less, *less.operands, self.operands[0])
    opcodes = ' '.join(i.opcode for i in chain)
    if opcodes != 'compare get-tuple-element constant tuple':
      return None
    _, counter, bound, first = chain
    start = first.operands[int(counter.found(r'index=(\d+)'))]
    while start.opcode in ('copy', 'bitcast'):
      start = start.operands[0]
    if start.opcode != 'constant' or 'direction=LT' not in less.attributes:
      return None
    return max(0, int(bound.literal) - int(start.literal))


class Execution(NamedTuple):
  """An instruction, and where and how often a run of the module executes it.

  Attributes:
    computation: name of the one that contains the instruction.
    times: product of the trip counts of the loops around it; a loop of unknown
      trip count counts once.
    fused: whether it is part of a fusion and so touches no memory.
  """

  instruction: Instruction
  computation: str
  times: int
  fused: bool


@dataclasses.dataclass(eq=False, repr=False)
class Computation:
  """Instructions by name, in order."""

  name: str
  instructions: dict[str, Instruction]

  @property
  def root(self) -> Instruction:
    return next(i for i in self.instructions.values() if i.root)

  def parameter(self, number: int) -> Instruction:
    """Returns parameter `number`."""
    wanted = ('parameter', str(number))
    instructions = self.instructions.values()
    return next(i for i in instructions if (i.opcode, i.literal) == wanted)

  def executions(
    self, times: int = 1, fused: bool = False
  ) -> Iterator[Execution]:
    """Yields all that it executes, within loops and fusions too."""
    for instruction in self.instructions.values():
      yield Execution(instruction, self.name, times, fused)
      if instruction.opcode in _RUN:
        turns = instruction.turns()
        yield from instruction.inside.executions(
          times * (1 if turns is None else turns),
          fused or instruction.opcode == 'fusion',
        )


def parse(text: str) -> Computation:
  """Returns the entry of a module, from `jax.stages.Compiled.as_text()`.

  Raises:
    ValueError: it has no entry computation.
  """
  computations: dict[str, Computation] = {}
  entry = None
  for piece in _STARTS.split(text):
    if header := _HEADER.match(piece):
      current = computations[header[2]] = Computation(header[2], {})
      entry = current if header[1] else entry
    elif found := _INSTRUCTION.match(piece):
      known = current.instructions
      operands = [known[name] for name in _NAME.findall(found['literal'])]
      instruction = Instruction(operands, computations, [], *found.groups())
      for number, operand in enumerate(operands):
        operand.users.append((instruction, number))
      known[instruction.name] = instruction
  if entry is None:
    raise ValueError('expected the text of an HLO module, found no ENTRY')
  return entry
