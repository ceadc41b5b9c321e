"""What may attend to what: segments and a rule."""

import jax
import numpy as np
import pytest

from bertjax.errors import UserError
from bertjax.models import attention_mask
from bertjax.models.attention_mask import AttentionMask, Rule

SEGMENTS = np.array([[1, 1, 2, 0]])
POSITIONS = np.array([[0, 1, 0, 0]])


def test_a_mask_joins_equal_segments_and_leaves_padding_out():
  np.testing.assert_array_equal(
    AttentionMask(SEGMENTS, POSITIONS).dense()[0, 0],
    [
      [1, 1, 0, 0],
      [1, 1, 0, 0],
      [0, 0, 1, 0],
      [0, 0, 0, 0],
    ],
  )


def test_a_rule_forbids_further_and_sees_positions(monkeypatch):
  earlier = Rule(lambda query, key: key <= query)
  monkeypatch.setitem(attention_mask.RULES, 'earlier', earlier)
  # The third token comes before the second.
  mask = AttentionMask(
    np.array([[1, 1, 1, 2]]), np.array([[0, 2, 1, 0]]), 'earlier'
  )
  np.testing.assert_array_equal(
    mask.dense()[0, 0],
    [
      [1, 0, 0, 0],
      [1, 1, 1, 0],
      [1, 0, 1, 0],
      [0, 0, 0, 1],
    ],
  )


def test_the_rule_is_static_and_without_one_nothing_is_computed_for_it():
  mask = AttentionMask(SEGMENTS, POSITIONS)
  assert len(jax.tree.leaves(mask)) == 2
  operations = jax.make_jaxpr(lambda mask: mask.dense())(mask).jaxpr
  used = {id(x) for one in operations.eqns for x in one.invars}
  segments, positions = operations.invars
  assert id(segments) in used and id(positions) not in used


def test_an_unknown_rule_is_refused_with_the_nearest():
  with pytest.raises(UserError, match="mean 'all'.*EncoderConfig.attention_r"):
    AttentionMask(SEGMENTS, POSITIONS, 'alll').dense()
