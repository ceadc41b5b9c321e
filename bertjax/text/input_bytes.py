r"""The bytes of a file: looked at, decompressed, and turned into UTF-8.

    for block in input_bytes.blocks('books.txt.gz', 'TEXT_FILES'):
      ...  # bytes, about 64 KB

What the first bytes say counts, whatever the suffix is. Memory stays flat,
however much a few bytes expand to.
"""

import bz2
import codecs
import contextlib
import functools
import gzip
import io
import itertools
import lzma
import os
import re
import types
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

from bertjax.errors import UserError

# What may name a file of examples or of texts.
FILES = 'INPUT, TRAIN_FILES, EVAL_FILES or DATA_DIR'

_BLOCK_BYTES = 1 << 16
_HEAD_BYTES = 1 << 13  # what is looked at
# A dictionary of xz, or a window of zstandard: `xz -9` has 64 MB, `zstd
# --ultra -22` 128 MB.
_LARGEST_WINDOW = 1 << 27
# Faults that the head of a text may have: so many, or a share of its bytes.
# Prose in Latin-1 has 5% or less outside of ASCII, other alphabets have most.
_STRAY, _CONTROL_SHARE, _INVALID_SHARE = 8, 0.05, 0.2

# The 32-bit marks come before the 16-bit ones: UTF-32-LE's mark begins with
# UTF-16-LE's.
_BYTE_ORDER_MARKS = (
  (codecs.BOM_UTF8, 'utf-8'),
  (codecs.BOM_UTF32_LE, 'utf-32-le'),
  (codecs.BOM_UTF32_BE, 'utf-32-be'),
  (codecs.BOM_UTF16_LE, 'utf-16-le'),
  (codecs.BOM_UTF16_BE, 'utf-16-be'),
)
_CONTROLS = bytes({*range(32), 127} - {*b'\b\t\n\v\f\r\x1b'})


def _gzip(file: BinaryIO, size: int) -> Iterator[bytes]:
  return _read(gzip.GzipFile(fileobj=file), size)


def _bz2(file: BinaryIO, size: int) -> Iterator[bytes]:
  # bz2.BZ2File takes what is no stream for the end.
  return _streams(bz2.BZ2Decompressor, file, size)


def _xz(file: BinaryIO, size: int) -> Iterator[bytes]:
  # lzma.LZMAFile has no limit of memory.
  def decoder() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, 2 * _LARGEST_WINDOW)

  return _streams(decoder, file, size)


def _streams(
  make: Callable[[], Any], file: BinaryIO, size: int
) -> Iterator[bytes]:
  """Yields what the streams of a file hold, one behind the other."""
  data = file.read(_BLOCK_BYTES)
  while data:
    decoder = make()
    while not decoder.eof:
      if decoder.needs_input and not data:
        data = file.read(_BLOCK_BYTES)
        if not data:
          raise EOFError('it ends inside a stream')
      if found := decoder.decompress(data, size):  # b'' is the end to readers
        yield found
      data = b''
    data = decoder.unused_data.lstrip(b'\0')  # padding
    while not data and (more := file.read(_BLOCK_BYTES)):
      data = more.lstrip(b'\0')


def _zstandard(file: BinaryIO, size: int) -> Iterator[bytes]:
  import pyarrow  # slow to import

  # At its end pyarrow would close the file.
  handle = types.SimpleNamespace(read=file.read, closed=False, close=bool)
  # Unlike the files of the package zstandard it notices a missing end. It takes
  # windows of up to 128 MB.
  found = pyarrow.PythonFile(handle, 'r')
  return _read(pyarrow.CompressedInputStream(found, 'zstd'), size)


def _read(file: Any, size: int) -> Iterator[bytes]:
  return iter(functools.partial(file.read, size), b'')


# What a file begins with -> its kind.
_COMPRESSED: dict[str, tuple[bytes, str, Callable[..., Iterator[bytes]]]] = {
  '.gz': (rb'\x1f\x8b', 'gzip', _gzip),
  '.bz2': (rb'BZh[1-9](1AY&SY|\x17rE8P\x90)', 'bzip2', _bz2),
  '.xz': (rb'\xfd7zXZ\0', 'xz', _xz),
  '.zst': (
    rb'\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18',
    'zstandard',
    _zstandard,
  ),
}
SUFFIXES = tuple(_COMPRESSED)
_PARQUET = (rb'PAR1[^ -~\s]', 'a Parquet file')
_OTHERS = (
  _PARQUET,
  *((start, f'a {name} file') for start, name, _ in _COMPRESSED.values()),
  (rb'%PDF-', 'a PDF document'),
  (
    rb'PK\x03\x04.{26}(\[Content_Types|_rels/|docProps/|word/|xl/|ppt/)',
    'an Office document',
  ),
  (rb'PK\x03\x04.{26}mimetype', 'an e-book or OpenDocument'),
  (rb'PK(\x03\x04|\x05\x06|\x07\x08)', 'a zip archive'),
  (rb'\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1', 'an old Office document'),
  (rb'\{\\rtf', 'an RTF document'),
  (rb'%!PS-', 'a PostScript document'),
  (rb'.{257}ustar', 'a tar archive'),
  (rb'7z\xbc\xaf\x27\x1c', 'a 7z archive'),
  (rb'Rar!\x1a\x07', 'a RAR archive'),
  (rb'\x04\x22\x4d\x18', 'an lz4 file'),
  (rb'\x1f[\x9d\xa0]', 'a .Z file'),
  (rb'\x7fELF|MZ.{0,62}\0|\xca\xfe\xba\xbe', 'a program'),
  (rb'[\xce\xcf]\xfa\xed\xfe|\xfe\xed\xfa[\xce\xcf]', 'a program'),
  (rb'\x80[\x02-\x05]|\([dl]p[01]\n|c(copy_reg|__main__)\n', 'a pickle'),
  (rb'\x89PNG', 'a PNG image'),
  (rb'\xff\xd8\xff', 'a JPEG image'),
  (rb'GIF8[79]a', 'a GIF image'),
  (rb'BM.{4}\0{4}', 'a BMP image'),
  (rb'II\*\0|MM\0\*', 'a TIFF image'),
  (rb'RIFF.{4}WEBP', 'a WebP image'),
  (rb'RIFF.{4}(WAVE|AVI )|ID3[\x02-\x04]|\xff\xfb|fLaC|OggS\0', 'a recording'),
  (rb'\0{3}.ftyp', 'a film'),
  (rb'SQLite format 3\0', 'an SQLite database'),
  (rb'\x89HDF', 'an HDF5 file'),
  (rb'\x93NUMPY', 'a NumPy array'),
  (rb'.{6}\0\0\{"', 'a safetensors file'),
  (rb'GGUF[\x01-\x08]', 'a GGUF file'),
  (rb'ARROW1\0|\xff{4}.{3}\0', 'an Arrow file'),
  (rb'Obj\x01', 'an Avro file'),
  (rb'ORC[\0-\x08]', 'an ORC file'),
)
# Comments may come first; what they are is not tried twice.
_HTML = (
  rb'(?i)\s*(<\?xml[^>]*>\s*)?(?>(<!--.*?-->\s*)*)'
  rb'<(!doctype\s+html|html)\b'
)
# What a plain text does not begin with, and what to do.
_PAGE_SUFFIXES = ('.html', '.htm', '.xhtml')
_MARKED = (
  (
    rb'\s*\{\s*"(\\.|[^"\\])*"\s*:',
    'JSON',
    'rename it to .jsonl, with an object a line',
  ),
  (
    _HTML,
    'HTML',
    'text comes out of it by prepare_corpus, or turn it into text',
  ),
)


def open_file(path: str) -> BinaryIO:
  """Opens a local file, or one of a scheme that fsspec knows, such as gs://."""
  if '://' not in path:
    return open(path, 'rb')
  system, place = file_system(path)
  return io.BufferedReader(system.open(place, 'rb'))


def file_system(path: str) -> tuple[Any, str]:
  """Returns what opens a path with a scheme, and its name of the path.

  Raises:
    ImportError: it needs a package, which the message names.
    ValueError: there is no such scheme.
  """
  import fsspec  # slow to import

  return fsspec.core.url_to_fs(path)


@contextlib.contextmanager
def explained(path: str, setting: str) -> Iterator[None]:
  """Turns what reading a file fails with into a UserError."""
  try:
    yield
  except UserError:
    raise
  except FileNotFoundError as error:
    raise UserError(
      f'expected a file that is there and can be read, got {path!r}; set '
      f'{setting}'
    ) from error
  except (EOFError, zlib.error, lzma.LZMAError, UnicodeDecodeError) as error:
    raise UserError(_damaged(path, error, setting)) from error
  except (OSError, ImportError, ValueError) as error:
    # gzip, bz2 and pyarrow have no error of their own.
    if isinstance(error, OSError) and error.errno is None:
      raise UserError(_damaged(path, error, setting)) from error
    reason = getattr(error, 'strerror', None) or str(error)
    raise UserError(
      f'cannot read {path}: {" ".join(reason.split())[:200]}; make it readable '
      f'or set {setting}'
    ) from error


def _damaged(path: str, error: Exception, setting: str) -> str:
  return (
    f'{path} is cut off, damaged or not what it begins as '
    f'({" ".join(str(error).split())[:200]}); replace it, or leave it out of '
    f'{setting}'
  )


def is_parquet(path: str, setting: str = FILES) -> bool:
  """Returns whether a file begins as Parquet does; opens no pipe."""
  with explained(path, setting):
    if '://' not in path and not os.path.isfile(path):
      return False
    with open_file(path) as file:
      return _begins(file.read(8), _PARQUET[0])


def blocks(
  path: str,
  setting: str = FILES,
  progress: Callable[[int], None] = lambda read: None,
) -> Iterator[bytes]:
  """Yields the text of a file in blocks of UTF-8, without a byte order mark.

  UTF-16 and UTF-32 with a mark are turned into UTF-8, and so is UTF-16 without
  one if every other byte is 0. Faults in UTF-8 stay as they are.

  Args:
    path: plain or compressed, whatever its suffix says; a pipe as well.
    setting: names the file, for messages.
    progress: is called with the bytes of the file that are read.

  Raises:
    UserError: it cannot be read or decompressed, or is no text.
  """
  with explained(path, setting), open_file(path) as file:
    head, mark, encoding, found = _look(path, file, _BLOCK_BYTES, setting)
    data: Iterator[bytes] = itertools.chain([head[len(mark) :]], found)
    if encoding != 'utf-8':
      data = _as_utf_8(data, encoding)
    for block in itertools.chain(data, [b'']):  # the end may lie behind all
      progress(file.tell() if file.seekable() else 0)
      yield block


def decompressed(
  path: str,
  setting: str = FILES,
  progress: Callable[[int], None] = lambda read: None,
) -> Iterator[bytes]:
  """Yields the bytes of a file in blocks, whatever they are.

  Args:
    path: plain or compressed, whatever its suffix says.
    setting: names the file, for messages.
    progress: is called with the bytes of the file that are read.

  Raises:
    UserError: it cannot be read or decompressed.
  """
  with explained(path, setting), open_file(path) as file:
    for block in _decompressed(path, file, _BLOCK_BYTES, setting):
      progress(file.tell() if file.seekable() else 0)
      yield block


def page_form(path: str, setting: str = FILES) -> str | None:
  """Returns 'warc' or 'html', None for anything else.

  Its first bytes say so, decompressed; for HTML, its suffix will do.

  Raises:
    UserError: it cannot be read or decompressed.
  """
  head = next(decompressed(path, setting), b'')
  if head.startswith(b'WARC/'):
    return 'warc'
  html = _begins(head.removeprefix(codecs.BOM_UTF8), _HTML)
  name = path.lower()
  for suffix in SUFFIXES:
    name = name.removesuffix(suffix)
  return 'html' if html or os.path.splitext(name)[1] in _PAGE_SUFFIXES else None


def check_text(path: str, setting: str = FILES, plain: bool = False) -> None:
  """Raises UserError for a file that is no text; opens no pipe.

  Args:
    path: of the file.
    setting: names it, for messages.
    plain: whether JSON and HTML are not meant either.
  """
  if '://' not in path and not os.path.isfile(path):
    return
  with explained(path, setting), open_file(path) as file:
    head, mark, *_ = _look(path, file, _HEAD_BYTES, setting)
  for start, kind, fix in _MARKED if plain else ():
    if _begins(head[len(mark) :], start):
      raise UserError(
        f'expected plain text in {path}, got {kind}; {fix}, or leave it out '
        f'of {setting}'
      )


def _look(
  path: str, file: BinaryIO, size: int, setting: str
) -> tuple[bytes, bytes, str, Iterator[bytes]]:
  """Returns the head, its byte order mark, its encoding, and what follows.

  Args:
    path: names the file.
    file: at its start.
    size: of blocks.
    setting: for messages.
  """
  found = filter(None, _decompressed(path, file, size, setting))
  head = b''
  while len(head) < _HEAD_BYTES and (block := next(found, None)):
    head += block
  return head, *_encoding(head[:_HEAD_BYTES], path, setting), found


def _decompressed(
  path: str, file: BinaryIO, size: int, setting: str
) -> Iterator[bytes]:
  head = file.peek(16)  # type: ignore[attr-defined]
  for start, _, decompress in _COMPRESSED.values():
    if _begins(head, start):
      return decompress(file, size)
  suffix = os.path.splitext(path)[1].lower()
  if head and suffix in _COMPRESSED:
    raise UserError(
      f'expected {_COMPRESSED[suffix][1]} in {path}, as its suffix says, got '
      f'something else; rename it, or leave it out of {setting}'
    )
  return _read(file, size)


def _encoding(head: bytes, path: str, setting: str) -> tuple[bytes, str]:
  """Returns a byte order mark, and the encoding; refuses what is no text."""
  for start, kind in _OTHERS:
    if _begins(head, start):
      raise UserError(
        f'expected text in {path}, got {kind}; turn it into text, or leave it '
        f'out of {setting}'
      )
  for mark, encoding in _BYTE_ORDER_MARKS:
    if head.startswith(mark):
      return mark, encoding
  zeros = [head[start::2].count(0) / max(1, len(head) // 2) for start in (0, 1)]
  if max(zeros) > 0.5 and min(zeros) < 0.05:
    return b'', 'utf-16-be' if zeros[0] > 0.5 else 'utf-16-le'
  controls = len(head) - len(head.translate(None, _CONTROLS))
  if controls > max(_STRAY, _CONTROL_SHARE * len(head)):
    raise UserError(
      f'expected text in {path}, got binary data; leave it out of {setting}'
    )
  decoder = codecs.getincrementaldecoder('utf-8')  # the head may cut the last
  wrong = decoder('replace').decode(head).count('\ufffd')
  wrong -= decoder('ignore').decode(head).count('\ufffd')  # those that it has
  if wrong > max(_STRAY, _INVALID_SHARE * len(head)):
    raise UserError(
      f'expected UTF-8 in {path}, got another encoding or binary data; convert '
      f'it: iconv -f latin1 -t utf8, or leave it out of {setting}'
    )
  return b'', 'utf-8'


def _begins(head: bytes, pattern: bytes) -> bool:
  return re.match(pattern, head, re.DOTALL) is not None


def _as_utf_8(data: Iterable[bytes], encoding: str) -> Iterator[bytes]:
  # Lone surrogates pass, and are faults of UTF-8 then.
  decoder = codecs.getincrementaldecoder(encoding)('surrogatepass')
  for block in data:
    yield decoder.decode(block).encode('utf-8', 'surrogatepass')
  yield decoder.decode(b'', final=True).encode('utf-8', 'surrogatepass')
