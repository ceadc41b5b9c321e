"""Every example once, on any mesh."""

import functools

import jax
import numpy as np
import pytest

from bertjax import batch
from bertjax.errors import UserError
from bertjax.finetuning import scoring
from bertjax.models.bert import BertForTask
from bertjax.models.config import EncoderConfig
from bertjax.parallel import partitioning
from bertjax.tasks import kinds
from bertjax.tasks.examples import TextExample
from bertjax.tasks.specs import Task
from bertjax.text.tokenizer import Tokenizer
from bertjax.text.vocabulary_file import SPECIAL_TOKENS
from bertjax.training import optimizer, state
from bertjax.training.task_objective import TaskObjective

TASK = Task('t', 'classes', ('a', 'b', 'c'), length=12, batch_size=5)
CONFIG = EncoderConfig(
  vocabulary_size=16,
  width=8,
  layers=1,
  heads=2,
  feed_forward=16,
  positions=20,
  initializer_stddev=0.5,
)
TOKENIZER = Tokenizer([*SPECIAL_TOKENS, *'abcdefgh'], False)


@pytest.mark.parametrize('devices', [1, 8])
def test_the_score_is_that_of_each_example_alone(devices):
  rng = np.random.default_rng(0)
  examples = [
    TextExample(
      (' '.join(rng.choice(list('abcdefgh'), n % 9 + 1)),), TASK.labels[n % 3]
    )
    for n in range(37)
  ]
  mesh = partitioning.make_mesh(devices=jax.devices()[:devices])
  model = BertForTask(CONFIG, 'classifier', 3)
  objective = TaskObjective(model, kinds.KINDS['classes'].loss)
  shapes = batch.shapes(8, 12, 0, keys=batch.TASK)
  abstract = state.abstract(objective, optimizer.adamw(1e-3), shapes, mesh)
  parameters = state.create(
    objective, optimizer.adamw(1e-3), shapes, mesh, 1
  ).parameters
  trivial = kinds.KINDS['classes'].trivial(TASK, examples[1:2])
  evaluation = scoring.TaskEvaluation(model, TASK, TOKENIZER, examples, trivial)
  evaluate = evaluation.prepare(mesh, abstract, run_dir='')
  values = evaluate(parameters, None).values

  alone = jax.jit(functools.partial(model.apply, train=False))
  right = 0
  for row, label in kinds.labelled_rows(TASK, TOKENIZER, examples):
    ids = np.asarray([row.ids], np.int32)
    logits = alone(
      {'params': jax.device_get(parameters)},
      {
        'tokens': ids,
        'types': 0 * ids,
        'segments': 0 * ids + 1,
        'positions': np.arange(ids.shape[1], dtype=np.int32)[None],
        'first_positions': np.zeros((1, 1), np.int32),
      },
    )['logits']
    right += int(np.argmax(logits) == label)
  assert 0 < right < 37
  assert values['accuracy'] == pytest.approx(right / 37)
  assert values['accuracy_baseline'] == pytest.approx(
    12 / 37
  )  # 'b', of training


def test_nothing_to_score_is_refused():
  with pytest.raises(UserError, match='EVAL_FILES'):
    scoring.TaskEvaluation(None, TASK, TOKENIZER, [], None)
