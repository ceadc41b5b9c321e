"""The texts of HTML and WARC files.

if web_pages.form_of(path, 'TEXT_FILES'):
  for name, text in web_pages.texts(path, 'TEXT_FILES'):
    ...  # the address or the path, and lines joined by LF
"""

import os
from collections.abc import Callable, Iterator

from bertjax.corpus import html_text, warc
from bertjax.text import input_bytes

_SUFFIXES = ('.html', '.htm', '.xhtml')


def form_of(path: str, setting: str = input_bytes.FILES) -> str | None:
  """Returns 'warc' or 'html', None for anything else.

  Its first bytes say so, decompressed; for HTML, its suffix will do.

  Raises:
    UserError: it cannot be read or decompressed.
  """
  head = next(input_bytes.decompressed(path, setting), b'')
  if head.startswith(b'WARC/'):
    return 'warc'
  begin = head.removeprefix(b'\xef\xbb\xbf').lstrip()[:14].lower()
  name = path.lower()
  for suffix in input_bytes.SUFFIXES:
    name = name.removesuffix(suffix)
  html = begin.startswith((b'<!doctype html', b'<html'))
  return 'html' if html or os.path.splitext(name)[1] in _SUFFIXES else None


def texts(
  path: str,
  setting: str = input_bytes.FILES,
  progress: Callable[[int], None] = lambda read: None,
  left_out: Callable[[str], None] = lambda name: None,
) -> Iterator[tuple[str, str]]:
  """Yields the name and the text of each page that has text.

  Args:
    path: a file whose `form_of` is not None.
    setting: names the file, for messages.
    progress: is called with the bytes of the file that are read.
    left_out: is called with the name of a page that is broken, too long
      (`warc.LONGEST_PAGE`), or without text.

  Raises:
    UserError: see `warc.pages` and `html_text.text_of`.
  """
  if form_of(path, setting) == 'warc':
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
