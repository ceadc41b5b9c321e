import numpy as np

from bertjax.training.totals import Totals


def test_sums_are_divided_once():
  totals = Totals()
  totals.add({'loss': (np.float32(6.0), 3)})
  totals.add({'loss': (np.float32(2.0), 1), 'none': (0.0, 0.0)})
  assert totals.means() == {'loss': 2.0}  # not (2 + 2) / 2 by chance: 8 / 4


def test_totals_survive_a_checkpoint_exactly():
  totals = Totals()
  rng = np.random.default_rng(0)
  for _ in range(10):
    totals.add({'loss': (rng.random(), rng.random())})
  restored = Totals()
  restored.restore(totals.to_bytes())
  more = {'loss': (rng.random(), rng.random())}
  totals.add(more)
  restored.add(more)
  assert totals.means() == restored.means()


def test_means_are_float32_values():
  totals = Totals()
  totals.add({'loss': (1.0, 3.0)})
  assert totals.means()['loss'] == float(np.float32(1 / 3))
