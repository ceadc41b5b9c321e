"""The texts of HTML and WARC files.

    pages = web_pages.pages('crawl.warc.gz', 'TEXT_FILES')
    for name, text in web_pages.texts(pages, processes=2):
      ...  # the address or the path, and lines joined by LF

To turn a page into text takes some fifty times as long as to read it, so
several processes do it, in the order of the pages.
"""

from collections.abc import Callable, Iterable, Iterator

import pyarrow

from bertjax.corpus import html_text, warc, workers
from bertjax.text import input_bytes

_BATCH_BYTES = 1 << 20  # of pages that go to a process together


def pages(
  path: str,
  setting: str = input_bytes.FILES,
  progress: Callable[[int], None] = lambda read: None,
) -> Iterator[warc.Page]:
  """Yields the pages of a file, as they are.

  Args:
    path: a file whose `input_bytes.page_form` is not None.
    setting: names the file, for messages.
    progress: is called with the bytes of the file that are read.

  Raises:
    UserError: see `warc.pages`.
  """
  if input_bytes.page_form(path, setting) == 'warc':
    yield from warc.pages(path, setting, progress)
  else:
    yield _whole(path, setting, progress)


def _whole(
  path: str, setting: str, progress: Callable[[int], None]
) -> warc.Page:
  html = bytearray()
  for block in input_bytes.decompressed(path, setting, progress):
    html += block
    if len(html) > warc.LONGEST_PAGE:
      return warc.Page(path, None)
  return warc.Page(path, bytes(html))


def texts(
  pages: Iterable[warc.Page], processes: int = 1
) -> Iterator[tuple[str, str]]:
  """Yields the name and the text of each page, in their order.

  The text is '' if there is none, or the page is broken or too long. In memory
  are, for each process, a few batches of a megabyte, or of a single long page,
  which has up to `warc.LONGEST_PAGE` bytes.

  Raises:
    UserError: resiliparse is not installed.
  """
  html_text.check_installed()  # before a process finds it missing
  with workers.Pool(processes) as pool:
    for batch in pool.map(f'{__name__}:converter', {}, _batches(pages)):
      columns = (batch[name].to_pylist() for name in ('name', 'text'))
      yield from zip(*columns, strict=True)


def _batches(pages: Iterable[warc.Page]) -> Iterator[pyarrow.RecordBatch]:
  some: list[warc.Page] = []
  size = 0
  for page in pages:
    some.append(page)
    size += len(page.content or b'')
    if size >= _BATCH_BYTES:
      yield _batch(some)
      some, size = [], 0
  if some:
    yield _batch(some)


def _batch(some: list[warc.Page]) -> pyarrow.RecordBatch:
  columns = map(pyarrow.array, zip(*some, strict=True), _TYPES)
  return pyarrow.record_batch([*columns], names=[*warc.Page._fields])


# Of the fields of `warc.Page`.
_TYPES = (pyarrow.string(), pyarrow.binary(), pyarrow.bool_())


def converter() -> workers.Function:
  """Returns what turns a batch of pages into their names and texts."""

  def text_of(content: bytes | None, is_html: bool) -> str:
    if content is None:
      return ''
    if is_html:
      return html_text.text_of(content)
    return content.decode('utf-8-sig', 'replace')

  def convert(batch: pyarrow.RecordBatch) -> pyarrow.RecordBatch:
    columns = (batch[name].to_pylist() for name in warc.Page._fields[1:])
    found = [text_of(*x) for x in zip(*columns, strict=True)]
    text = pyarrow.array(found, pyarrow.string())
    return pyarrow.record_batch({'name': batch['name'], 'text': text})

  return convert
