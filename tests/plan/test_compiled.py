import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import pallas
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bertjax.plan import compiled, topologies
from tests.plan.test_hlo import TEXT

needs_libtpu = pytest.mark.skipif(
  not topologies.has_compiler(),
  reason='libtpu is not installed (requirements-tpu.txt)',
)


@pytest.fixture(scope='module')
def mesh():
  return Mesh(np.array(topologies.devices('v5e:2x4')), ('data',))


def compile_for(mesh, function, *arguments):
  """Compiles for arguments of (shape, dtype, axes)."""
  return (
    jax.jit(function)
    .lower(
      *(
        jax.ShapeDtypeStruct(
          shape, dtype, sharding=NamedSharding(mesh, PartitionSpec(*axes))
        )
        for shape, dtype, axes in arguments
      )
    )
    .compile()
  )


def test_a_program_is_summed_up():
  cost = compiled.cost_of(TEXT)
  # 3 turns of a product of 8 x 8, and a kernel that says 77.
  assert cost.flops == 3 * 2 * 8**3 + 77
  assert cost.pallas_flops == 77
  assert cost.pallas_calls == {(77, 128 + 128): 1}  # in and out
  assert cost.cycles == 3 * 70 + 5
  assert cost.collective_bytes == {'all-reduce': 128}
  assert cost.collectives == {'all-reduce': 1}
  # Copied in, a slice, 3 times the weights, kernel in and out, the result;
  # scalars: the slice's index, 2 of a copy, 3 of an addition in each turn.
  assert cost.hbm_bytes == 128 + 256 + 3 * 128 + 256 + 128 + 4 * (1 + 2 + 9)


def test_a_collective_in_a_chain_of_fusions_counts_once():
  """As libtpu writes those that overlap with other work."""

  def part(name):
    return f"""%{name} (p.{name}: bf16[8,8]) -> bf16[64,8] {{
  %p.{name} = bf16[8,8]{{1,0}} parameter(0)
  ROOT %g.{name} = bf16[64,8]{{1,0}} all-gather(%p.{name}), channel_id=7
}}

"""

  text = (
    part('first')
    + part('second')
    + """ENTRY %main (a: bf16[8,8]) -> bf16[64,8] {
  %a = bf16[8,8]{1,0} parameter(0)
  %x = bf16[64,8]{1,0} fusion(%a), kind=kCustom, calls=%first
  %y = bf16[64,8]{1,0} fusion(%a), kind=kCustom, calls=%second
  ROOT %z = bf16[64,8]{1,0} all-gather(%a), channel_id=8
}
"""
  )  # noqa: E501
  cost = compiled.cost_of(text)
  assert cost.collectives == {'all-gather': 2}
  assert cost.collective_bytes == {'all-gather': 2 * 64 * 8 * 2}


@needs_libtpu
def test_a_loop_of_products_counts_each_of_its_turns(mesh):
  """And its gradient, summed over 8 chips in each turn."""

  def loss(weights, x):
    return jnp.sum(
      jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, weights)[0] ** 2
    )

  program = compile_for(
    mesh,
    jax.grad(loss),
    ((5, 512, 512), jnp.bfloat16, ()),
    ((1024, 512), jnp.bfloat16, ('data',)),
  )
  cost = compiled.cost_of(program.as_text())
  product = 2 * 128 * 512 * 512
  assert cost.flops == 3 * 5 * product and not cost.unknown_loops
  weights = 5 * 512 * 512 * 2
  assert cost.collective_bytes == {'all-reduce': weights}
  assert cost.collectives == {'all-reduce': 5}
  # Weights read forward and backward, gradients written, x read; all the rest
  # fits on the chip, if the compiler has it so.
  assert 3 * weights <= cost.hbm_bytes <= 3.5 * weights
  parts = compiled.memory_of(program)
  assert parts['arguments'] == weights + 128 * 512 * 2
  assert parts['outputs'] == weights and parts['aliased'] == 0
  assert compiled.needed_bytes(parts) == (
    2 * weights + 128 * 512 * 2 + parts['temporary']
  )


def test_memory_is_needed_for_arguments_outputs_and_what_is_temporary():
  parts = {
    'arguments': 1000,
    'outputs': 300,
    'aliased': 200,
    'temporary': 70,
    'program': 5,
  }
  assert compiled.needed_bytes(parts) == 1170


@needs_libtpu
def test_the_cycles_of_a_product_are_about_what_the_chip_can_do(mesh):
  side = 8192
  cost = compiled.cost_of(
    compile_for(
      mesh,
      jnp.matmul,
      ((side, side), jnp.bfloat16, ()),
      ((side, side), jnp.bfloat16, ()),
    ).as_text()
  )
  assert cost.flops == 2 * side**3
  least = 2 * side**3 / (4 * 128 * 128 * 2)  # 4 MXUs of 128 x 128
  assert least < cost.cycles < 1.25 * least
  assert cost.hbm_bytes == 3 * 2 * side**2


@needs_libtpu
@pytest.mark.parametrize(
  'before, after, kind',
  [(('data',), (), 'all-gather'), (('data',), (None, 'data'), 'all-to-all')],
)
def test_a_change_of_sharding_moves_the_array(mesh, before, after, kind):
  sharding = NamedSharding(mesh, PartitionSpec(*after))
  cost = compiled.cost_of(
    compile_for(
      mesh,
      lambda x: jax.lax.with_sharding_constraint(x * 2, sharding),
      ((1024, 1024), jnp.float32, before),
    ).as_text()
  )
  whole = 4 * 1024**2
  assert cost.collective_bytes == {
    kind: whole if kind == 'all-gather' else whole // 8
  }


@needs_libtpu
def test_a_kernel_counts_what_it_says(mesh):
  def kernel(x, out):
    out[...] = x[...] * 2

  def double(x):
    return pallas.pallas_call(
      kernel,
      out_shape=jax.ShapeDtypeStruct((256, 256), jnp.float32),
      cost_estimate=pallas.CostEstimate(
        flops=1234, bytes_accessed=0, transcendentals=0
      ),
    )(x)

  call = jax.shard_map(
    double,
    mesh=mesh,
    in_specs=PartitionSpec(),
    out_specs=PartitionSpec(),
    check_vma=False,
  )
  cost = compiled.cost_of(
    compile_for(mesh, call, ((256, 256), jnp.float32, ())).as_text()
  )
  assert cost.flops == cost.pallas_flops == 1234
  assert cost.pallas_calls.total() == 1
