import pytest

from bertjax.plan import hlo, hlo_bytes

# One fusion of each kind; S(1) is on-chip memory. Written by hand.
TEXT = """%takes (p: f32[5,8], i: s32[]) -> f32[1,8] {
  %p = f32[5,8]{1,0} parameter(0)
  %i = s32[] parameter(1)
  %z = s32[] constant(0)
  %bitcast.1 = f32[5,8,1]{2,1,0} bitcast(%p)
  ROOT %s = f32[1,8,1]{2,1,0} dynamic-slice(%bitcast.1, %i, %z, %z), dynamic_slice_sizes={1,8,1}
}

%updates (q: f32[5,8], u: f32[1,8], j: s32[]) -> f32[5,8] {
  %q = f32[5,8]{1,0} parameter(0)
  %u = f32[1,8]{1,0} parameter(1)
  %j = s32[] parameter(2)
  %z.1 = s32[] constant(0)
  ROOT %d = f32[5,8]{1,0} dynamic-update-slice(%q, %u, %j, %z.1)
}

%adds (a.1: f32[5,8], b.1: f32[5,8]) -> f32[5,8] {
  %a.1 = f32[5,8]{1,0} parameter(0)
  %b.1 = f32[5,8]{1,0} parameter(1)
  ROOT %e = f32[5,8]{1,0} add(%a.1, %b.1)
}

%renames (r: f32[5,8]) -> f32[5,8,1] {
  %r = f32[5,8]{1,0} parameter(0)
  ROOT %bitcast.2 = f32[5,8,1]{2,1,0} bitcast(%r)
}

%nests (n: f32[5,8]) -> f32[5,8,1] {
  %n = f32[5,8]{1,0} parameter(0)
  %renamed = f32[5,8,1]{2,1,0} fusion(%n), kind=kLoop, calls=%renames
  ROOT %neg = f32[5,8,1]{2,1,0} negate(%renamed)
}

ENTRY %main (a: f32[5,8], b: f32[1,8], k: s32[]) -> f32[5,8] {
  %a = f32[5,8]{1,0} parameter(0)
  %b = f32[1,8]{1,0} parameter(1)
  %k = s32[]{:S(6)} parameter(2)
  %near = f32[5,8]{1,0:T(8,128)S(1)} copy(%a)
  %taken = f32[1,8]{1,0} fusion(%a, %k), kind=kLoop, calls=%takes
  %updated = f32[5,8]{1,0} fusion(%a, %b, %k), kind=kLoop, calls=%updates
  %added = f32[5,8]{1,0:S(1)} fusion(%a, %near), kind=kLoop, calls=%adds
  %far = f32[5,8]{1,0} fusion(%near, %added), kind=kLoop, calls=%adds
  %nested = f32[5,8,1]{2,1,0:S(1)} fusion(%a), kind=kLoop, calls=%nests
  %copy-start = (f32[5,8]{1,0:S(1)}, f32[5,8]{1,0}, u32[]{:S(2)}) copy-start(%a)
  %copy-done = f32[5,8]{1,0:S(1)} copy-done(%copy-start)
  %slice-start = ((f32[5,8]{1,0}), f32[2,8]{1,0:S(1)}, s32[]{:S(2)}) slice-start(%a), slice={[0:2], [0:8]}
  %back = (f32[5,8]{1,0}, f32[5,8]{1,0:S(1)}, u32[]{:S(2)}) copy-start(%copy-done)
  %empty = f32[5,8]{1,0} custom-call(), custom_call_target="AllocateBuffer"
  %reduced = f32[5,8]{1,0} all-reduce(%near), to_apply=%adds
  %gather-start = (f32[1,8]{1,0}, f32[8,8]{1,0}) all-gather-start(%b), dimensions={0}
  %scattered = f32[1,8]{1,0} reduce-scatter(%empty), dimensions={0}, to_apply=%adds
  ROOT %tuple = (f32[5,8]{1,0}) tuple(%updated)
}
"""  # noqa: E501
ROW = 8 * 4
ALL = 5 * ROW


@pytest.mark.parametrize(
  'name, moved',
  [
    ('near', ALL),  # read only: written on the chip
    ('taken', ROW + ROW),  # a slice of the operand, and the result
    ('updated', ROW + ROW),  # the update, read and written in its place
    ('added', ALL),
    ('far', ALL),
    ('nested', ALL),
    ('copy-start', ALL),
    ('copy-done', 0),
    ('slice-start', 2 * ROW),
    ('back', ALL),
    ('empty', 0),
    ('tuple', 0),
    ('a', 0),
  ],
)
def test_bytes_of_the_main_memory(name, moved):
  instruction = hlo.parse(TEXT).instructions[name]
  assert hlo_bytes.of_memory(instruction) == moved


@pytest.mark.parametrize(
  'name, moved',
  [('reduced', ALL), ('gather-start', 8 * ROW), ('scattered', ALL)],
)
def test_a_collective_counts_whole_arrays(name, moved):
  instruction = hlo.parse(TEXT).instructions[name]
  assert hlo_bytes.of_collective(instruction) == moved
