"""How much the loss hangs on each attention head.

    head_importance.expected(objective, parameters, batches)   # float32[N, H]
    head_importance.of_masking(predictor, row)              # the same

Of a head that brings along A, and a loss L, the importance is the mean over
sequences of |sum(A * dL/dA)|: of how fast the loss changes where the head is
turned down. Source: Michel, Levy and Neubig 2019 (arXiv:1905.10650), section
4.1, equation 1; the sum is dL/d(mask of the head), whether A is taken before or
after the map back to the width, since that is linear.
"""

from collections.abc import Iterable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from bertjax.batch import Batch
from bertjax.errors import UserError
from bertjax.inference.predictor import Predictor
from bertjax.inspection import taps
from bertjax.models import bert
from bertjax.text import batching
from bertjax.training import objectives

CONTEXT = 'layer_*/attention/context'
ROWS = 16  # of a batch in which each row has another token masked


def expected(
  objective, parameters, batches: Iterable[Batch], normalize: bool = False
) -> np.ndarray:
  """Returns the importance of every head: float32[N, H], 0 or more.

  Args:
    objective: of `training.objectives`; what is summed for a sequence is the
      loss of it: of masked LM nats of all its targets.
    parameters: of the objective's model.
    batches: with targets or labels; packed rows give what their sequences do
      apart. Rows without any token do not count.
    normalize: whether the heads of a layer are divided by the root of their sum
      of squares, as the paper does before it compares those of all layers.

  Raises:
    UserError: no sequence at all.
  """
  total, count = 0.0, 0
  for batch in batches:
    found, gradients = taps.collect_with_gradients(
      objective, parameters, batch, (CONTEXT,)
    )
    sums, sequences = _sum_sequences(
      taps.stack(found, CONTEXT),
      taps.stack(gradients, CONTEXT),
      batch['segments'],
      batch['first_positions'].shape[1],
    )
    total, count = total + np.asarray(sums), count + int(sequences)
  if not count:
    raise UserError('expected batches with sequences, got none')
  mean = total / count
  if normalize:
    mean /= np.maximum(np.sqrt((mean**2).sum(-1, keepdims=True)), 1e-20)
  return mean


@jax.jit(static_argnums=3)
def _sum_sequences(context_NBLHK, gradient_NBLHK, segments_BL, sequences):
  """Returns the sum over sequences of |dL/d(mask)|: [N, H]; their number."""
  product_NBLH = jnp.sum(
    context_NBLHK.astype(jnp.float32) * gradient_NBLHK.astype(jnp.float32),
    axis=-1,
  )
  number_S1 = jnp.arange(1, sequences + 1)[:, None]
  member_BSL = segments_BL[:, None] == number_S1
  slope_NBSH = jnp.einsum(
    'NBLH,BSL->NBSH',
    product_NBLH,
    member_BSL.astype(jnp.float32),
    precision=jax.lax.Precision.HIGHEST,
  )
  return (
    jnp.abs(slope_NBSH).sum((1, 2)),
    jnp.sum(jnp.any(member_BSL, axis=-1)),
  )


def of_masking(
  predictor: Predictor, row: batching.Row, columns: int | None = None
) -> np.ndarray:
  """Returns the importance for one text that nobody labelled: float32[N, H].

  Each of its tokens is hidden in turn and predicted from the others, as in
  Salazar et al. 2020 (arXiv:1910.14659); the mean is over these sequences.

  Args:
    predictor: with a masked-LM head.
    row: of its tokenizer.
    columns: to which the row is padded, see `masked_batches`.

  Raises:
    UserError: no masked-LM head; or nothing to hide but special tokens.
  """
  predictor.check_fills_masks()
  objective = objectives.MaskedLanguageModel(
    bert.BertForPreTraining(predictor.config, next_sentence=False)
  )
  return expected(
    objective,
    predictor.parameters,
    masked_batches(row, predictor.tokenizer.ids, columns),
  )


def masked_batches(
  row: batching.Row, ids: dict[str, int], columns: int | None = None
) -> Iterator[dict[str, np.ndarray]]:
  """Yields batches of copies of a row, each with another token masked.

  '[CLS] a b [SEP]' to '[CLS] [MASK] b [SEP]' with the target a, and
  '[CLS] a [MASK] [SEP]' with the target b.

  Args:
    row: of any length.
    ids: token -> id; [CLS], [SEP] and [MASK] are not hidden.
    columns: L of the batches, whose B is `ROWS`; None: the length of the row.
      Rows of one L share a compiled program.
  """
  special = {ids[token] for token in ('[CLS]', '[SEP]', '[MASK]')}
  places = [i for i, token in enumerate(row.ids) if token not in special]
  for start in range(0, len(places), ROWS):
    some = places[start : start + ROWS]
    batch = batching.make(
      [[row._replace(position=i)] for i in some], ROWS, columns or len(row.ids)
    )
    lines = np.arange(len(some))
    batch['tokens'][lines, some] = ids['[MASK]']
    batch['targets'] = np.zeros((ROWS, 1), np.int32)
    batch['targets'][lines, 0] = [row.ids[i] for i in some]
    batch['weights'] = (np.arange(ROWS) < len(some))[:, None].astype(np.float32)
    yield batch
