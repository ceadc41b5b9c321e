"""The text of an optimised HLO module, as computations and instructions.

    >>> module = parse('''ENTRY %main (a: f32[2,3]) -> f32[2,3] {
    ...   %a = f32[2,3]{1,0} parameter(0)
    ...   ROOT %b = f32[2,3]{1,0} add(%a, %a)
    ... }''')
    >>> for execution in module.executions():
    ...   execution.instruction.opcode, execution.times, execution.fused
    ('parameter', 1, False)
    ('add', 1, False)

Reads only what `bertjax.plan.compiled` counts. Source of the format: XLA's
`HloInstruction::ToString`.
"""

import dataclasses
import math
import re
from collections.abc import Iterator

_BITS = {'pred': 8, 'token': 0, 'opaque': 0, 'bf16': 16}
_ARRAY = re.compile(r'(\b[a-z]+\d*[a-z0-9]*)\[([\d,<=]*)\](\{[^{}]*\})?')
_NAME = re.compile(r'%([\w.\-]+)')
_HEADER = re.compile(r'(ENTRY )?%?([\w.\-]+) \(.*\{$')
_INSTRUCTION = re.compile(r'\s+(ROOT )?%?([\w.\-]+) = (.*)', re.DOTALL)
_CALLED = re.compile(r'(calls|to_apply|body|condition)=%?([\w.\-]+)')
_BRANCHES = re.compile(
  r'(?:branch_computations=\{([^}]*)\}'
  r'|true_computation=(%?[\w.\-]+), false_computation=(%?[\w.\-]+))'
)


@dataclasses.dataclass(frozen=True)
class Array:
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
    digits = re.search(r'\d+', self.dtype)
    bits = _BITS.get(self.dtype, int(digits[0]) if digits else 8)
    return math.prod(self.dimensions) * bits // 8


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One line.

  Attributes:
    name: unique in its module.
    opcode: such as 'fusion'.
    arrays: types of the result, or of the elements of a tuple, flattened.
    operands: names of instructions in the same computation.
    literal: the text between the parentheses.
    attributes: the rest of the line.
  """

  name: str
  opcode: str
  arrays: tuple[Array, ...]
  operands: tuple[str, ...]
  literal: str
  attributes: str

  def called(self, what: str) -> str | None:
    """Returns the computation named by 'calls', 'body' ..., if any."""
    return dict(_CALLED.findall(self.attributes)).get(what)

  def number(self, key: str) -> int | None:
    """Returns an integer of the backend_config, if it is there.

    That of 'estimated_cycles' in "estimated_cycles":"1829" is 1829.
    """
    found = re.search(rf'"{key}":"?(-?\d+)', self.attributes)
    return int(found[1]) if found else None


@dataclasses.dataclass
class Computation:
  """Instructions by name, in order; the root's result is the computation's."""

  name: str
  instructions: dict[str, Instruction]
  root_name: str = ''

  @property
  def root(self) -> Instruction:
    return self.instructions[self.root_name]

  def parameter(self, number: int) -> Instruction:
    """Returns parameter `number`."""
    return next(
      i
      for i in self.instructions.values()
      if i.opcode == 'parameter' and i.literal == str(number)
    )


@dataclasses.dataclass(frozen=True)
class Execution:
  """An instruction, and where and how often a run of the module executes it.

  Attributes:
    computation: contains the instruction.
    times: product of the trip counts of the loops around it.
    fused: whether it is part of a fusion and so touches no memory.
  """

  instruction: Instruction
  computation: Computation
  times: int
  fused: bool


@dataclasses.dataclass
class Module:
  """A module.

  Attributes:
    computations: by name.
    entry: the computation that runs.
    unknown_loops: names of the loops of unknown trip count, which count once;
      filled by `executions`.
  """

  computations: dict[str, Computation]
  entry: Computation
  unknown_loops: set[str] = dataclasses.field(default_factory=set)

  def executions(self) -> Iterator[Execution]:
    """Yields all that is executed, within loops and fusions too."""
    yield from self._walk(self.entry, 1, False)

  def inside(self, fusion: Instruction) -> Computation:
    """Returns the computation of a fusion."""
    return self.computations[fusion.called('calls') or '']

  def _walk(
    self, computation: Computation, times: int, fused: bool
  ) -> Iterator[Execution]:
    for instruction in computation.instructions.values():
      yield Execution(instruction, computation, times, fused)
      inside: list[str | None] = []
      repeated, is_fusion = times, fused
      if instruction.opcode == 'while':
        count = trip_count(self, computation, instruction)
        if count is None:
          self.unknown_loops.add(instruction.name)
        inside = [instruction.called('body')]
        repeated = times * (1 if count is None else count)
      elif instruction.opcode == 'fusion':
        inside, is_fusion = [instruction.called('calls')], True
      elif instruction.opcode in ('call', 'async-start'):
        inside = [instruction.called('to_apply') or instruction.called('calls')]
      elif instruction.opcode == 'conditional':
        inside += _branches(instruction)[:1]  # as if the first were taken
      for name in inside:
        if name in self.computations:
          yield from self._walk(self.computations[name], repeated, is_fusion)


def parse(text: str) -> Module:
  """Parses the text of `jax.stages.Compiled.as_text()`.

  Raises:
    ValueError: it has no entry computation.
  """
  computations: dict[str, Computation] = {}
  entry: Computation | None = None
  current: Computation | None = None
  lines: list[str] = []
  for line in text.splitlines():
    if _INSTRUCTION.match(line):
      lines.append(line)
    elif header := _HEADER.match(line):
      current = computations[header[2]] = Computation(header[2], {})
      entry = current if header[1] else entry
    elif line == '}' and current:
      _fill(current, lines)
      lines = []
    elif lines:
      lines[-1] += line  # the metadata of a Pallas kernel has several lines
  if entry is None:
    raise ValueError('expected the text of an HLO module, found no ENTRY')
  return Module(computations, entry)


def trip_count(
  module: Module, computation: Computation, loop: Instruction
) -> int | None:
  """Returns how often a `while` runs, or None if that is unknown.

  This is XLA's `known_trip_count`, or, since TPU programs lack it, what follows
  from a condition `counter < constant` on a counter that grows by one.
  """
  known = re.search(r'known_trip_count":?=?\{"?n"?[:=]"?(\d+)', loop.attributes)
  if known:
    return int(known[1])
  condition = module.computations[loop.called('condition') or '']
  root = condition.root
  if root.opcode != 'compare' or 'direction=LT' not in root.attributes:
    return None
  counter, bound = (condition.instructions[name] for name in root.operands)
  index = re.match(r', index=(\d+)', counter.attributes)
  if counter.opcode != 'get-tuple-element' or bound.opcode != 'constant':
    return None
  assert index is not None  # every get-tuple-element has one
  first = computation.instructions[loop.operands[0]]
  if first.opcode != 'tuple':
    return None
  start = _origin(computation, first.operands[int(index[1])])
  if start.opcode != 'constant':
    return None
  return max(0, int(bound.literal) - int(start.literal))


def _origin(computation: Computation, name: str) -> Instruction:
  """Returns the instruction that a value comes from, skipping copies."""
  instruction = computation.instructions[name]
  while instruction.opcode in ('copy', 'bitcast'):
    instruction = computation.instructions[instruction.operands[0]]
  return instruction


def _branches(instruction: Instruction) -> list[str]:
  found = _BRANCHES.search(instruction.attributes)
  names = ','.join(filter(None, found.groups())) if found else ''
  return [name.strip().removeprefix('%') for name in names.split(',')]


def _fill(computation: Computation, lines: list[str]) -> None:
  for line in lines:
    found = _INSTRUCTION.match(line)
    assert found is not None  # `parse` collects only such lines
    _, name, text = found.groups()
    computation.instructions[name] = _instruction(name, text)
    if found[1]:
      computation.root_name = name


def _instruction(name: str, text: str) -> Instruction:
  """Parses text such as 'f32[2]{0} add(%a, %b), metadata={...}'."""
  end = _closing(text, 0) if text.startswith('(') else text.index(' ')
  start = text.index('(', end)
  stop = _closing(text, start)
  literal = text[start + 1 : stop - 1]
  return Instruction(
    name=name,
    opcode=text[end:start].strip(),
    arrays=tuple(_arrays(text[:end])),
    operands=tuple(_NAME.findall(literal)),
    literal=literal,
    attributes=text[stop:],
  )


def _arrays(text: str) -> Iterator[Array]:
  for dtype, dimensions, layout in _ARRAY.findall(text):
    space = re.search(r'S\((\d+)\)', layout)
    sizes = re.findall(r'\d+', dimensions)
    yield Array(dtype, tuple(map(int, sizes)), int(space[1]) if space else 0)


def _closing(text: str, start: int) -> int:
  """Returns the index after the parenthesis that closes the one at `start`."""
  depth = 0
  for match in re.compile(r'[()]').finditer(text, start):
    depth += 1 if match[0] == '(' else -1
    if depth == 0:
      return match.end()
  raise ValueError(f'expected a closing parenthesis in {text[:80]!r}')
