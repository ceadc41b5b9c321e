"""How much the loss depends on each attention head.

    head_importance.expected(objective, parameters, batches)   # float32[N, H]
    head_importance.of_masking(predictor, row)                 # the same

The importance of a head with output A, for a loss L, is the mean over sequences
of |sum(A * dL/dA)|: how fast the loss changes if the head is turned down. The
sum is dL/d(mask of the head); A may be taken before or after the projection to
the width, since that is linear. Source: Michel, Levy and Neubig 2019
(arXiv:1905.10650), section 4.1, equation 1.
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
from bertjax.training.objectives import MaskedLanguageModel
from bertjax.training.state import Parameters
from bertjax.training.task_objective import TaskObjective

CONTEXT = 'layer_*/attention/context'
ROWS = 16  # in a batch of copies of a text, each with another token masked


def expected(
  objective: MaskedLanguageModel | TaskObjective,
  parameters: Parameters,
  batches: Iterable[Batch],
  normalize: bool = False,
) -> np.ndarray:
  """Returns the importance of every head: float32[N, H], 0 or more.

  Args:
    objective: its loss is summed over a sequence, such as the nats of all
      targets of masked LM.
    parameters: of the objective's model.
    batches: with targets or labels. Packed sequences count as if they were in
      rows of their own; rows without tokens do not count.
    normalize: whether to divide the heads of a layer by the root of their sum
      of squares, as the paper does before it compares layers.

  Raises:
    UserError: there is no sequence.
  """
  total: np.ndarray | float = 0.0
  count = 0
  for batch in batches:
    found, gradients = taps.collect_with_gradients(
      objective, parameters, batch, (CONTEXT,)
    )
    context, gradient = (taps.stack(x, CONTEXT) for x in (found, gradients))
    most = batch['first_positions'].shape[1]
    sums, sequences = _sum_sequences(context, gradient, batch['segments'], most)
    total, count = total + np.asarray(sums), count + int(sequences)
  if not count:
    raise UserError('expected batches with sequences, got none')
  mean = np.asarray(total / count)
  if normalize:
    mean /= np.maximum(np.sqrt((mean**2).sum(-1, keepdims=True)), 1e-20)
  return mean


@jax.jit(static_argnums=3)
def _sum_sequences(
  context_NBLHK: jax.Array,
  gradient_NBLHK: jax.Array,
  segments_BL: jax.Array,
  sequences: int,
) -> tuple[jax.Array, jax.Array]:
  """Returns sum of |dL/d(mask)| over sequences: [N, H]; their number."""
  number_S1 = jnp.arange(1, sequences + 1)[:, None]
  member_BSL = segments_BL[:, None] == number_S1
  slope_NBSH = jnp.einsum(
    'NBLHK,NBLHK,BSL->NBSH',
    context_NBLHK.astype(jnp.float32),
    gradient_NBLHK.astype(jnp.float32),
    member_BSL.astype(jnp.float32),
    precision=jax.lax.Precision.HIGHEST,
  )
  sums_NH = jnp.abs(slope_NBSH).sum((1, 2))
  return sums_NH, jnp.sum(jnp.any(member_BSL, axis=-1))


def of_masking(
  predictor: Predictor, row: batching.Row, columns: int | None = None
) -> np.ndarray:
  """Returns the importance for one text without labels: float32[N, H].

  Each of its tokens is masked in turn and predicted from the others, as in
  Salazar et al. 2020 (arXiv:1910.14659); the mean is over these sequences.

  Args:
    predictor: with a masked-LM head.
    row: of the predictor's tokenizer.
    columns: see `masked_batches`.

  Raises:
    UserError: no masked-LM head, or a row of nothing but special tokens.
  """
  predictor.check_fills_masks()
  model = bert.BertForPreTraining(predictor.config, next_sentence=False)
  ids = {x: predictor.tokenizer.id_of(x) for x in ('cls', 'sep', 'mask')}
  batches = masked_batches(row, ids, columns)
  return expected(MaskedLanguageModel(model), predictor.parameters, batches)


def masked_batches(
  row: batching.Row, ids: dict[str, int], columns: int | None = None
) -> Iterator[dict[str, np.ndarray]]:
  """Yields batches of copies of a row, each with another token masked.

      >>> ids = {'cls': 2, 'sep': 3, 'mask': 4}
      >>> (batch,) = masked_batches(batching.Row([2, 7, 8, 3]), ids)
      >>> batch['tokens'][:2].tolist(), batch['targets'][:2].tolist()
      ([[2, 4, 8, 3], [2, 7, 4, 3]], [[7], [8]])

  Args:
    row: of any length.
    ids: of the special tokens, which are not masked, by their roles.
    columns: L of the batches, whose B is `ROWS`; None: the length of the row.
      Rows with the same L share a compiled program.
  """
  special = {*ids.values()}
  places = [i for i, token in enumerate(row.ids) if token not in special]
  for start in range(0, len(places), ROWS):
    some = places[start : start + ROWS]
    copies = [
      {'target_positions': [i], 'targets': [row.ids[i]], 'weights': [1.0]}
      | batching.entries(row)
      for i in some
    ]
    sizes = {'L': columns or len(row.ids), 'P': 1, 'S': 1}
    batch = batching.join([[copy] for copy in copies], ROWS, sizes)
    batch['tokens'][np.arange(len(some)), some] = ids['mask']
    yield batch
