"""The interface of a source of text, for seqio and to train a vocabulary.

    source.get_dataset('train', seed=0)   # {document: int64, text: string}
    for text in source.texts('train'):
      ...
    print(source.report())

`text` is clean lines (paragraphs or sentences) joined by newlines, none blank.
`document` is a hash, equal for all records of a document. The splits 'train'
and 'validation' never share a document. Every order depends only on the seed,
and tf.data's symbolic checkpoints restore it.
"""

import abc
from collections.abc import Iterator

from bertjax.data import text_store
from bertjax.data.quiet_tensorflow import seqio


class TextSource(seqio.DataSource, abc.ABC):
  """A seqio source of `{document, text}`; subclasses are dataclasses."""

  supports_arbitrary_sharding = True  # seqio leaves it to `get_dataset`

  def __post_init__(self):
    # seqio is not told the number of examples: it might cache them in memory,
    # which a symbolic checkpoint cannot restore.
    super().__init__(text_store.SPLITS, performs_internal_shuffling=True)

  @abc.abstractmethod
  def texts(self, split: str) -> Iterator[str]:
    """Yields every text of a split in a fixed order, in flat memory."""

  @abc.abstractmethod
  def report(self) -> str:
    """Returns what the source holds and what was wrong with it."""
