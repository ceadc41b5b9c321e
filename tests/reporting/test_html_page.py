import pytest

from bertjax.reporting import html_page


@pytest.mark.parametrize(
  'value, text',
  [
    (25180.4, '25,180'),
    (2800, '2,800'),
    (0.00015, '0.00015'),
    (0, '0'),
    (0.15824, '0.1582'),
  ],
)
def test_numbers_are_short(value, text):
  assert html_page.number(value) == text


def test_what_is_not_ours_is_escaped_everywhere():
  page = html_page.render(
    '<i>', {'<b>': html_page.table([{'<u>': '<s>'}]), 'empty': ''}, '"<a>'
  )
  for tag in ('<i>', '<b>', '<u>', '<s>', '"<a>'):
    assert tag not in page
  assert '<td>&lt;s&gt;</td>' in page and '>empty<' not in page
