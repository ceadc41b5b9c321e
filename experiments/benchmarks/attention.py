"""Times the attention kernels by length, alone or beside torch's SDPA.

    export PYTHONPATH=.
    python experiments/benchmarks/attention.py --lengths 128 512
    python experiments/benchmarks/attention.py --torch
    python experiments/benchmarks/attention.py --lengths 1024 --window 128

Times forward, and forward with the backward pass of query, key and value, for
the same number of positions at every length, on one CPU, GPU or TPU: with one
sequence per row and padding, and with `--sequences` packed in a row. Forms take
turns; medians. `error` is the largest difference from `einsum` outside padding.
torch gets the masks that transformers passes it: of keys if a row has one
sequence and there is no window, else of pairs.
"""

import os
import statistics

import jax
import jax.numpy as jnp
import numpy as np
import timing

from bertjax import batch
from bertjax.launch import command_line
from bertjax.models import flops
from bertjax.models.attention_mask import AttentionMask
from bertjax.models.kernels import KERNELS

NAMES = ('einsum', 'blocks', 'dot_product', 'splash', 'local')
# Kernel -> platforms that have it, if not all do.
PLATFORMS = {'splash': ('tpu',), 'local': ('tpu',)}


def make(name: str, arrays, mask: AttentionMask, backward: bool) -> timing.Run:
  """Returns a function that runs a kernel; its `result` is the last output."""
  platform = jax.default_backend()
  if platform not in PLATFORMS.get(name, (platform,)):
    raise LookupError(f'there is no such kernel on a {platform}')
  arrays, mask = jax.device_put((arrays, mask))

  def attend(query, key, value, mask):
    return KERNELS[name](query, key, value, mask)

  def forward_and_backward(query, key, value, mask):
    output, pull = jax.vjp(lambda *x: attend(*x, mask), query, key, value)
    return output, pull(output)

  compiled = jax.jit(forward_and_backward if backward else attend)

  def run(times):
    for _ in range(times):
      result = compiled(*arrays, mask)
    jax.block_until_ready(result)
    run.result = result[0] if backward else result

  return run


def make_torch(arrays, mask: AttentionMask, backward: bool) -> timing.Run:
  """Does the same for torch's `scaled_dot_product_attention`."""
  import torch

  device = 'cuda' if torch.cuda.is_available() else 'cpu'
  dtype = getattr(torch, str(arrays[0].dtype))
  query, key, value = (
    torch.tensor(np.asarray(x, np.float32))
    .to(device, dtype)
    .transpose(1, 2)
    .contiguous()
    .requires_grad_(backward)
    for x in arrays
  )
  if mask.segments_BL.max() == 1 and mask.window is None:
    allowed = torch.tensor(mask.segments_BL > 0, device=device)[:, None, None]
  else:
    allowed = torch.tensor(np.asarray(mask.dense()), device=device)

  def run(times):
    for _ in range(times):
      with torch.set_grad_enabled(backward):
        output = torch.nn.functional.scaled_dot_product_attention(
          query, key, value, attn_mask=allowed
        )
      if backward:
        torch.autograd.grad(output, (query, key, value), output.detach())
    if device == 'cuda':
      torch.cuda.synchronize()
    run.result = output.detach().transpose(1, 2)

  return run


def host(output) -> np.ndarray:
  """Returns an output of jax or torch as float32 of numpy."""
  if hasattr(output, 'cpu'):
    output = output.float().cpu()
  return np.asarray(output, np.float32)


def measure(length: int, sequences: int, backward: bool, options) -> None:
  """Prints the rows of one length and kind of row."""
  rows = max(1, options.positions // length)
  example = batch.synthetic(rows, length, 1, 100, seed=0, sequences=sequences)
  segments = example['segments']
  mask = AttentionMask(segments, example['positions'], window=options.window)
  shape = rows, length, options.heads, options.head_width
  arrays = [
    jax.random.normal(jax.random.key(number), shape, options.dtype)
    for number in range(3)
  ]
  runs = {}

  def kept(name, maker, *first):
    def make_and_keep():
      runs[name] = maker(*first, arrays, mask, backward)
      return runs[name]

    return make_and_keep

  makers = {name: kept(name, make, name) for name in options.kernels}
  if options.torch:
    makers['torch SDPA'] = kept('torch SDPA', make_torch)
  seconds, reasons = timing.in_turn(makers, options.repetitions)
  # Scores and context: two operations per pair and feature; backward is double.
  useful = (
    4
    * rows
    * options.heads
    * flops.attended(length, options.window)
    * options.head_width
    * (3 if backward else 1)
  )
  what = (
    f'| {length} | {"padded" if sequences == 1 else "packed"} '
    f'| {"forward, backward" if backward else "forward"} '
  )
  first = next(iter(seconds), None)
  outputs = {name: host(runs[name].result) for name in seconds}
  for name in makers:
    if name in reasons:
      print(f'{what}| {name} | {reasons[name]} |')
      continue
    median = statistics.median(seconds[name])
    base = statistics.median(seconds[first])
    error = np.abs(outputs[name] - outputs[first])[segments > 0].max()
    print(
      f'{what}| {name} | {1e3 * median:.3f} | {median / base:.2f} '
      f'| {useful / median / 1e12:.3f} | {error:.0e} |',
      flush=True,
    )


def main() -> None:
  command_line.skip_absent_tpu()
  parser = timing.Parser(description=__doc__.splitlines()[0])
  parser.add_argument(
    '--lengths', nargs='+', type=timing.positive, default=[128, 512]
  )
  for name, default, what in (
    ('positions', 2048, 'rows times length'),
    ('heads', 12, None),
    ('head_width', 64, None),
    ('sequences', 4, 'packed in a row'),
    ('repetitions', 7, None),
  ):
    parser.add_argument(
      f'--{name}', type=timing.positive, default=default, help=what
    )
  parser.add_argument(
    '--window', type=timing.positive, help='of local attention; default: none'
  )
  parser.add_argument('--kernels', nargs='+', choices=KERNELS, default=NAMES)
  parser.add_argument(
    '--dtype',
    choices=('float32', 'bfloat16'),
    help='default: float32 on a CPU, else bfloat16',
  )
  parser.add_argument('--torch', action='store_true')
  options = parser.parse_args()
  short = min(options.lengths)
  if options.sequences > short // 2:
    parser.error(
      f'argument --sequences: {options.sequences} do not fit into '
      f'half of {short} positions'
    )
  if options.torch:
    # jax and torch share one GPU's memory.
    os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')
    try:
      import torch  # noqa: F401
    except ModuleNotFoundError as error:
      parser.error(f'argument --torch: {error.name} is not installed')
  options.dtype = jnp.dtype(
    options.dtype
    or ('float32' if jax.default_backend() == 'cpu' else 'bfloat16')
  )
  print(timing.machine('jax', 'jaxlib', *['torch'] * options.torch))
  print(
    f'{options.positions} positions, {options.heads} heads of '
    f'{options.head_width}, {options.dtype}\n\n'
    '| length | rows | pass | kernel | ms | of the first | TFLOP/s '
    '| error |\n|---|---|---|---|---|---|---|---|'
  )
  for length in options.lengths:
    for sequences in dict.fromkeys((1, options.sequences)):
      for backward in (False, True):
        measure(length, sequences, backward, options)


if __name__ == '__main__':
  main()
