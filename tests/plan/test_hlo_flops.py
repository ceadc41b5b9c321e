import jax
import jax.numpy as jnp
import pytest

from bertjax.plan import hlo, hlo_flops


def count(left, right, result, attributes, opcode='convolution'):
  entry = hlo.parse(f"""ENTRY %main (a: f32[], b: f32[]) -> f32[] {{
  %a = {left} parameter(0)
  %b = {right} parameter(1)
  ROOT %c = {result} {opcode}(%a, %b), {attributes}
}}
""")
  return hlo_flops.of_product(entry.root)


# Each line is one that libtpu wrote for a BERT of width 256 with 4 heads of 64,
# 16 rows of 128.
@pytest.mark.parametrize(
  'left, right, result, attributes, flops',
  [
    (
      'bf16[16,256]{1,0}',
      'bf16[256,2]{1,0}',
      'bf16[16,2]{0,1}',
      'dim_labels=bf_io->bf',
      2 * 16 * 256 * 2,
    ),
    (
      'bf16[16,128,256]{2,1,0}',
      'bf16[256,1024,1]{1,0,2}',
      'bf16[16,128,1024]{2,1,0}',
      'window={size=1}, dim_labels=0bf_io0->0bf',
      2 * 16 * 128 * 256 * 1024,
    ),
    # Heads are a spatial dimension that padding slides the kernel over.
    (
      'bf16[16,128,256,1]{2,1,3,0}',
      'bf16[256,4,64,1]{3,2,1,0}',
      'bf16[16,128,4,64]{1,3,2,0}',
      'window={size=1x4 pad=0_0x3_3 rhs_reversal=0x1}, '
      'dim_labels=0bf1_i1o0->0b1f',
      2 * 16 * 128 * 256 * 256,
    ),
    # Attention scores: rows and heads kept apart by dilation.
    (
      'bf16[16,128,4,64]{1,3,2,0}',
      'bf16[16,128,4,64]{1,3,2,0}',
      'f32[16,4,128,128]{2,3,1,0}',
      'window={size=16x4 stride=15x3 lhs_dilate=16x4}, '
      'dim_labels=0b1f_0o1i->01bf',
      2 * 16 * 4 * 128 * 128 * 64,
    ),
  ],
)
def test_products_written_as_convolutions_have_those_of_the_product(
  left, right, result, attributes, flops
):
  assert count(left, right, result, attributes) == flops


def test_a_dot_has_those_of_the_product():
  assert (
    count(
      'f32[3,8,16]{2,1,0}',
      'f32[3,16,5]{2,1,0}',
      'f32[3,8,5]{2,1,0}',
      'lhs_batch_dims={0}, lhs_contracting_dims={2}, rhs_batch_dims={0}, '
      'rhs_contracting_dims={1}',
      'dot',
    )
    == 2 * 3 * 8 * 16 * 5
  )


@pytest.mark.parametrize(
  'stride, padding, groups',
  [
    (1, ((0, 0), (0, 0)), 1),
    (2, ((2, 1), (1, 1)), 1),
    (1, ((3, 1), (0, 2)), 2),
  ],
)
def test_a_real_convolution_has_what_xla_counts(stride, padding, groups):
  def convolve(x, w):
    return jax.lax.conv_general_dilated(
      x,
      w,
      (stride, stride),
      padding,
      lhs_dilation=(1, 2),
      rhs_dilation=(2, 1),
      feature_group_count=groups,
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    )

  x, w = jnp.zeros((2, 9, 7, 4)), jnp.zeros((3, 2, 4 // groups, 6))
  lowered = jax.jit(convolve).lower(x, w)
  entry = hlo.parse(lowered.compiler_ir('hlo').as_hlo_module().to_string())
  found = [
    hlo_flops.of_product(e.instruction)
    for e in entry.executions()
    if e.instruction.opcode == 'convolution'
  ]
  assert found == [lowered.cost_analysis()['flops']]


def kernel(name, results, estimate='', read='512,64'):
  q = 'bf16[2,4,512,64]{3,2,1,0}'
  k = f'bf16[2,4,{read}]{{3,2,1,0}}'
  entry = hlo.parse(f'''ENTRY %main (a: f32[]) -> f32[] {{
  %mask = s8[1,1,1]{{2,1,0}} constant(0)
  %q = {k} parameter(0)
  %k = {k} parameter(1)
  %v = {k} parameter(2)
  ROOT %{name} = ({', '.join([q] * results)}) custom-call(%mask, %q, %k, %v), custom_call_target="tpu_custom_call", backend_config={{"custom_call_config":{{"body":"AA=="{estimate}}}}}
}}
''')  # noqa: E501
  assert hlo_flops.is_pallas(entry.root)
  return hlo_flops.of_pallas(entry.root)


@pytest.mark.parametrize(
  'name, results, products',
  [
    ('splash_mha_fwd_segmented_residuals.1', 1, 2),
    ('splash_mha_dq_segmented_no_residuals.1', 1, 3),
    ('splash_mha_dkv_segmented_no_residuals.1', 2, 4),
    ('splash_mha_dkv_segmented_no_residuals.1', 3, 5),
    ('flash_mha_bwd_dkv_block_q_128.1', 2, 4),
  ],
)
def test_attention_kernels_have_the_products_of_their_kind(
  name, results, products
):
  for read in ('512,64', '64,512'):  # positions last: QKVLayout.SEQ_MINOR
    assert kernel(name, results, read=read) == (
      products * 2 * 2 * 4 * 512 * 512 * 64
    )


@pytest.mark.parametrize('rows', ['', '3,'])
@pytest.mark.parametrize(
  'name, suffix, results, products',
  [
    ('splash_mha_fwd.1', '', ['{rows}4,8192,64'], 2),
    ('splash_mha_dq.1', '_dq', ['{rows}4,8192,64'], 3),
    ('splash_mha_dkv.1', '_dkv', ['{rows}4,8192,64'] * 2, 4),
  ],
)
def test_blocks_that_a_grid_leaves_out_do_not_count(
  rows, name, suffix, results, products
):
  """128 queries meet 3 blocks of 256 keys in each of 64 steps."""
  made = ', '.join(f'bf16[{size.format(rows=rows)}]' for size in results)
  scratch = f'f32[{rows}128,128]'
  said = rf'\"block_q{suffix}\": 128, \"block_kv{suffix}\": 256, \"x\": 2'
  entry = hlo.parse(f"""ENTRY %main (a: f32[]) -> f32[] {{
  %grid = s8[1,64,3] constant(0)
  %q = bf16[{rows}4,64,8192] parameter(0)
  ROOT %{name} = ({scratch}, {made}) custom-call(%grid, %grid, %q, %q, %q), custom_call_target="tpu_custom_call", frontend_attributes={{kernel_metadata={{
"xprof_metadata":"{{{said}}}"
}}}}
}}
""")  # noqa: E501
  expected = products * 2 * 4 * 64 * 3 * 128 * 256 * 64 * (3 if rows else 1)
  assert hlo_flops.of_pallas(entry.root) == expected


def test_other_kernels_have_what_they_say_or_nothing():
  assert kernel('mine.1', 1, ',"cost_estimate":{"flops":"77"}') == 77
  assert kernel('mine.1', 1) is None
