import jax
import numpy as np
import optax
import pytest
import scipy.stats

from bertjax import batch
from bertjax.models import bert, config
from bertjax.parallel import partitioning
from bertjax.training import evaluation, objectives, state

OBJECTIVE = objectives.MaskedLanguageModel(
  bert.BertForPreTraining(
    config.EncoderConfig(
      vocabulary_size=50, width=8, layers=1, heads=1, feed_forward=8
    )
  )
)


def test_baselines_are_the_best_constant_answers():
  mesh = partitioning.make_mesh(devices=jax.devices()[:1])
  batches = [batch.synthetic(4, 16, 3, 50, seed=i) for i in range(3)]
  ones = {'mlm_accuracy': (np.ones(()), np.ones(()))}
  values = evaluation.evaluate(OBJECTIVE, lambda _: ones, batches, mesh)
  targets = np.concatenate([b['targets'][b['weights'] > 0] for b in batches])
  labels = np.concatenate([b['pair_labels'].ravel() for b in batches])
  best = max((targets == t).mean() for t in set(targets))
  assert values['mlm_baseline'] == pytest.approx(best, rel=1e-6)
  share = labels.mean()
  assert values['nsp_baseline'] == pytest.approx(max(share, 1 - share), 1e-6)
  for name, answers in (('mlm', targets), ('nsp', labels)):
    _, counts = np.unique(answers, return_counts=True)
    entropy = scipy.stats.entropy(counts)
    assert values[f'{name}_loss_baseline'] == pytest.approx(entropy, 1e-6)


def test_no_batches_give_no_values():
  mesh = partitioning.make_mesh()
  assert evaluation.evaluate(OBJECTIVE, None, [], mesh) == {}


def test_a_line_has_each_loss_by_what_people_call_it():
  values = {'mlm_loss': 2.5, 'mlm_accuracy': 0.5, 'mlm_baseline': 0.25}
  assert evaluation.summary(OBJECTIVE, values | {'nsp_loss': 1.0}) == (
    'masked LM loss 2.5000, accuracy 0.5000 (always the most frequent answer: '
    '0.2500); next sentence loss 1.0000'
  )
  values = {'mlm_loss': 2.5, 'mlm_loss_baseline': 6.25, 'nsp_accuracy': 0.75}
  assert evaluation.summary(OBJECTIVE, values | {'nsp_loss': 0.5}) == (
    'masked LM loss 2.5000 (frequencies alone: 6.2500); next sentence loss '
    '0.5000, accuracy 0.7500 (guessing: 0.5000)'
  )
  assert evaluation.summary(OBJECTIVE, {}) == ''


def test_filled_masks_show_guess_and_right_word():
  vocabulary = ['[PAD]', '[CLS]', '[SEP]', 'cat', 'sat', '##s']
  example = {
    'tokens': np.array([[1, 4, 0, 4, 2, 0]]),
    'segments': np.array([[1, 1, 1, 1, 1, 0]]),
    'target_positions': np.array([[1, 3]]),
    'targets': np.array([[3, 4]]),
    'weights': np.array([[1.0, 1.0]]),
  }
  texts = OBJECTIVE.show(np.array([[3, 5]]), example, vocabulary)
  assert texts == ['[CLS] [cat] [PAD] [##s≠sat] [SEP]']
  example['weights'] *= 0
  assert OBJECTIVE.show(np.array([[3, 5]]), example, vocabulary) == []


def test_a_piece_that_begins_a_text_is_shown_as_a_word():
  vocabulary = ['[PAD]', '[CLS]', '[SEP]', '##The', 'The', '##A', '##s', 'cat']
  example = {
    'tokens': np.array([[1, 3, 7, 2, 0, 6, 2], [1, 0, 7, 2, 3, 6, 2]]),
    'segments': np.ones((2, 7), int),
    'target_positions': np.array([[4, 0], [1, 5]]),
    'targets': np.array([[3, 0], [3, 6]]),
    'weights': np.array([[1.0, 0.0], [1.0, 1.0]]),
  }
  guesses = np.array([[3, 0], [5, 6]])
  assert OBJECTIVE.show(guesses, example, vocabulary) == [
    '[CLS] The cat [SEP] [The]s [SEP]',
    '[CLS] [A≠The] cat [SEP] The [##s] [SEP]',
  ]
  guesses[0, 0] = 4
  text, _ = OBJECTIVE.show(guesses, example, vocabulary)
  assert '[The≠##The]' in text


class Untitled(objectives.MaskedLanguageModel):
  samples_title = None


@pytest.mark.parametrize('kind', [Untitled, objectives.MaskedLanguageModel])
def test_samples_are_computed_only_if_they_have_a_title(
  tmp_path, monkeypatch, kind
):
  sampled = []

  def sample(self, parameters, batch):
    sampled.append(type(self))
    return batch['targets']

  monkeypatch.setattr(objectives.MaskedLanguageModel, 'sample', sample)
  objective = kind(OBJECTIVE.model)
  words = '\n'.join(f'word{i}' for i in range(50))
  (tmp_path / 'vocab.txt').write_text(words)
  mesh = partitioning.make_mesh(devices=jax.devices()[:1])
  rows = batch.synthetic(4, 16, 3, 50, seed=0)
  shapes = batch.shapes(4, 16, 3)
  fresh = state.create(objective, optax.identity(), shapes, mesh, seed=0)
  held_out = evaluation.HeldOut(objective, lambda: [rows])
  found = held_out.prepare(mesh, fresh, str(tmp_path))(fresh.parameters, None)
  assert 'mlm_loss' in found.values
  if objective.samples_title is None:
    assert not sampled and found.samples == []
  else:
    assert sampled and len(found.samples) == 4


def test_a_process_without_more_batches_adds_empty_ones(monkeypatch):
  mine = [batch.synthetic(4, 16, 3, 100, seed) for seed in range(2)]
  shapes = {key: (v.shape, v.dtype) for key, v in mine[0].items()}
  others = iter([shapes, shapes, shapes, None])
  monkeypatch.setattr(evaluation.processes, 'count', lambda: 2)
  monkeypatch.setattr(
    evaluation.processes, 'gather', lambda value: [value, next(others)]
  )
  found = list(evaluation._as_often(iter(mine)))
  assert found[:2] == mine and len(found) == 3
  batch.check(found[2])
  assert not any(value.any() for value in found[2].values())


def test_counts_of_all_processes_are_added(monkeypatch):
  monkeypatch.setattr(
    evaluation.processes, 'gather', lambda mine: [mine, [9.0, 2.0]]
  )
  example = batch.synthetic(4, 16, 3, 50, seed=0)
  example['pair_labels'][:] = [[0], [0], [1], [1]]
  values = evaluation.evaluate(
    OBJECTIVE, lambda _: {}, [example], partitioning.make_mesh(1, 1, 8)
  )
  assert values['nsp_baseline'] == pytest.approx(11 / 15)
