"""What every source of text is to seqio and to the training of a vocabulary.

    source.get_dataset('train', seed=0)   # {document: int64, text: string}
    for text in source.texts('train'):
      ...
    print(source.report())

`text` has clean lines (paragraphs or sentences) joined by newlines, none blank;
`document` is equal where two records may come from one document. The splits are
'train' and 'validation', and never share a document. Every order depends on
the seed alone and is restored by tf.data's symbolic checkpoints. Source: ours.
"""

import abc
from collections.abc import Iterator

import seqio

from bertjax.data import text_store


class TextSource(seqio.DataSource, abc.ABC):
  """What the sources below have in common."""

  def __init__(self):
    # Without a number of examples seqio keeps no copy in memory, which a
    # symbolic checkpoint could not restore.
    super().__init__(
      splits=text_store.SPLITS,
      num_input_examples=None,
      performs_internal_shuffling=True,
    )

  @property
  def supports_arbitrary_sharding(self) -> bool:
    """True: seqio leaves the sharding to `get_dataset`."""
    return True

  @abc.abstractmethod
  def texts(self, split: str) -> Iterator[str]:
    """Yields every text of a split, in a fixed order and in flat memory."""

  @abc.abstractmethod
  def report(self) -> str:
    """Returns what the source holds, and what was wrong with it."""
