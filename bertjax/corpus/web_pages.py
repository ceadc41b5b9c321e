"""The texts of HTML and WARC files.

if input_bytes.page_form(path, 'TEXT_FILES'):
  for name, text in web_pages.texts(path, 'TEXT_FILES'):
    ...  # the address or the path, and lines joined by LF
"""

from collections.abc import Callable, Iterator

from bertjax.corpus import html_text, warc
from bertjax.text import input_bytes


def texts(
  path: str,
  setting: str = input_bytes.FILES,
  progress: Callable[[int], None] = lambda read: None,
  left_out: Callable[[str], None] = lambda name: None,
) -> Iterator[tuple[str, str]]:
  """Yields the name and the text of each page that has text.

  Args:
    path: a file whose `input_bytes.page_form` is not None.
    setting: names the file, for messages.
    progress: is called with the bytes of the file that are read.
    left_out: is called with the name of a page that is broken, too long
      (`warc.LONGEST_PAGE`), or without text.

  Raises:
    UserError: see `warc.pages` and `html_text.text_of`.
  """
  if input_bytes.page_form(path, setting) == 'warc':
    found = warc.pages(path, setting, progress, left_out)
  else:
    found = _whole(path, setting, progress, left_out)
  for name, html in found:
    if text := html_text.text_of(html):
      yield name, text
    else:
      left_out(name)


def _whole(
  path: str,
  setting: str,
  progress: Callable[[int], None],
  left_out: Callable[[str], None],
) -> Iterator[tuple[str, bytes]]:
  html = bytearray()
  for block in input_bytes.decompressed(path, setting, progress):
    html += block
    if len(html) > warc.LONGEST_PAGE:
      left_out(path)
      return
  yield path, bytes(html)
