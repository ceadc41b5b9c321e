r"""Turns a page of HTML into the text that a reader comes for, by resiliparse.

    >>> text_of('<nav><a href=/>Up</a></nav><p>A cat.</p><p>A <b>dog</b>.')
    'A cat.\nA dog.'

resiliparse 2.0 (Apache-2.0, of the Webis group; wheels for Python 3.11 to 3.14)
leaves out navigation, banners and footers as trafilatura 2.3 does (Apache-2.0),
at 9 instead of 1.5 MB/s; models trained on either's text are as good (DCLM, Li
et al. 2024, 3.2). selectolax 1.0 (MIT) parses at 30 MB/s, but does not tell the
text from what surrounds it. It brings the reader of WARC files as well.
"""

import re
from typing import Any

from bertjax.errors import UserError
from bertjax.text import input_files

# To find the text, resiliparse looks from each div at all that are in it: 20 ms
# at a depth of 1,000, 2 s at 10,000. Real pages are some 30 deep.
_DEEPEST = 1000
_NESTED = re.compile(r'<(/?)(?:div|article)\b', re.IGNORECASE)
# Each attribute is compared with all before it: 3 ms for 1,000, 3 s for 40,000.
# Long tags are looked at, and those with as many parts lose their attributes.
_LONG_TAG = re.compile(r'<([a-zA-Z][a-zA-Z0-9]*)\b[^<>]{2000,}')
_PARTS = re.compile(r'[\s/="\']')
_MOST_PARTS = 2000


def text_of(html: bytes | str) -> str:
  """Returns the text, a paragraph or a row of a table in a line.

  Without the surroundings of the text, unless it is nested so deeply that to
  find them would take minutes.

  Args:
    html: a page, or part of one, however broken. Bytes that are no UTF-8 are
      decoded as its charset says, or as their frequencies do; what is bad in
      that encoding is U+FFFD.

  Raises:
    UserError: resiliparse is not installed.
  """
  extract, encoding = _resiliparse()
  if isinstance(html, bytes):
    html = _decoded(html, encoding)
  html = input_files.repair(html.replace('\0', ''))
  html = _LONG_TAG.sub(_without_attributes, html)
  text = extract(
    html,
    preserve_formatting=True,
    main_content=_depth(html) <= _DEEPEST,
    alt_texts=False,
    list_bullets=False,
  )
  lines = (' '.join(line.split()) for line in text.split('\n'))
  return '\n'.join(filter(None, lines))


def check_installed() -> None:
  """Raises UserError if resiliparse is not installed."""
  _resiliparse()


def _decoded(html: bytes, encoding: Any) -> str:
  try:
    return html.decode('utf-8-sig')  # hardly anything else is valid UTF-8
  except UnicodeDecodeError:
    name = encoding.detect_encoding(html, from_html_meta=True)
    if name == 'utf-8':  # said, or for want of another: see what it looks like
      found = encoding.detect_encoding(html, html5_compatible=False)
      name = encoding.map_encoding_to_html5(found or 'windows-1252')
    # No fallback, which would be Windows-1252 for a single bad byte.
    return encoding.bytes_to_str(html, name, 'replace', ())


def _depth(html: str) -> int:
  """Returns the depth of nested div and article elements, or a bit more."""
  if html.count('<') - html.count('</') <= _DEEPEST:
    return 0
  depth = deepest = 0
  for match in _NESTED.finditer(html):
    depth += -1 if match.group(1) else 1
    depth = max(depth, 0)
    deepest = max(deepest, depth)
  return deepest


def _without_attributes(tag: re.Match[str]) -> str:
  few = len(_PARTS.findall(tag.group())) <= _MOST_PARTS
  return tag.group() if few else f'<{tag.group(1)}'


def _resiliparse() -> tuple[Any, Any]:
  try:
    from resiliparse.extract import html2text
    from resiliparse.parse import encoding
  except ImportError as error:
    raise UserError(
      'expected resiliparse, to read HTML, but it is not installed; pip '
      'install -r requirements-prepare.txt, or leave HTML and WARC files out '
      'of TEXT_FILES'
    ) from error
  return html2text.extract_plain_text, encoding
