"""The table of kinds of task: all that is known of one is its row.

    kind = kinds.find('classes')
    rows = Rows.of(kinds.labelled_rows(task, tokenizer, train), kind.label)
    pairs = kinds.answers(task, tokenizer, examples, run)
    values = kind.score(task, pairs)

Training, evaluation, prediction from files and `Predictor` go through it. Other
code may add rows; `dataclasses.replace` makes one out of another.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from bertjax.errors import UserError, choose, expect
from bertjax.models import bert
from bertjax.runs import model_file
from bertjax.tasks import (
  answer_spans,
  record_files,
  squad,
  text_inputs,
  text_labels,
  untrained,
  word_tags,
)
from bertjax.tasks.examples import Answered, Results
from bertjax.tasks.labelled_batches import Label
from bertjax.tasks.specs import Task
from bertjax.text.batching import Row
from bertjax.text.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True)
class Kind:
  """A kind of task. Those without a `loss` need no training.

  Attributes:
    encode: (task, tokenizer, examples) -> rows, each with an `examples.Part` as
      its source; at least one an example.
    decode: (task, tokenizer, (row, result) pairs) -> (example, answer) pairs.
    read: (task, path or paths, whether labels are wanted) -> examples; takes
      `columns` as well.
    write: (task, path, (example, answer) pairs, their number) -> a line that
      says what was written.
    suffixes: what the name of such a file may end in; '' is none.
    beside: what a second file has in place of its suffix; '': there is none.
    columns: further arguments of `read`, left out if not set.
    head: a name in `models.bert.TASK_HEADS`; '' without a loss.
    outputs: C, how many numbers the head gives, of a task.
    loss: (logits, labels, segments) -> losses in the shape of `label_weights`;
      all float32, see `bertjax.batch`.
    label: the dimensions of `labels` in a batch, see `bertjax.batch`, and their
      dtype. Those of tokens, 'BL', are ids, and so are 'BS' in int32.
    label_of: (task, row) -> its label.
    metrics: names that a task may have; the first `usual` ones if it has none.
    score: (task, (example, answer) pairs) -> name -> value.
    trivial: (task, training examples) -> a function from an example to an
      answer that a model must beat.
    windows: whether an example can have several rows, see `Task.stride`.
    packs: whether several sequences may share a row.
    check: (task, examples to score on) says what is odd about them.
  """

  encode: Callable[[Task, Tokenizer, Iterable[Any]], Iterator[Row]]
  decode: Callable[[Task, Tokenizer, Results], Answered]
  read: Callable[..., Iterable[Any]]
  write: Callable[[Task, str, Answered, int], str]
  suffixes: tuple[str, ...] = ('.jsonl',)
  beside: str = ''
  columns: tuple[str, ...] = ()
  head: str = ''
  outputs: Callable[[Task], int] = lambda task: len(task.labels)
  loss: Callable[[Array, Array, Array], Array] | None = None
  label: tuple[str, type] = ('BS', np.int32)
  label_of: Callable[[Task, Row], Label] | None = None
  metrics: tuple[str, ...] = ()
  usual: int = 2
  score: Callable[..., dict[str, float]] = lambda task, pairs: {}
  trivial: Callable[..., Callable[[Any], Any]] | None = None
  windows: bool = False
  packs: bool = True
  check: Callable[[Task, Iterable[Any]], None] = lambda task, examples: None

  @property
  def weighs(self) -> bool:
    """Whether labels are ids of classes, which can have weights."""
    return self.label in (('BS', np.int32), ('BL', np.int32))


def _of_classes(logits: Array, labels: Array, segments: Array) -> Array:
  return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def _of_numbers(logits: Array, labels: Array, segments: Array) -> Array:
  return jnp.square(logits[..., 0] - labels)


def _of_several(logits: Array, labels: Array, segments: Array) -> Array:
  return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, labels), axis=-1)


def _of_spans(
  logits_BL2: Array, labels_BS2: Array, segments_BL: Array
) -> Array:
  """The mean cross-entropy of a span's first and last token."""
  logits_B2L = jnp.where(
    segments_BL[:, None] > 0, logits_BL2.swapaxes(1, 2), -1e9
  )
  losses_BS2 = optax.softmax_cross_entropy_with_integer_labels(
    logits_B2L[:, None], labels_BS2
  )
  return jnp.mean(losses_BS2, axis=-1)


_CLASSES = Kind(
  encode=text_labels.encode,
  decode=text_labels.decode_class,
  read=functools.partial(text_inputs.read, label='classes'),
  write=record_files.write,
  columns=('text_columns', 'label_column'),
  head='classifier',
  loss=_of_classes,
  label_of=text_labels.target,
  metrics=('accuracy', 'f1_macro', 'f1', 'f1_micro', 'matthews'),
  score=text_labels.score,
  trivial=text_labels.most_frequent,
  check=text_labels.check,
)
_MASKS = Kind(
  encode=untrained.encode_masks,
  decode=untrained.decode_masks,
  read=text_inputs.read,
  write=untrained.write_masks,
  columns=('text_columns',),
)
# Heads and losses are those of transformers' BertFor... classes, but that of
# spans: there padding has a share of the softmax, here it has none.
KINDS = {
  'classes': _CLASSES,
  'number': dataclasses.replace(
    _CLASSES,
    decode=text_labels.decode_number,
    read=functools.partial(text_inputs.read, label='number'),
    outputs=lambda task: 1,
    loss=_of_numbers,
    label=('BS', np.float32),
    metrics=('pearson', 'spearman'),
    trivial=text_labels.mean,
  ),
  'labels': dataclasses.replace(
    _CLASSES,
    decode=text_labels.decode_several,
    read=functools.partial(text_inputs.read, label='labels'),
    loss=_of_several,
    label=('BSC', np.float32),
    metrics=('f1_micro', 'f1_macro', 'accuracy'),
    trivial=text_labels.usual,
  ),
  'tags': Kind(
    encode=word_tags.encode,
    decode=word_tags.decode,
    read=word_tags.read,
    write=word_tags.write,
    suffixes=word_tags.SUFFIXES,
    head='tag_head',
    loss=_of_classes,
    label=('BL', np.int32),
    label_of=word_tags.tag_ids,
    metrics=('f1', 'precision', 'recall', 'accuracy'),
    usual=4,
    score=word_tags.score,
    trivial=word_tags.most_frequent,
    check=word_tags.check,
  ),
  'spans': Kind(
    encode=answer_spans.encode,
    decode=answer_spans.decode,
    read=lambda task, source, labelled: squad.read(source, labelled),
    write=answer_spans.write,
    suffixes=('.json',),
    beside=answer_spans.N_BEST,
    head='span_head',
    outputs=lambda task: 2,
    loss=_of_spans,
    label=('BS2', np.int32),
    label_of=answer_spans.first_and_last,
    metrics=('f1', 'exact_match'),
    score=answer_spans.score,
    trivial=answer_spans.first_words,
    windows=True,
    packs=False,
  ),
  'masks': _MASKS,
  'vectors': dataclasses.replace(
    _MASKS,
    encode=text_labels.encode,
    decode=untrained.decode_vector,
    write=untrained.write_vectors,
    suffixes=('.npy', '.jsonl'),
  ),
}


def find(name: str) -> Kind:
  """Returns a row of `KINDS`; raises UserError if there is none."""
  return choose(KINDS, name, 'the kind, or import the module that adds it')


def of_texts() -> dict[str, Kind]:
  """Returns the kinds whose examples are texts with a label in a column."""
  return {
    k: kind for k, kind in KINDS.items() if 'label_column' in kind.columns
  }


def head_of(task: Task) -> str:
  """Returns the name of the task's head, see `models.bert.TASK_HEADS`."""
  return task.head or find(task.kind).head


def check_task(task: Task) -> None:
  """Raises UserError unless kind, head and metrics exist and go together."""
  kind = find(task.kind)
  for metric in task.metrics if kind.metrics else ():
    choose(dict.fromkeys(kind.metrics), metric, 'METRICS')
  some = task.metrics or not kind.metrics
  expect(some, f'metrics of {task.name}', [*task.metrics], 'METRICS')
  if kind.head and task.head:
    reads = bert.reads_positions(task.head) == bert.reads_positions(kind.head)
    expect(reads, f'a head for {task.kind}', task.head, 'Task.head')


def of_json(content: dict[str, Any]) -> Task:
  """Returns the task that task.json describes, see `model_file.write_task`.

  Fields that are not a task's are left out; metrics are the usual ones if it
  has none.

  Args:
    content: the file's, maybe with `path` and `outputs`, see `TrainedModel`.

  Raises:
    UserError: it cannot be, or is not of the head among the parameters.
  """
  path = content.get('path', 'task.json')
  try:
    kind = find(content['kind'])
  except UserError as error:
    raise model_file.damaged(path, error) from error
  usual = {'task': 'task', 'metrics': kind.metrics[: kind.usual]}
  content = {**usual, **content}
  content['name'] = content['task']
  names = {field.name for field in dataclasses.fields(Task)}
  fields = {key: x for key, x in content.items() if key in names}
  try:
    task = Task(**fields)
    check_task(task)
    if kind.head and (heads := content.get('outputs')) is not None:
      head, count = head_of(task), kind.outputs(task)
      numbers = ', '.join(f'{k} of {n} numbers' for k, n in heads.items())
      if heads.get(head, -1) not in (0, count):  # 0: of another form
        raise UserError(
          f'expected the checkpoint to have a {head} of {count} numbers, as '
          f'kind {task.kind} and {len(task.labels)} labels ask for, got '
          f'{numbers or "no head"}'
        )
  except (TypeError, UserError) as error:
    raise model_file.damaged(path, error) from error
  return task


def check(task: Task | None, wanted: Sequence[str], origin: str) -> Task:
  """Returns the task of a model that was fine-tuned for one of `wanted`.

  Args:
    task: what the model was fine-tuned for; None: nothing.
    wanted: keys of `KINDS`; none: any will do.
    origin: where the model comes from, for the message.

  Raises:
    UserError: it was not.
  """
  if task and (not wanted or task.kind in wanted):
    return task
  has = f'the head of a task of {task.kind}' if task else 'no head of a task'
  trained = [name for name, kind in KINDS.items() if kind.loss]
  raise UserError(
    f'{origin} has {has}, and one of {" or ".join(wanted or trained)} is '
    'needed; set MODEL to a run that was fine-tuned for that'
  )


def labelled_rows(
  task: Task, tokenizer: Tokenizer, examples: Iterable[Any]
) -> Iterator[tuple[Row, Label]]:
  """Yields rows with their labels, to train on; see `Kind.encode`."""
  kind = find(task.kind)
  assert kind.label_of is not None  # a kind that is trained
  for row in kind.encode(task, tokenizer, examples):
    if len(row.ids):
      yield row, kind.label_of(task, row)


def answers(
  task: Task,
  tokenizer: Tokenizer,
  examples: Iterable[Any],
  run: Callable[[Iterable[Row]], Results],
) -> Answered:
  """Yields each example with the model's answer.

  Args:
    task: gives kind, labels and the length of rows.
    tokenizer: the model's.
    examples: of any number.
    run: maps rows to pairs of a row and the model's result for it.
  """
  kind = find(task.kind)
  found = run(kind.encode(task, tokenizer, examples))
  return kind.decode(task, tokenizer, found)
