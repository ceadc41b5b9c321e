"""WARC files as streams of pages."""

import gzip

import pytest

from bertjax.corpus import cleaning, document_files, warc, web_pages
from bertjax.errors import UserError
from bertjax.text import input_bytes

PAGE = b'<html><body><p>Page %d says something in a sentence.</p></body></html>'


def _gzip(content):
  """Compresses without the time, which names of tests would hold."""
  return gzip.compress(content, mtime=0)


def record(url, kind, content, content_type='application/http'):
  head = (
    f'WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\n'
    'WARC-Record-ID: <urn:uuid:92283950-ef2f-4d72-b224-f54c6ec90bb0>\r\n'
    'WARC-Date: 2020-01-01T00:00:00Z\r\n'
    f'Content-Type: {content_type}\r\nContent-Length: {len(content)}\r\n\r\n'
  )
  return head.encode() + content + b'\r\n\r\n'


def answer(body, status='200 OK', kind='text/html; charset=utf-8', more=''):
  return (
    f'HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{more}\r\n'.encode() + body
  )


def response(url, *args, **kwargs):
  return record(url, 'response', answer(*args, **kwargs))


def chunked(body):
  return b'%x\r\n%s\r\n0\r\n\r\n' % (len(body), body)


RECORDS = [
  record('', 'warcinfo', b'software: x\r\n', 'application/warc-fields'),
  record('http://a.org/0', 'request', b'GET / HTTP/1.1\r\n\r\n'),
  response('http://a.org/0', PAGE % 0),
  response(
    'http://a.org/1', _gzip(PAGE % 1), more='Content-Encoding: gzip\r\n'
  ),
  response(
    '<http://a.org/2>', chunked(PAGE % 2), more='Transfer-Encoding: chunked\r\n'
  ),
  response('http://a.org/image', b'\x89PNG', kind='image/png'),
  response('http://a.org/gone', PAGE % 9, status='404 Not Found'),
  record('http://a.org/3', 'resource', PAGE % 3, 'text/html'),
]
URLS = [f'http://a.org/{i}' for i in range(4)]


def write(path, content):
  path.write_bytes(content)
  return str(path)


@pytest.mark.parametrize(
  'name, content',
  (
    ('a.warc', b''.join(RECORDS)),
    ('a.warc.gz', b''.join(map(_gzip, RECORDS))),
    ('whole.warc.gz', _gzip(b''.join(RECORDS))),
  ),
)
def test_pages_come_with_their_address_and_decoded(tmp_path, name, content):
  path = write(tmp_path / name, content)
  read = []
  pages = [*warc.pages(path, progress=read.append)]
  assert pages == [(url, PAGE % i, True) for i, url in enumerate(URLS)]
  assert read[-1] == len(content)


def texts(path):
  return [*web_pages.texts(web_pages.pages(path))]


def test_texts_are_those_of_the_pages(tmp_path):
  path = write(tmp_path / 'a.warc', b''.join(RECORDS))
  assert input_bytes.page_form(path) == 'warc'
  names, found = zip(*texts(path), strict=True)
  assert [*names] == URLS
  assert found[2] == 'Page 2 says something in a sentence.'


def test_records_of_text_are_read_as_they_are(tmp_path):
  text = 'Menü\nOne <b>bold</b> move &amp; more.\n\nTwo.'
  content = [
    record('', 'warcinfo', b'software: x\r\n', 'application/warc-fields'),
    record('http://a.org/0', 'conversion', text.encode(), 'text/plain'),
    record('http://a.org/1', 'conversion', b'\x89PNG', 'image/png'),
    record('http://a.org/2', 'conversion', b'A\xff.', 'text/plain'),
  ]
  path = write(tmp_path / 'a.warc.wet.gz', b''.join(map(_gzip, content)))
  assert texts(path) == [
    ('http://a.org/0', text),
    ('http://a.org/2', 'A\ufffd.'),
  ]


def test_a_page_without_text_or_address_is_counted_and_named(tmp_path):
  for text in ('', ' \n\u3000\n'):
    content = record('', 'conversion', text.encode(), 'text/plain')
    path = write(tmp_path / 'a.warc.wet', content)
    counts = cleaning.Counts()
    assert not [*document_files.TextFiles(path).documents(counts)]
    assert (counts.malformed, counts.first_malformed) == (1, path)


def test_several_processes_give_the_same_texts_in_order(tmp_path, monkeypatch):
  monkeypatch.setattr(web_pages, '_BATCH_BYTES', 200)
  content = [response(f'http://a.org/{i}', PAGE % i) for i in range(40)]
  content[7] = response(
    'http://a.org/7', b'a', more='Content-Encoding: gzip\r\n'
  )
  path = write(tmp_path / 'a.warc', b''.join(content))
  several = [*web_pages.texts(web_pages.pages(path), processes=2)]
  assert several == texts(path)
  assert [name for name, text in several if not text] == ['http://a.org/7']


@pytest.mark.parametrize('compress', (bytes, _gzip))
def test_an_archive_that_is_cut_off_is_one_line(tmp_path, compress):
  content = b''.join(map(compress, RECORDS))
  ends, end = set(), 0
  for part in RECORDS:
    end += len(compress(part))
    ends |= {end, end - 4}  # without its last line ends, a record is whole
  for end in {
    *range(1, len(content), 97),
    *range(len(content) - 60, len(content)),
  }:
    path = write(tmp_path / 'cut.warc.gz', content[:end])
    if compress is bytes:
      path = write(tmp_path / 'cut.warc', content[:end])
    if end not in ends:
      with pytest.raises(UserError, match=r'cut\.warc.*leave it out of FILES'):
        list(warc.pages(path, 'FILES'))


@pytest.mark.parametrize(
  'content',
  (
    b'hello\n' * 100,
    b''.join(map(_gzip, RECORDS)) + b'garbage',
    b''.join(RECORDS)[:1500] + b'\xff' * 300 + b''.join(RECORDS)[1500:],
    _gzip(b'{"text": "a"}\n'),
    b'\0' * 3000,
  ),
)
def test_what_is_damaged_or_something_else_is_one_line(tmp_path, content):
  path = write(tmp_path / 'a.warc', content)
  with pytest.raises(UserError, match=r'a\.warc.*leave it out of FILES'):
    list(warc.pages(path, 'FILES'))


def test_an_empty_archive_has_no_pages(tmp_path):
  assert not [*warc.pages(write(tmp_path / 'a.warc', b''))]


def test_a_missing_file_is_one_line(tmp_path):
  with pytest.raises(UserError, match='set FILES'):
    list(warc.pages(str(tmp_path / 'no.warc'), 'FILES'))


def test_broken_and_endless_pages_are_left_out(tmp_path, monkeypatch):
  monkeypatch.setattr(warc, 'LONGEST_PAGE', 1000)
  content = [
    response('http://a.org/bad', b'no gzip', more='Content-Encoding: gzip\r\n'),
    response('http://a.org/long', b'a' * 1001),
    response('http://a.org/good', PAGE % 5),
  ]
  path = write(tmp_path / 'a.warc', b''.join(content))
  assert [*warc.pages(path)] == [
    ('http://a.org/bad', None, True),
    ('http://a.org/long', None, True),
    ('http://a.org/good', PAGE % 5, True),
  ]


@pytest.mark.parametrize(
  'name, content, form',
  (
    ('a.html', b'<p>A cat.', 'html'),
    ('a.HTM.gz', _gzip(b'<p>A cat.'), 'html'),
    ('a.txt', b'\n<!DOCTYPE HTML><p>A cat.', 'html'),
    ('a.txt', b'<?xml version="1.0"?>\n<!DOCTYPE html><p>A cat.', 'html'),
    ('a.txt', b'<!DOCTYPE  html><p>A cat.', 'html'),
    ('a.txt', b'<!-- a\n--> <!-- b -->\n<html><p>A cat.', 'html'),
    ('a.txt', b'\xef\xbb\xbf<html lang="en"><p>A cat.', 'html'),
    ('a.txt', b'<!-- a --> A <html> tag.', None),
    ('a.txt', b'<!-- a -->' * 5000, None),
    ('a.txt', b'<html5>', None),
    ('a.txt', b'A <b>cat.', None),
    ('a.jsonl', b'{"text": "<html>"}', None),
    ('a.txt', b'', None),
  ),
)
def test_html_is_known_by_its_beginning_or_suffix(
  tmp_path, name, content, form
):
  path = write(tmp_path / name, content)
  assert input_bytes.page_form(path) == form
  if form:
    assert texts(path) == [(path, 'A cat.')]


def test_pages_without_text_and_too_long_ones_have_none(tmp_path, monkeypatch):
  monkeypatch.setattr(warc, 'LONGEST_PAGE', 1000)
  for content in (b'<html><body></body></html>', b'<html>' + b'a' * 1000):
    path = write(tmp_path / 'a.html', content)
    assert texts(path) == [(path, '')]
