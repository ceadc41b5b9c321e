"""What is in a corpus, as an HTML page, and the same as JSON beside it.

    measure = measurement.Measurement('runs/books')
    data_report.write(measure=measure, output='books.html')   # and books.json

`bertjax.corpus.measurement` measures, and describes the JSON; here it is
written, and `text_sections` and `row_sections` show it. The page is
self-contained and loads nothing.
"""

import html
import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from bertjax.reporting import html_page, row_sections, text_sections
from bertjax.runs import output_files
from bertjax.values import Path, checked

MAKER = 'data_report'

Found = Mapping[str, Any]


@runtime_checkable
class Measurement(Protocol):
  """Measures a corpus, see `bertjax.corpus.measurement`."""

  @property
  def sources(self) -> Sequence[str]:
    """Paths of files that must not be replaced."""

  def __call__(self) -> dict[str, Any]:
    """Returns what `render` shows."""


@checked
def write(
  *,
  measure: Measurement,
  output: Path,
  overwrite: bool = False,
  dry_run: bool = False,
) -> None:
  """Writes the page and the JSON.

  Args:
    measure: of the corpus.
    output: the page to write, in .html; the JSON has the same name in .json.
      An earlier report is replaced.
    overwrite: whether to replace any other files.
    dry_run: check everything and write nothing.

  Raises:
    UserError: the output is not writable, or the corpus cannot be read.
  """
  beside = f'{os.path.splitext(output)[0]}.json'
  for path, suffix in ((output, '.html'), (beside, '.json')):
    output_files.check_output(
      path, (suffix,), measure.sources, overwrite, MAKER
    )
  if dry_run:
    return
  found = measure()
  page = render(found)
  made = {'generator': output_files.mark(MAKER), **found}
  output_files.write_json(beside, made)
  output_files.write_text(output, page)
  print(f'{output}, and the same as JSON in {beside}')


def render(found: Found) -> str:
  """Returns the page of what a `Measurement` found."""
  if 'mixture' not in found:
    title = f'What is in {found["corpus_dir"]}'
    return html_page.render(title, _sections(found), MAKER)
  corpora = found['corpora']
  sections = {'What each corpus gives': row_sections.mixture(found)}
  for number, corpus in enumerate(corpora, 1):
    sections[f'{number}. {corpus["corpus_dir"]}'] = ''.join(
      f'<h3>{html.escape(heading)}</h3>{content}'
      for heading, content in _sections(corpus, is_mixed=True).items()
    )
  title = f'What is in a mixture of {len(corpora)} corpora'
  return html_page.render(title, sections, MAKER)


def _sections(found: Found, is_mixed: bool = False) -> dict[str, str]:
  return {
    **text_sections.sizes(found),
    **row_sections.rows(found, is_mixed),
    **text_sections.contents(found),
  }
