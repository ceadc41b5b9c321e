import bz2
import gzip
import io
import lzma
import os
import pickle
import tarfile
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
import zstandard

from bertjax.errors import UserError
from bertjax.text import input_bytes

TEXT = 'A cat.\nZoë ran — 12 °C.\n'
COMPRESS = {
  '': bytes,
  '.gz': gzip.compress,
  '.bz2': bz2.compress,
  '.xz': lzma.compress,
  '.zst': zstandard.ZstdCompressor(write_checksum=True).compress,
}


def read(path, data):
  path.write_bytes(data)
  return b''.join(input_bytes.blocks(str(path), 'TEXT_FILES'))


def refusal(path, data):
  with pytest.raises(UserError) as error:
    read(path, data)
  message = str(error.value)
  assert '\n' not in message and str(path) in message
  assert 'TEXT_FILES' in message
  return message


@pytest.mark.parametrize('suffix', COMPRESS)
@pytest.mark.parametrize('name', ['a.txt', 'a'])
def test_the_first_bytes_say_how_a_file_is_compressed(tmp_path, suffix, name):
  data = TEXT.encode()
  compressed = COMPRESS[suffix](data)
  assert read(tmp_path / name, compressed) == data
  # Two members, as `cat a.gz b.gz` writes.
  assert read(tmp_path / f'{name}{suffix}', compressed * 2) == data * 2


@pytest.mark.parametrize('suffix', COMPRESS)
def test_no_block_is_empty_before_the_end(tmp_path, suffix):
  # bzip2 gives nothing out before 900 kB have gone in.
  data = b'WARC/1.0' + os.urandom(1_000_000)
  path = tmp_path / f'a{suffix}'
  path.write_bytes(COMPRESS[suffix](data))
  found = [*input_bytes.decompressed(str(path))]
  assert all(found) and b''.join(found) == data
  assert input_bytes.page_form(str(path)) == 'warc'


def test_padding_of_xz_is_no_text(tmp_path):
  data = lzma.compress(b'one') + bytes(8) + lzma.compress(b'two') + bytes(4)
  assert read(tmp_path / 'a.xz', data) == b'onetwo'


@pytest.mark.parametrize('suffix', list(COMPRESS)[1:])
def test_garbage_behind_what_is_compressed_is_refused(tmp_path, suffix):
  data = COMPRESS[suffix](TEXT.encode() * 100) + b'garbage that goes on'
  assert 'damaged' in refusal(tmp_path / f'a{suffix}', data)


@pytest.mark.parametrize('suffix', list(COMPRESS)[1:])
@pytest.mark.parametrize(
  'fault, message',
  [
    ('cut', 'is cut off'),
    ('corrupt', 'damaged'),
    ('plain', 'as its suffix says'),
    ('twice', 'got a '),
  ],
)
def test_what_cannot_be_decompressed_is_named(tmp_path, suffix, fault, message):
  data = COMPRESS[suffix](os.urandom(100_000).hex().encode())
  data = {
    'cut': data[:-5000],
    'corrupt': data[:-9000] + bytes(8000) + data[-1000:],
    'plain': b'some plain text, not compressed at all',
    'twice': COMPRESS[suffix](data),
  }[fault]
  assert message in refusal(tmp_path / f'a.txt{suffix}', data)


@pytest.mark.parametrize(
  'encoding, mark',
  [
    ('utf-8', True),
    ('utf-16-le', True),
    ('utf-16-be', True),
    ('utf-32-le', True),
    ('utf-32-be', True),
    ('utf-16-le', False),
    ('utf-16-be', False),
  ],
)
@pytest.mark.parametrize('suffix', ['', '.gz'])
def test_a_text_in_unicode_is_read(tmp_path, encoding, mark, suffix):
  text = TEXT * 90_000  # of several blocks
  data = ('\ufeff' * mark + text).encode(encoding)
  assert read(tmp_path / 'a.txt', COMPRESS[suffix](data)) == text.encode()


def test_half_a_character_of_utf_16_is_refused(tmp_path):
  data = '\ufeffone two'.encode('utf-16-le')[:-1]
  assert 'cut off' in refusal(tmp_path / 'a.txt', data)


def _zip(*names):
  file = io.BytesIO()
  with zipfile.ZipFile(file, 'w') as archive:
    for name in names:
      archive.writestr(name, TEXT)
  return file.getvalue()


def _tar():
  file = io.BytesIO()
  with tarfile.open(fileobj=file, mode='w') as archive:
    archive.addfile(tarfile.TarInfo('a.txt'))
  return file.getvalue()


def _numpy():
  file = io.BytesIO()
  np.save(file, np.zeros(9))
  return file.getvalue()


@pytest.mark.parametrize(
  'data, kind',
  [
    (b'%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n', 'a PDF document'),
    (_zip('a.txt'), 'a zip archive'),
    (_zip('[Content_Types].xml', 'word/document.xml'), 'an Office document'),
    (_zip('mimetype', 'content.xml'), 'OpenDocument'),
    (_tar(), 'a tar archive'),
    (b'\x7fELF\2\1\1' + bytes(57), 'a program'),
    (b'MZ\x90\0\3' + bytes(59), 'a program'),
    (pickle.dumps(['some text']), 'a pickle'),
    (pickle.dumps(['some text'], protocol=0), 'a pickle'),
    (b'\x89PNG\r\n\x1a\n' + bytes(20), 'a PNG image'),
    (b'\xff\xd8\xff\xe0\0\x10JFIF', 'a JPEG image'),
    (b'GIF89a\1\0\1\0', 'a GIF image'),
    (b'{\\rtf1\\ansi some text}', 'an RTF document'),
    (b'SQLite format 3\0' + bytes(20), 'an SQLite database'),
    (_numpy(), 'a NumPy array'),
    (b'\x40\0\0\0\0\0\0\0{"__metadata__":{}}', 'a safetensors file'),
    (b'PAR1\x15\4\x15\x10' + bytes(20), 'a Parquet file'),
    (bytes(range(256)) * 8, 'got binary data'),
    (zlib.compress(os.urandom(4000)), 'binary data'),
    (('Привет, мир. ' * 99).encode('cp1251'), 'another encoding'),
    (('日本語の文章。' * 99).encode('shift-jis'), 'another encoding'),
  ],
)
@pytest.mark.parametrize('suffix', ['', '.gz'])
def test_what_is_no_text_is_refused_by_name(tmp_path, data, kind, suffix):
  for name in ('a.txt', 'a'):
    message = refusal(tmp_path / f'{name}{suffix}', COMPRESS[suffix](data))
    assert kind in message


@pytest.mark.parametrize(
  'data',
  [
    b'',
    b'a\0b\n',
    'Grüße aus Köln, schöne Straßen.\n'.encode('latin1') * 99,
    b'\x1b[1mbold\x1b[0m\x0c\n',
    'Привет, мир.\n'.encode() * 9999,
    ('x' + 'é' * 9000).encode(),  # the head ends inside a character
  ],
)
def test_text_with_few_faults_is_text(tmp_path, data):
  assert read(tmp_path / 'a.txt', data) == data


def _bomb(suffix):
  """A gigabyte of zeros."""
  some, file = bytes(1 << 20), io.BytesIO()
  opener = {
    '.gz': lambda: gzip.GzipFile(fileobj=file, mode='wb', compresslevel=1),
    '.zst': lambda: zstandard.ZstdCompressor().stream_writer(
      file, closefd=False
    ),
  }[suffix]
  with opener() as opened:
    opened.write(b'text\n')
    for _ in range(1 << 10 if suffix == '.zst' else 1 << 7):
      opened.write(some)
  return file.getvalue()


@pytest.mark.parametrize('suffix', ['.gz', '.zst'])
def test_a_bomb_is_read_in_steps(tmp_path, suffix):
  path = tmp_path / f'a{suffix}'
  path.write_bytes(_bomb(suffix).replace(b'', b''))
  with pytest.raises(UserError, match='binary data'):
    list(input_bytes.blocks(str(path)))
  tracemalloc.start()
  with input_bytes.open_file(str(path)) as file:
    sizes = {
      len(block)
      for block in input_bytes._decompressed(str(path), file, 1 << 16, '')
    }
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert max(sizes) <= 1 << 16 and peak < 10_000_000


def test_windows_and_dictionaries_are_bounded(tmp_path):
  settings = zstandard.ZstdCompressionParameters(
    window_log=28, enable_ldm=True, write_content_size=False
  )
  large = zstandard.ZstdCompressor(compression_params=settings).compressobj()
  data = large.compress(b'text ' * 9999) + large.flush()
  assert 'too much memory' in refusal(tmp_path / 'a.zst', data)


def test_schemes_name_the_package_that_they_need(tmp_path):
  for path, package in [('gs://a/b.txt', 'gcsfs'), ('s3://a/b.txt', 's3fs')]:
    with pytest.raises(UserError, match=package) as error:
      list(input_bytes.blocks(path))
    assert path in str(error.value) and '\n' not in str(error.value)
  with pytest.raises(UserError, match='Protocol not known'):
    list(input_bytes.blocks('nosuch://a'))


@pytest.mark.parametrize('suffix', COMPRESS)
def test_bytes_that_are_no_text_are_decompressed(tmp_path, suffix):
  data = bytes(range(256)) * 1000
  path = tmp_path / f'a.warc{suffix}'
  path.write_bytes(COMPRESS[suffix](data))
  read = []
  found = b''.join(input_bytes.decompressed(str(path), progress=read.append))
  assert found == data and read[-1] == path.stat().st_size
  if suffix:
    path.write_bytes(COMPRESS[suffix](data)[:-5])
    with pytest.raises(UserError, match='cut off, damaged'):
      b''.join(input_bytes.decompressed(str(path)))
