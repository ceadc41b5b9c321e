"""What a training step minimises, and all that others ask about it.

    class Mine(Objective): ...               # see experiments/docs/extending.md
    terms = objective(parameters, batch, rng, train=True)
    terms['my_loss']       # (sum, weight)

An objective returns sums and weights, never means, so that the loss is the same
for any split of the batch. It is also the only one that knows its losses by
name: whoever trains, evaluates, plans, draws or compares asks it. Those of
bertjax are in `objectives` and `task_objective`.
"""

import abc
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bertjax import batch as batch_lib
from bertjax.batch import Batch
from bertjax.errors import UserError
from bertjax.models import flops, kernels
from bertjax.models.config import EncoderConfig
from bertjax.runs.model_file import ObjectiveFacts
from bertjax.training import log_normalizer
from bertjax.training.state import Parameters

# A batch on devices, see `bertjax.batch`.
DeviceBatch = Mapping[str, jax.Array]
Terms = dict[str, tuple[jax.Array, jax.Array]]
Array = jax.Array | np.ndarray
# Name -> right ids and their weights, of the same shape.
Answers = Mapping[str, tuple[Array, Array]]


class Objective(abc.ABC):
  """What a training step minimises, and all that others ask about it.

  Derive a frozen dataclass from it, for an objective must be hashable. `model`
  or `models`, `losses`, `weights` and `__call__` are needed; all else has
  defaults.

  Attributes:
    model: a Linen module with a `config`, called with (batch, train=...).
    keys: of a batch, those that are read; names in `batch.KEYS`.
    losses: the terms that are minimised, each with its factor. Each is divided
      by its own weight.
    titles: 'my' for 'my_loss' -> what people call it; or a whole metric, and
      its unit after a comma.
    watched: metrics that come first in a report and that the doctor compares;
      none: the losses.
    vocabulary_loss: the loss of choosing one token of the vocabulary, if any.
    chances: an accuracy, or another metric -> what guessing reaches.
    samples_title: stands above the samples; None: there are no samples.
  """

  model: nn.Module
  vocabulary_loss: str | None = None
  samples_title: str | None = None

  # Attributes of a class, or properties if they depend on the model.
  @property
  def keys(self) -> tuple[str, ...]:
    return batch_lib.PRETRAINING

  @property
  @abc.abstractmethod
  def losses(self) -> Mapping[str, float]: ...

  @property
  def titles(self) -> Mapping[str, str]:
    return {}

  @property
  def watched(self) -> tuple[str, ...]:
    return ()

  @property
  def chances(self) -> Mapping[str, float]:
    return {}

  @property
  def name(self) -> str:
    """What it is, for messages, and for whoever compares runs."""
    return type(self).__name__

  @property
  def panels(self) -> tuple[str, ...]:
    """Metrics in curves.png before the ones that every run has."""
    return tuple(self.losses)

  @property
  def models(self) -> Mapping[str, nn.Module]:
    """The models that learn, by name; parameters are nested under the names.

    The parameters of a single model without a name, '', are not nested.
    """
    return {'': self.model}

  @property
  def main(self) -> str:
    """The model that starts from INIT_FROM, predicts and is handed on."""
    return list(self.models)[-1]

  @property
  def frozen_models(self) -> Mapping[str, nn.Module]:
    """Models that do not learn, such as a teacher, by name."""
    return {}

  def read_frozen(self) -> Mapping[str, Parameters]:
    """Reads the parameters of each of `frozen_models`: numpy arrays."""
    return {}

  @abc.abstractmethod
  def weights(self, batch: DeviceBatch) -> dict[str, jax.Array]:
    """Returns what each loss is divided by, summed over the whole batch."""

  @abc.abstractmethod
  def __call__(
    self,
    parameters: Parameters,
    batch: DeviceBatch,
    rng: jax.Array | None,
    train: bool,
    frozen: Parameters | None = None,
  ) -> Terms:
    """Returns name -> (sum, weight) of losses and other metrics.

    Args:
      parameters: of `models`.
      batch: see `bertjax.batch`; may be a part of the global batch.
      rng: key for dropout; None if `train` is False.
      train: whether dropout is on.
      frozen: the parameters of `frozen_models`, by their names.
    """

  def answers(self, batch: Batch) -> Answers:
    """Returns what was to be said: an evaluation adds NAME_baseline and
    NAME_loss_baseline, accuracy and loss of the best constant answers."""
    return {}

  def sample(self, parameters: Parameters, batch: DeviceBatch) -> Any:
    """Returns arrays [B, ...] for `show`, here none; jitted."""
    return ()

  def show(
    self, sampled: Any, batch: Batch, vocabulary: Sequence[str]
  ) -> list[str]:
    """Returns what the model does with a few rows, as texts for people."""
    return []

  def initialize(self, key: jax.Array, example: DeviceBatch) -> Parameters:
    """Makes fresh parameters, boxed with their logical axes."""
    made = _initialize(self.models, key, example)
    return made.get('', made)

  def initialize_frozen(self, example: DeviceBatch) -> Parameters | None:
    """Makes parameters of the shapes that `read_frozen` is to read."""
    return _initialize(self.frozen_models, jax.random.key(0), example) or None

  def flops(self, batch: Mapping[str, flops.Shaped]) -> int:
    """Returns the useful FLOPs of a step on a batch, or on its shapes."""
    learning, frozen = (
      sum(flops.of_model(model, batch) for model in models.values())
      for models in (self.models, self.frozen_models)
    )
    return 3 * learning + frozen

  def total(self, losses: Mapping[str, Any]) -> Any:
    """Returns the sum of losses times their factors."""
    return sum(
      value if self.losses[name] == 1 else self.losses[name] * value
      for name, value in losses.items()
    )

  @property
  def configs(self) -> dict[str, EncoderConfig]:
    """The architecture of each of `models`."""
    return {name: model.config for name, model in self.models.items()}

  def of_main(self, parameters: Parameters) -> Parameters:
    """Returns the main model's part of the parameters."""
    return parameters[self.main] if self.main else parameters

  def with_main(
    self, parameters: Parameters, of_main: Parameters
  ) -> Parameters:
    """Returns the parameters with another main model's."""
    return {**parameters, self.main: of_main} if self.main else of_main

  def check_models(self, length: int, trained: bool = False) -> None:
    """Raises UserError if a model cannot work on rows of this length.

    Args:
      length: L.
      trained: whether the models are given, so that positions cannot be set.
    """
    for name, model in {**self.models, **self.frozen_models}.items():
      if length > model.config.positions:
        most = model.config.positions
        fix = 'EncoderConfig.positions or a smaller LENGTH'
        if trained:
          fix = f'a smaller LENGTH, up to {most}'
        raise UserError(
          f'LENGTH {length} exceeds the {most} positions of the '
          f'{name or "model"}{" in INIT_FROM" if trained else ""}; set {fix}'
        )
      kernels.check(model.config)

  def check_batch(self, batch: Batch) -> None:
    """Raises UserError if a batch lacks something that is read."""
    batch_lib.check(batch, self.keys, self.name)

  def unread(self, batch: Batch) -> list[str]:
    """Returns which weights of a batch are not all 0, and not in `keys`."""
    return [
      key
      for key, array in batch.items()
      if key.endswith('weights') and key not in self.keys and np.any(array)
    ]

  def facts(self) -> ObjectiveFacts:
    """Returns what those need who only read the files of a run."""
    return ObjectiveFacts(
      *(getattr(self, name) for name in ObjectiveFacts._fields)
    )


def _initialize(
  models: Mapping[str, nn.Module], key: jax.Array, example: DeviceBatch
) -> dict[str, Any]:
  made = {}
  for number, (name, model) in enumerate(models.items()):
    # The parameters of one model are those of the key itself.
    own_key = jax.random.fold_in(key, number) if name else key
    made[name] = model.init(own_key, example, train=False)['params']
  return made


def apply_model(
  model: nn.Module,
  parameters: Parameters,
  batch: DeviceBatch,
  rng: jax.Array | None = None,
  train: bool = False,
) -> dict[str, jax.Array]:
  """Returns the outputs of a model of `models.bert`.

  The first of the model's random streams, dropout, gets `rng` itself.
  """
  rngs = None
  if rng is not None:
    streams = getattr(model, 'random_streams', ('dropout',))
    rngs = {
      name: jax.random.fold_in(rng, number) if number else rng
      for number, name in enumerate(streams)
    }
  found: Any = model.apply(
    {'params': parameters}, batch, train=train, rngs=rngs
  )
  return found


def cross_entropy(
  logits_XC: jax.Array, labels_X: Array, weights_X: Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Returns the sums of loss, of correct answers, and of weights.

      >>> logits_XC, labels_X = jnp.zeros((2, 4)), jnp.array([0, 1])
      >>> sums = cross_entropy(logits_XC, labels_X, weights_X=jnp.ones(2))
      >>> [round(float(x), 3) for x in sums]  # twice log 4; 1 of 2 right
      [2.773, 1.0, 2.0]

  Args:
    logits_XC: float[..., C].
    labels_X: int32[...], in [0, C).
    weights_X: float32[...].

  Returns:
    float32[] three times: nats, number right, number counted.
  """
  # Log-sum-exp in float32: bfloat16 has 8 bits for a sum over the vocabulary.
  logits_XC = logits_XC.astype(jnp.float32)
  log_normalizer_X, best_X = log_normalizer.and_best(logits_XC)
  answer_X = jnp.take_along_axis(logits_XC, labels_X[..., None], -1)[..., 0]
  right_X = (best_X == labels_X).astype(jnp.float32)
  return (
    jnp.sum((log_normalizer_X - answer_X) * weights_X),
    jnp.sum(right_X * weights_X),
    jnp.sum(weights_X),
  )
