"""Pages of headings, tables and pictures that load nothing and run no script.

>>> table([{'run': 'a<b', 'tokens': 25180.4}])[-53:]
'<tr><td>a&lt;b</td><td>25,180</td></tr></table></div>'
"""

import html
import io
import math
import pathlib
import string
from collections.abc import Iterable, Mapping, Sequence

from bertjax.runs import output_files, plotter

_PAGE = pathlib.Path(__file__).with_suffix('.html')


class Html(str):
  """A cell that is HTML already."""


Row = Mapping[str, str | float | None]  # head of the column -> cell


def render(title: str, sections: Mapping[str, str], maker: str) -> str:
  """Returns a page.

  Args:
    title: plain text.
    sections: heading in plain text -> its HTML; '' leaves the section out.
    maker: see `output_files.mark`.
  """
  page = string.Template(_PAGE.read_text(encoding='utf-8'))
  return page.substitute(
    title=html.escape(title),
    mark=html.escape(output_files.mark(maker)),
    sections='\n'.join(
      f'<section><h2>{html.escape(heading)}</h2>{content}</section>'
      for heading, content in sections.items()
      if content
    ),
  )


def table(rows: Iterable[Row]) -> str:
  """Returns rows of the same columns, '' if there are none."""
  rows = list(rows)
  if not rows:
    return ''
  head = ''.join(f'<th>{html.escape(name)}</th>' for name in rows[0])
  body = ''.join(
    f'<tr>{"".join(f"<td>{_cell(x)}</td>" for x in row.values())}</tr>'
    for row in rows
  )
  return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def note(text: str) -> str:
  """Returns a paragraph of plain text."""
  return f'<p class="note">{html.escape(text)}</p>'


def picture(diagrams: Sequence[plotter.Diagram]) -> str:
  """Returns diagrams as SVG, '' if none has a finite value."""
  file = io.StringIO()
  if not plotter.draw(diagrams, file, 'svg'):
    return ''
  svg = file.getvalue()
  return f'<div class="wide">{svg[svg.index("<svg") :]}</div>'


def _cell(value: str | float | None) -> str:
  if value is None or isinstance(value, Html):
    return value or ''
  return html.escape(value) if isinstance(value, str) else number(value)


def percent(share: float | None) -> str | None:
  """Formats a share in 3 digits.

  >>> percent(0.1499), percent(0.99996), percent(0.00002), percent(None)
  ('15%', '100%', '0.002%', None)
  """
  return None if share is None else f'{plotter.plain(100 * share, 3)}%'


def size(count: float) -> str:
  """Formats a number of bytes.

  >>> size(1_313_270), size(950), size(25_000_000_000)
  ('1.313 MB', '950 bytes', '25 GB')
  """
  for unit, name in ((1e9, 'GB'), (1e6, 'MB'), (1e3, 'KB')):
    if count >= unit:
      return f'{number(count / unit)} {name}'
  return f'{number(count)} bytes'


def number(value: float) -> str:
  """Formats a number in 4 digits, or without a fraction.

  >>> number(25180.4), number(0.00001), number(math.nan)
  ('25,180', '0.00001', 'not finite')
  """
  if not math.isfinite(value):
    return 'not finite'
  return f'{value:,.0f}' if abs(value) >= 1000 else plotter.plain(value, 4)
