"""Reads the pages of a WARC file, as crawlers write it, by fastwarc.

    for page in warc.pages('crawl.warc.gz'):
      page.name, page.content  # its address and HTML

A page is what a server answered, or the text that was made of it (WET, as
Common Crawl publishes it: records of the type 'conversion'). The file is read
as a stream; a page at a time is in memory. Source: ISO 28500:2017. fastwarc
(Apache-2.0) comes with resiliparse, which `html_text` needs; warcio does the
same in Python. Neither notices that an archive ends inside a record, so that is
looked for here.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from bertjax.errors import UserError
from bertjax.text import input_bytes

# Of a page, after decompression, in bytes; what is longer is no page to read.
LONGEST_PAGE = 1 << 26
_HTML_TYPES = ('text/html', 'application/xhtml+xml')
_TEXT_TYPES = ('text/plain',)
_END = b'\r\n\r\n'  # of every record


class Page(NamedTuple):
  """A page of the web.

  Attributes:
    name: its address, or the path of its file, if it has none.
    content: None: it is too long, or the server sent it broken.
    is_html: or else text in UTF-8.
  """

  name: str
  content: bytes | None
  is_html: bool = True


def pages(
  path: str,
  setting: str = input_bytes.FILES,
  progress: Callable[[int], None] = lambda read: None,
) -> Iterator[Page]:
  """Yields each page that was found (status 200).

  Args:
    path: plain or compressed, as a whole or by record.
    setting: names the file, for messages.
    progress: is called with the bytes of the file that are read.

  Raises:
    UserError: it cannot be read, is no WARC file, is damaged or cut off; or
      fastwarc is not installed.
  """
  fastwarc = _fastwarc()
  types = fastwarc.WarcRecordType
  iterator = fastwarc.ArchiveIterator
  stream = _Stream(input_bytes.decompressed(path, setting, progress))
  least = most = 0  # where the last record may end
  try:
    for record in iterator(stream, parse_http=False, stream_detect=False):
      if not least <= record.stream_pos <= most:
        raise OSError(f'no record at {least:,}')
      least, most = (record.stream_pos + x for x in _lengths(record.headers))
      is_html = record.record_type in (types.response, types.resource)
      if not is_html and record.record_type != types.conversion:
        continue
      url = record.headers.get('WARC-Target-URI', '').strip('<>') or path
      wanted = _HTML_TYPES if is_html else _TEXT_TYPES
      try:
        page = _page(fastwarc.WarcRecord(), record, wanted)
      except OSError:
        yield Page(url, None, is_html)
      else:
        if page is not None:
          yield Page(url, page, is_html)
    if stream.read_bytes > most:
      raise OSError(f'no record at {least:,}')
  except OSError as error:
    raise UserError(
      f'expected a WARC file in {path}, got something else or a damaged one '
      f'({error}, of {stream.read_bytes:,} bytes); replace it, or leave it out '
      f'of {setting}'
    ) from error
  if stream.read_bytes < least or stream.last not in (b'', _END):
    raise UserError(
      f'{path} is cut off, inside its last record; replace it, or leave it out '
      f'of {setting}'
    )


class _Stream:
  """What fastwarc reads from; counts, and keeps the last bytes."""

  def __init__(self, blocks: Iterator[bytes]):
    self._blocks = blocks
    self._rest = b''
    self.read_bytes = 0
    self.last = b''

  def read(self, size: int) -> bytes:
    if not self._rest:
      self._rest = next(self._blocks, b'')
      self.read_bytes += len(self._rest)
      self.last = (self.last + self._rest[-len(_END) :])[-len(_END) :]
    found, self._rest = self._rest[:size], self._rest[size:]
    return found

  def tell(self) -> int:
    return self.read_bytes - len(self._rest)


def _lengths(headers: Any) -> tuple[int, int]:
  """Returns the least and the most bytes of a record with these headers.

  Raises:
    OSError: they say no length.
  """
  fields = headers.to_tuples()
  known = sum(len(name) + len(value) for name, value in fields)
  try:
    known += int(headers.get('Content-Length', ''))
  except ValueError as error:
    raise OSError('a record without a length') from error
  # Punctuation and an end of line for each, the version, the ends of headers
  # and record; a few bytes more for writers that add a space or a line.
  return known, known + 5 * len(fields) + 24


def _page(copy: Any, record: Any, wanted: tuple[str, ...]) -> bytes | None:
  """Returns the content of a record; None: it is something else.

  Args:
    copy: an empty record, which is filled: to decode what a server sent broken
      would end the iterator.
    record: one of the iterator's.
    wanted: types of the content.

  Raises:
    OSError: it cannot be decoded, or is too long.
  """
  long = record.content_length > LONGEST_PAGE
  kind = record.headers.get('Content-Type', '')
  if record.is_http:
    if not long:
      copy.set_bytes_content(record.reader.read())
      copy.is_http = True
      record = copy
    record.parse_http(auto_decode='none' if long else 'all')
    if record.http_headers.status_code != 200:
      return None
    kind = record.http_content_type or ''
  if kind.partition(';')[0].strip().lower() not in wanted:
    return None
  page = b'' if long else record.reader.read(LONGEST_PAGE + 1)
  if long or len(page) > LONGEST_PAGE:
    raise OSError('too long')
  return page


def _fastwarc() -> Any:
  try:
    import fastwarc
  except ImportError as error:
    raise UserError(
      'expected fastwarc, to read WARC files, but it is not installed; pip '
      'install -r requirements-prepare.txt, or leave them out of TEXT_FILES'
    ) from error
  return fastwarc
