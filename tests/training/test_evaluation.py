import jax
import numpy as np
import pytest

from bertjax import batch, partitioning
from bertjax.training import evaluation


def test_baselines_are_the_best_constant_answers():
  mesh = partitioning.make_mesh(devices=jax.devices()[:1])
  batches = [batch.synthetic(4, 16, 3, 50, seed=i) for i in range(3)]
  ones = {'mlm_accuracy': (np.ones(()), np.ones(())),
          'nsp_accuracy': (np.ones(()), np.ones(()))}
  values = evaluation.evaluate(lambda *_: ones, {}, batches, mesh)
  targets = np.concatenate([b['targets'][b['weights'] > 0] for b in batches])
  labels = np.concatenate([b['pair_labels'].ravel() for b in batches])
  best = max((targets == t).mean() for t in set(targets))
  assert values['mlm_baseline'] == pytest.approx(best, rel=1e-6)
  share = labels.mean()
  assert values['nsp_baseline'] == pytest.approx(max(share, 1 - share), 1e-6)


def test_no_batches_give_no_values():
  assert evaluation.evaluate(None, {}, [], partitioning.make_mesh()) == {}


def test_filled_masks_show_guess_and_right_word():
  class Model:
    def apply(self, variables, example, train):
      del variables, train
      return {'mlm_logits': jax.nn.one_hot(np.array([[3, 5]]), 6)}

  vocabulary = ['[PAD]', '[CLS]', '[SEP]', 'cat', 'sat', '##s']
  example = {
      'tokens': np.array([[1, 4, 0, 4, 2, 0]]),
      'segments': np.array([[1, 1, 1, 1, 1, 0]]),
      'target_positions': np.array([[1, 3]]),
      'targets': np.array([[3, 4]]),
      'weights': np.array([[1.0, 1.0]]),
  }
  text = evaluation.filled_masks(Model(), {}, example, vocabulary)
  assert text == '[CLS] [cat] [PAD] [##s≠sat] [SEP]'
