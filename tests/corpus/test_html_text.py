"""HTML to text."""

import time

import pytest

from bertjax.corpus import html_text

PARAGRAPH = (
  'The committee decided on Tuesday that the new bridge will be built before '
  'the end of next year, although some of its members had asked for more time.'
)

CUT = 'café naïve \ufffd'


def page(body):
  links = ''.join(f'<li><a href="/{i}">Section {i}</a></li>' for i in range(20))
  return f"""<!DOCTYPE html><html><head><title>Bridges</title>
<style>p {{ color: red }}</style><script>var a = "<p>no</p>";</script></head>
<body><header><nav><ul>{links}</ul></nav></header>
<div class="cookie-banner">We use cookies. Accept all</div>
<div id="content"><article><h1>A bridge</h1>{body}</article></div>
<aside class="sidebar"><ul>{links}</ul></aside>
<footer>All rights reserved. <a href="/p">Privacy policy</a></footer>
</body></html>"""


def test_the_text_stays_and_what_surrounds_it_goes():
  body = f'<p>{PARAGRAPH}</p>\n<p>A <b>second</b>\n one &amp; more.</p>' * 3
  lines = html_text.text_of(page(body)).split('\n')
  assert lines == ['A bridge', *[PARAGRAPH, 'A second one & more.'] * 3]


def test_rows_of_tables_and_lines_of_code_are_lines():
  body = (
    f'<p>{PARAGRAPH}</p><table><tr><th>Year<th>Sum<tr><td>1990<td>12</table>'
    f'<p>{PARAGRAPH}</p><pre>one\n  two</pre><p>{PARAGRAPH}</p>'
  )
  lines = html_text.text_of(page(body)).split('\n')
  assert 'Year Sum' in lines and '1990 12' in lines
  assert 'one' in lines and 'two' in lines


@pytest.mark.parametrize(
  'html, expected',
  (
    ('<p>café</p>'.encode(), 'café'),
    (b'\xef\xbb\xbf<p>plain', 'plain'),
    ('<meta charset="iso-8859-1"><p>café'.encode('latin-1'), 'café'),
    ('<meta charset="koi8-r"><p>Новый мост'.encode('koi8-r'), 'Новый мост'),
    # A charset that is not true.
    ('<meta charset="iso-8859-1"><p>café'.encode(), 'café'),
    (b'<meta charset="nonsense"><p>plain', 'plain'),
    ('<meta charset="utf-8"><p>café “x”'.encode('cp1252'), 'café “x”'),
    # A bad byte in UTF-8, with and without a charset, and in another.
    ('<meta charset="utf-8"><p>café naïve '.encode() + b'\xff', CUT),
    ('<p>café naïve '.encode() + b'\xff', CUT),
    (
      '<meta charset="euc-jp"><p>橋橋橋'.encode('euc-jp') + b'\xff',
      '橋橋橋\ufffd',
    ),
    # None that is known by its frequencies.
    ('<p>It’s fine — really'.encode('cp1252'), 'It’s fine — really'),
  ),
)
def test_bytes_are_decoded(html, expected):
  assert html_text.text_of(html) == expected


@pytest.mark.parametrize(
  'html',
  (
    '',
    b'',
    '<',
    '<p',
    '</p></p>',
    '<!--',
    '<p>\0\ud800</p>',
    b'\x89PNG\r\n\x1a\n\0\xff',
    '<table><tr><table><div></tr>',
    '<frameset><frame>',
    '&#x110000;&#xd800;&#0;',
  ),
)
def test_broken_pages_are_read(html):
  html_text.text_of(html).encode()


HOSTILE = {
  'open': '<div>' * 50_000 + PARAGRAPH,
  'closed': '<div>' * 50_000 + PARAGRAPH + '</div>' * 50_000,
  'articles': '<ARTICLE><span>' * 20_000 + PARAGRAPH,
  'tables': '<table><tr><td>' * 20_000 + PARAGRAPH,
  'attributes': '<p ' + ' '.join(f'a{i}=1' for i in range(100_000)) + '>x',
  'slashes': '<p/' + '/'.join(f'a{i}' for i in range(100_000)) + '>x',
  'formatting': '<b><i><font size=1>' * 3000 + '<p>x' * 3000,
  'tags': '<a ' * 300_000,
  'smaller': '<' * 1_000_000,
  'entities': '&' * 1_000_000,
}


@pytest.mark.parametrize('name', HOSTILE)
def test_hostile_pages_take_seconds(name):
  begin = time.process_time()
  html_text.text_of(HOSTILE[name])
  assert time.process_time() - begin < 10  # without guards: minutes


def test_deeply_nested_text_is_not_lost():
  assert html_text.text_of(HOSTILE['closed']) == PARAGRAPH


def test_a_tag_with_a_long_value_keeps_its_attributes():
  tag = f'<img alt="{"a" * 5000}">'
  assert html_text._LONG_TAG.sub(html_text._without_attributes, tag) == tag
