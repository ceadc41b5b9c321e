import pytest

from bertjax.plan import hlo

# ruff: noqa: E501
# Written by hand in the form of libtpu's: 3 turns of a loop that multiplies,
# and a fusion that takes one of 5 slices.
TEXT = """HloModule jit_f, is_scheduled=true

%fused (param_0: bf16[5,8,16], param_1: s32[]) -> bf16[1,8,16] {
  %param_0 = bf16[5,8,16]{2,1,0:T(8,128)(2,1)} parameter(0)
  %param_1 = s32[]{:T(128)S(6)} parameter(1)
  %zero = s32[]{:T(128)} constant(0)
  ROOT %dynamic-slice.1 = bf16[1,8,16]{2,1,0:T(8,128)(2,1)} dynamic-slice(%param_0, %param_1, %zero, %zero), dynamic_slice_sizes={1,8,16}
}

%body (param.1: (s32[], bf16[8,8], bf16[8,8])) -> (s32[], bf16[8,8], /*index=2*/bf16[8,8]) {
  %param.1 = (s32[]{:T(128)}, bf16[8,8]{1,0:T(8,128)S(1)}, /*index=2*/bf16[8,8]{1,0}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%param.1), index=0
  %one = s32[]{:T(128)} constant(1)
  %next = s32[]{:T(128)} add(%i, %one)
  %x = bf16[8,8]{1,0:T(8,128)S(1)} get-tuple-element(%param.1), index=1
  %w = bf16[8,8]{1,0} get-tuple-element(%param.1), index=2
  %y = bf16[8,8]{1,0:T(8,128)S(1)} convolution(%x, %w), dim_labels=bf_io->bf, backend_config={"window_config":{"estimated_cycles":"70"}}
  ROOT %tuple.1 = (s32[]{:T(128)}, bf16[8,8]{1,0:T(8,128)S(1)}, bf16[8,8]{1,0}) tuple(%next, %y, %w)
}

%condition (param.2: (s32[], bf16[8,8], bf16[8,8])) -> pred[] {
  %end = s32[]{:T(128)} constant(4)
  %param.2 = (s32[]{:T(128)}, bf16[8,8]{1,0:T(8,128)S(1)}, bf16[8,8]{1,0}) parameter(0)
  %j = s32[]{:T(128)} get-tuple-element(%param.2), index=0
  ROOT %less = pred[]{:T(512)} compare(%j, %end), direction=LT
}

ENTRY %main (a: bf16[8,8], b: bf16[8,8], c: bf16[5,8,16], d: s32[]) -> bf16[8,8] {
  %a = bf16[8,8]{1,0} parameter(0), metadata={op_name="state[\\'a\\']"}
  %b = bf16[8,8]{1,0} parameter(1)
  %c = bf16[5,8,16]{2,1,0} parameter(2)
  %d = s32[] parameter(3)
  %begin = s32[]{:T(128)} constant(1)
  %copy.1 = s32[]{:T(128)} copy(%begin)
  %copy-start.1 = (bf16[8,8]{1,0:T(8,128)S(1)}, bf16[8,8]{1,0}, u32[]{:S(2)}) copy-start(%a)
  %copy-done.1 = bf16[8,8]{1,0:T(8,128)S(1)} copy-done(%copy-start.1)
  %slice = bf16[1,8,16]{2,1,0:S(1)} fusion(%c, %d), kind=kLoop, calls=%fused, backend_config={"window_config":{"estimated_cycles":"5"}}
  %tuple.2 = (s32[]{:T(128)}, bf16[8,8]{1,0:T(8,128)S(1)}, bf16[8,8]{1,0}) tuple(%copy.1, %copy-done.1, %b)
  %while.1 = (s32[]{:T(128)}, bf16[8,8]{1,0:T(8,128)S(1)}, bf16[8,8]{1,0}) while(%tuple.2), condition=%condition, body=%body, metadata={op_name="jit(f)/while"}
  %kernel = bf16[8,8]{1,0} custom-call(%b), custom_call_target="tpu_custom_call", frontend_attributes={kernel_metadata={
"xprof_metadata":"{\\"block_q\\": 512}"
}}, metadata={op_name="jit(f)/pallas_call"}, backend_config={"custom_call_config":{"body":"AA==","cost_estimate":{"flops":"77"}}}
  %out = bf16[8,8]{1,0:T(8,128)S(1)} get-tuple-element(%while.1), index=1
  ROOT %all-reduce.1 = bf16[8,8]{1,0} all-reduce(%out), channel_id=1, replica_groups=[1,8]<=[8], to_apply=%fused
}
"""


def test_lines_come_apart_into_result_operands_and_attributes():
  entry = hlo.parse(TEXT)
  start = entry.instructions['copy-start.1']
  assert start.opcode == 'copy-start' and start.literal == '%a'
  assert start.operands == [entry.instructions['a']]
  assert start.users == [(entry.instructions['copy-done.1'], 0)]
  assert [(a.dtype, a.dimensions, a.space) for a in start.arrays] == [
    ('bf16', (8, 8), 1),
    ('bf16', (8, 8), 0),
    ('u32', (), 2),
  ]
  assert [a.bytes for a in start.arrays] == [128, 128, 4]
  assert entry.root.opcode == 'all-reduce'
  assert entry.parameter(2).name == 'c'
  assert entry.instructions['slice'].inside.name == 'fused'
  assert entry.instructions['slice'].found('cycles":"(.)') == '5'


def test_attributes_may_go_on_over_lines():
  kernel = hlo.parse(TEXT).instructions['kernel']
  assert kernel.found('"flops":"(..)') == '77'


def test_a_loop_runs_as_often_as_its_counter_says():
  entry = hlo.parse(TEXT)
  times = {e.instruction.name: e.times for e in entry.executions()}
  assert times['y'] == 3 and times['slice'] == 1  # from 1 up to below 4
  fused = {e.instruction.name: e.fused for e in entry.executions()}
  assert fused['dynamic-slice.1'] and not fused['y']


def test_what_xla_knows_of_a_loop_comes_first():
  text = TEXT.replace(
    'body=%body', 'body=%body, backend_config={"known_trip_count":{"n":"9"}}'
  )
  entry = hlo.parse(text)
  assert {e.instruction.name: e.times for e in entry.executions()}['y'] == 9


def test_a_loop_that_nobody_can_count_counts_once():
  entry = hlo.parse(TEXT.replace('direction=LT', 'direction=NE'))
  assert {e.instruction.name: e.times for e in entry.executions()}['y'] == 1
  assert entry.instructions['while.1'].turns() is None


@pytest.mark.parametrize(
  'dtype, size',
  [
    ('f32', 4),
    ('bf16', 2),
    ('pred', 1),
    ('s8', 1),
    ('u64', 8),
    ('f8e4m3fn', 1),
  ],
)
def test_types_have_their_sizes(dtype, size):
  assert hlo.Array(dtype, (3,), 0).bytes == 3 * size


def test_text_that_is_no_module_is_refused():
  with pytest.raises(ValueError, match='ENTRY'):
    hlo.parse('nothing')
