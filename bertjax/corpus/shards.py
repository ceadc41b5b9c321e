"""Token shards: a corpus as ids in Arrow files that are mapped, not read.

    with Writer('corpus/part', 'train', np.uint16) as writer:
      writer.add(document=7, tokens=ids, sentence_ends=ends)
    split = Split('corpus', writer.files)
    split.piece(0)   # Piece(document=7, tokens=uint16[T], sentence_ends=...)

A record is a piece of a document, at most 32 KB of its text: `document` is a
hash, the same for all pieces of a document; `tokens` its ids; `sentence_ends`
how many tokens there are up to the end of each sentence; `checksum` the CRC-32
of both lists. Every batch of records but a file's last has `RECORDS` of them,
so that any piece is found by its number.

Why Arrow's IPC file format: `pandas.read_feather` and Hugging Face's
`load_dataset('arrow', data_files=...)` open it as it is, a piece is read from
the mapped file without a copy in microseconds, and pyarrow is there anyway.
ArrayRecord took {array_record} (experiments/LOG.md).
"""

import functools
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, NoReturn, Self

import numpy as np
import pyarrow

from bertjax.errors import UserError

SPLITS = ('train', 'validation')
RECORDS = 1024  # pieces in a batch of Arrow
_FILE_BYTES = 1 << 28  # of tokens; then a file is full
_OPENED = 4096  # batches of Arrow whose arrays are kept at hand
_FIX = 'prepare the corpus anew, or set CORPUS_DIR to another'


def is_name(name: str) -> bool:
  """Returns whether a `Writer` gives a file this name.

  >>> is_name('train-00000.arrow'), is_name('data-00000-of-00001.arrow')
  (True, False)
  """
  of_split = rf'({"|".join(SPLITS)})(-\d+)?-\d{{5,}}\.arrow'
  return re.fullmatch(of_split, name) is not None


class Piece(NamedTuple):
  """A piece of a document.

  Attributes:
    document: hash of the document.
    tokens: uint16[T] or uint32[T].
    sentence_ends: uint16[n], ascending; the last is T.
  """

  document: int
  tokens: np.ndarray
  sentence_ends: np.ndarray


class Writer:
  """Writes the files of a split, `SPLIT-00000.arrow` and so on.

  Attributes:
    files: of each file its name, pieces, tokens and bytes; complete after the
      end of the `with`.
  """

  def __init__(self, folder: str, split: str, dtype: np.typing.DTypeLike):
    self.files: list[dict[str, Any]] = []
    self._folder, self._split = folder, split
    ids, ends = pyarrow.from_numpy_dtype(dtype), pyarrow.uint16()
    self._schema = pyarrow.schema(
      [
        ('document', pyarrow.int64()),
        ('tokens', pyarrow.list_(ids)),
        ('sentence_ends', pyarrow.list_(ends)),
        ('checksum', pyarrow.uint32()),
      ]
    )
    self._pieces: list[tuple[int, np.ndarray, np.ndarray]] = []
    self._file: Any = None
    self._sink: Any = None

  def __enter__(self) -> Self:
    return self

  def __exit__(self, kind: Any, *_: object) -> None:
    try:
      if kind is None and self._pieces:
        self._write()
      if kind is None and self._file:
        self._close()
    finally:
      if self._sink:
        self._sink.close()

  def add(
    self, document: int, tokens: np.ndarray, sentence_ends: np.ndarray
  ) -> None:
    """Adds a piece."""
    ends = sentence_ends.astype(np.uint16)
    self._pieces.append((document, tokens, ends))
    if len(self._pieces) == RECORDS:
      self._write()

  def _write(self) -> None:
    if not self._file:
      name = f'{self._split}-{len(self.files):05d}.arrow'
      self._sink = open(os.path.join(self._folder, name), 'wb')
      self._file = pyarrow.ipc.new_file(self._sink, self._schema)
      self.files.append({'name': name, 'pieces': 0, 'tokens': 0, 'bytes': 0})
    documents, tokens, ends = zip(*self._pieces, strict=True)
    checksums = [_checksum(*x) for x in zip(tokens, ends, strict=True)]
    columns = [documents, *map(list_array, (tokens, ends)), checksums]
    self._file.write_batch(
      pyarrow.record_batch(
        [
          pyarrow.array(column, field.type)
          for column, field in zip(columns, self._schema, strict=True)
        ],
        schema=self._schema,
      )
    )
    file = self.files[-1]
    file['pieces'] += len(documents)
    file['tokens'] += sum(map(len, tokens))
    self._pieces = []
    if file['tokens'] * tokens[0].itemsize >= _FILE_BYTES:
      self._close()

  def _close(self) -> None:
    self._file.close()
    self._sink.flush()
    os.fsync(self._sink.fileno())
    self.files[-1]['bytes'] = self._sink.tell()
    self._sink.close()
    self._file = None


def list_array(lists: Sequence[np.ndarray]) -> pyarrow.ListArray:
  """Returns lists of numbers as a column of Arrow."""
  offsets = np.zeros(len(lists) + 1, np.int32)
  np.cumsum([len(x) for x in lists], out=offsets[1:])
  return pyarrow.ListArray.from_arrays(offsets, np.concatenate(lists))


def pieces(batch: pyarrow.RecordBatch) -> Iterator[Piece]:
  """Yields the records of a batch of Arrow, without a copy."""
  tokens, ends = (_lists(batch[name]) for name in Piece._fields[1:])
  for row, document in enumerate(batch['document'].to_pylist()):
    yield Piece(document, _row(tokens, row), _row(ends, row))


def _lists(column: pyarrow.ListArray) -> tuple[np.ndarray, np.ndarray]:
  return column.offsets.to_numpy(), column.values.to_numpy()


def _checksum(tokens: np.ndarray, ends: np.ndarray) -> int:
  return zlib.crc32(ends.tobytes(), zlib.crc32(tokens.tobytes()))


class Split:
  """The pieces of a split, of which any is read by its number.

  Attributes:
    pieces: how many there are.
    tokens: of all pieces.
  """

  def __init__(self, folder: str, files: Sequence[dict[str, Any]]):
    """Opens nothing yet; `files` are those of a `Writer`."""
    self._folder, self._files = folder, files
    self._firsts = np.cumsum([0, *(file['pieces'] for file in files)])
    self.pieces = int(self._firsts[-1])
    self.tokens = sum(file['tokens'] for file in files)
    self._open = functools.cache(self._open_file)
    self._columns = functools.lru_cache(_OPENED)(self._columns_of)

  def __len__(self) -> int:
    return self.pieces

  def piece(self, number: int) -> Piece:
    """Returns a piece.

    Raises:
      UserError: its file is missing, cut or altered.
    """
    file = int(np.searchsorted(self._firsts, number, 'right')) - 1
    batch, row = divmod(number - int(self._firsts[file]), RECORDS)
    documents, tokens, ends, checksums = self._columns(file, batch)
    piece = Piece(int(documents[row]), _row(tokens, row), _row(ends, row))
    if _checksum(*piece[1:]) != checksums[row]:
      self._refuse(file, f'piece {number:,} has another checksum')
    return piece

  def check_files(self) -> None:
    """Raises UserError if a file is missing or has another size."""
    for number in range(len(self._files)):
      self._check_file(number)

  def _check_file(self, number: int) -> str:
    """Returns the path."""
    file = self._files[number]
    path = os.path.join(self._folder, file['name'])
    try:
      size = os.path.getsize(path)
    except OSError as error:
      self._refuse(number, error.strerror or str(error))
    if size != file['bytes']:
      self._refuse(number, f'it has {size:,} bytes of {file["bytes"]:,}')
    return path

  def _columns_of(self, file: int, number: int) -> tuple[Any, ...]:
    try:
      batch = self._open(file).get_batch(number)
    except pyarrow.ArrowException as error:
      self._refuse(file, ' '.join(str(error).split()))
    documents, tokens, ends, checksums = batch.columns
    return (
      documents.to_numpy(),
      _lists(tokens),
      _lists(ends),
      checksums.to_numpy(),
    )

  def _open_file(self, number: int) -> pyarrow.ipc.RecordBatchFileReader:
    path = self._check_file(number)
    try:
      # What was mapped stays so without the file, and a system allows some
      # 1,000 open ones, or 256.
      with pyarrow.memory_map(path) as file:
        shard = pyarrow.ipc.open_file(file.read_buffer())
      last = shard.num_record_batches - 1
      tail = shard.get_batch(last).num_rows if last >= 0 else 0
    except (OSError, pyarrow.ArrowException) as error:
      self._refuse(number, ' '.join(str(error).split()))
    found, wanted = max(last, 0) * RECORDS + tail, self._files[number]['pieces']
    if found != wanted:
      self._refuse(number, f'it has {found:,} pieces of {wanted:,}')
    return shard

  def _refuse(self, file: int, why: str) -> NoReturn:
    path = os.path.join(self._folder, self._files[file]['name'])
    raise UserError(f'cannot read the token shard {path}: {why}; {_FIX}')


def _row(lists: tuple[np.ndarray, np.ndarray], row: int) -> np.ndarray:
  offsets, values = lists
  return values[offsets[row] : offsets[row + 1]]
