"""The optimizers of BERT's field, with BERT's weight-decay mask.

    optimizer = adamw(warmup_linear(1e-4, 10_000, 1_000_000))
    state = optimizer.init(parameters)
    updates, state = optimizer.update(gradients, state, parameters)
    parameters = optax.apply_updates(parameters, updates)

Both are optax chains in the order of google-research/bert: clip the gradient by
its global norm, scale it by Adam's moments, add the decoupled weight decay,
(LAMB: scale by the trust ratio), multiply by the learning rate. The chain's
length does not depend on the arguments, so switching a part off changes neither
the structure of the optimizer state nor that of old checkpoints.

Source: Kingma and Ba 2015 (Adam), Loshchilov and Hutter 2019 (AdamW),
You et al. 2020 (LAMB), google-research/bert optimization.py.
"""

import re
from typing import Any

import jax
import jax.numpy as jnp
import optax

from bertjax.values import NotNegative, Positive, Rate, checked

# `norm`, `attention_norm`, `LayerNorm_0`: the module's name in the path.
_NORM = re.compile(r'norm(_\d+)?$', re.IGNORECASE)


@checked
def adamw(
  learning_rate: optax.ScalarOrSchedule,
  weight_decay: NotNegative = 0.01,
  beta1: Rate = 0.9,
  beta2: Rate = 0.999,
  epsilon: Positive = 1e-6,
  bias_correction: bool = True,
  clip_norm: Positive | None = 1.0,
) -> optax.GradientTransformation:
  """AdamW; the defaults other than `bias_correction` are BERT's.

  Args:
    learning_rate: a number, or a schedule over the number of updates made.
    weight_decay: decoupled, times the learning rate; see `decay_mask`.
    beta1: decay of the mean of the gradients.
    beta2: decay of the mean of their squares.
    epsilon: added to the root of the second moment.
    bias_correction: False: google-research/bert's optimizer.
    clip_norm: largest global norm of the gradients; None: no clipping.
  """
  return optax.chain(
    _clip(clip_norm),
    scale_by_moments(beta1, beta2, epsilon, bias_correction),
    optax.add_decayed_weights(weight_decay, mask=decay_mask),
    optax.scale_by_learning_rate(learning_rate),
  )


@checked
def lamb(
  learning_rate: optax.ScalarOrSchedule,
  weight_decay: NotNegative = 0.01,
  beta1: Rate = 0.9,
  beta2: Rate = 0.999,
  epsilon: Positive = 1e-6,
  bias_correction: bool = True,
  clip_norm: Positive | None = 1.0,
) -> optax.GradientTransformation:
  """LAMB: AdamW with the update of each tensor scaled to that tensor's norm.

  A tensor x with the AdamW direction u moves by learning_rate * |x| / |u| * u;
  the ratio is 1 if either norm is 0. Arguments as for `adamw`.

  Deviation: Algorithm 2 of the paper scales every tensor, as does `optax.lamb`.
  As in the authors' code (`exclude_from_layer_adaptation` is
  `exclude_from_weight_decay` unless set) and in NVIDIA's FusedLAMB, tensors
  without weight decay are not scaled here: a bias starts at 0, and its own norm
  would keep it there.
  """
  return optax.chain(
    _clip(clip_norm),
    scale_by_moments(beta1, beta2, epsilon, bias_correction),
    optax.add_decayed_weights(weight_decay, mask=decay_mask),
    optax.masked(optax.scale_by_trust_ratio(), decay_mask),
    optax.scale_by_learning_rate(learning_rate),
  )


def decay_mask(parameters: Any) -> Any:
  """Returns which parameters decay: all but biases and those of a norm.

      >>> decay_mask({'dense': {'kernel': 0, 'bias': 0}, 'norm': {'scale': 0}})
      {'dense': {'bias': False, 'kernel': True}, 'norm': {'scale': False}}

  Args:
    parameters: a tree of dictionaries; only the names matter.

  Returns:
    a tree of the same structure with a bool at each leaf.

  Source: `exclude_from_weight_decay=['LayerNorm', 'layer_norm', 'bias']` in
  google-research/bert.
  """

  def decays(path, _):
    names = [key.key for key in path if isinstance(key, jax.tree_util.DictKey)]
    is_bias = names[-1] == 'bias' or names[-1].endswith('_bias')
    return not is_bias and not any(_NORM.search(name) for name in names)

  return jax.tree_util.tree_map_with_path(decays, parameters)


def scale_by_moments(
  beta1: float, beta2: float, epsilon: float, bias_correction: bool
) -> optax.GradientTransformation:
  """Adam's direction m / (sqrt(v) + epsilon), with or without bias correction.

  Without the correction (google-research/bert; optax always has it), m and v
  start at 0 and are too small at first: v more than m, so that early steps are
  up to (1 - beta1) / sqrt(1 - beta2), about 3, times as long.

  The state is optax's `ScaleByAdamState` in both cases: a count, m and v, the
  last two float trees shaped like the parameters.
  """
  adam = optax.scale_by_adam(beta1, beta2, epsilon)
  if bias_correction:
    return adam

  def update(gradients, state, parameters=None):
    del parameters
    mean = optax.tree.update_moment(gradients, state.mu, beta1, 1)
    square = optax.tree.update_moment(gradients, state.nu, beta2, 2)
    direction = jax.tree.map(
      lambda m, v: m / (jnp.sqrt(v) + epsilon), mean, square
    )
    count = optax.safe_increment(state.count)
    return direction, optax.ScaleByAdamState(count, mean, square)

  return optax.GradientTransformation(adam.init, update)


def _clip(clip_norm: float | None) -> optax.GradientTransformation:
  if clip_norm is None:
    return optax.identity()
  return optax.clip_by_global_norm(clip_norm)
