r"""Turns the bytes of a file into clean lines and documents, in flat memory.

    counts = cleaning.Counts()
    texts = cleaning.decode([b'A cat.\r\n\r\nA d', b'og.\n'], counts)
    batches = cleaning.split_lines(cleaning.normalise(texts, counts), counts)
    list(cleaning.split_documents(batches, counts))
    # [['A cat.'], [], ['A dog.'], []]

Every stage is a generator over blocks of text and processes a block with
C-level operations. None holds more than a block and one unfinished line,
so neither a document nor a line has to fit into memory. The output does not
depend on where the blocks end.
"""

import codecs
import dataclasses
import io
import itertools
import re
from collections.abc import Iterable, Iterator

# Characters; a longer line is cut at white space. At 4 bytes a character, the
# most in UTF-8, a line still fits one piece of the store
# (text_store.PIECE_BYTES). Paragraphs of ordinary prose are several times
# shorter.
LONGEST_LINE = 8_000

# Field of `Counts` -> what it counts, if it counts any.
_FAULTS = {
  'empty_files': 'files without text',
  'left_out': 'files left out, of which the first: {first_left_out}',
  'invalid_characters': 'invalid characters, replaced by U+FFFD',
  'nuls': 'NUL characters, removed',
  'long_lines': (
    f'lines above {LONGEST_LINE:,} characters, cut at white space'
  ),
  'malformed': (
    'lines, rows or pages without a text, skipped; the first is '
    '{first_malformed}'
  ),
}
_SURROGATES = re.compile('[\ud800-\udfff]')
_NOT_SPACE = re.compile(r'\S')


@dataclasses.dataclass
class Counts:
  """What a reader has read and had to repair; the functions here add to it.

  Attributes:
    files: files read, including the empty ones.
    empty_files: files without any text.
    left_out: files of folders that are no text.
    first_left_out: what is wrong with the first of them.
    file_bytes: bytes read from disk (compressed bytes of a compressed file).
    lines: lines with text.
    invalid_characters: encoding errors, each replaced by U+FFFD.
    nuls: NUL characters, removed.
    long_lines: lines above `LONGEST_LINE` characters, cut at white space.
    malformed: skipped lines and rows of tables: without a text.
    first_malformed: 'file:line' of the first of them.
  """

  files: int = 0
  empty_files: int = 0
  left_out: int = 0
  first_left_out: str = ''
  file_bytes: int = 0
  lines: int = 0
  invalid_characters: int = 0
  nuls: int = 0
  long_lines: int = 0
  malformed: int = 0
  first_malformed: str = ''

  def add(self, others: 'Counts') -> None:
    """Adds what was counted of files that follow."""
    for name, more in vars(others).items():
      mine = getattr(self, name)
      setattr(
        self, name, mine or more if isinstance(more, str) else mine + more
      )

  def faults(self) -> list[str]:
    """Returns what was wrong with the text, for people."""
    counts = dataclasses.asdict(self)
    return [
      f'{counts[name]:,} {what.format(**counts)}'
      for name, what in _FAULTS.items()
      if counts[name]
    ]


def decode(blocks: Iterable[bytes], counts: Counts) -> Iterator[str]:
  """Decodes UTF-8; errors become U+FFFD.

  Args:
    blocks: consecutive bytes of one file, cut anywhere.
    counts: adds to `invalid_characters`.
  """
  decoder = codecs.getincrementaldecoder('utf-8')('replace')
  # The end is a block of its own, to find a character that it cuts off.
  for block in itertools.chain(blocks, [None]):
    encoded = block or b''
    pending, _ = decoder.getstate()
    text = decoder.decode(encoded, final=block is None)
    if '\ufffd' in text:
      whole = pending + encoded
      genuine = whole.decode('utf-8', 'ignore').count('\ufffd')
      counts.invalid_characters += text.count('\ufffd') - genuine
    yield text


def normalise(texts: Iterable[str], counts: Counts) -> Iterator[str]:
  r"""Turns CRLF and CR into '\n' and removes NUL: 'a\0\r\nb' -> 'a\nb'."""
  newlines = io.IncrementalNewlineDecoder(None, translate=True)
  for text in itertools.chain(texts, [None]):
    text = newlines.decode(text or '', final=text is None)
    if '\0' in text:
      counts.nuls += text.count('\0')
      text = text.replace('\0', '')
    yield text


def split_lines(texts: Iterable[str], counts: Counts) -> Iterator[list[str]]:
  """Yields lists of lines stripped of white space; '' is a blank line.

  Args:
    texts: consecutive normalised text of one file, cut anywhere.
    counts: adds to `long_lines`.
  """
  rest, continues = '', False  # the unfinished line; whether it follows a cut
  for text in itertools.chain(texts, ['\n']):
    ended = (rest + text).split('\n')
    rest = ended.pop()
    lines = list(map(str.strip, ended))
    if continues and lines:
      continues = False
      if lines[0]:
        lines[:1] = _cut(lines[0])
      else:  # only white space followed the cut: not a blank line
        del lines[0]
    if max(map(len, lines), default=0) > LONGEST_LINE:
      counts.long_lines += sum(len(line) > LONGEST_LINE for line in lines)
      lines = [part for line in lines for part in _cut(line)]
    # Of white space at its end, one more than a line holds counts as all of it.
    rest = rest[: len(rest.rstrip()) + LONGEST_LINE + 1]
    if len(rest.strip()) > LONGEST_LINE:
      *parts, rest = _cut(rest.lstrip())
      lines += parts
      counts.long_lines += bool(parts) and not continues
      continues = continues or bool(parts)
    yield lines


def _cut(line: str) -> list[str]:
  """Cuts a line that starts with text into parts of `LONGEST_LINE` or less.

  Each part is the longest that ends before white space, or exactly
  `LONGEST_LINE` characters if there is none. It depends only on the characters
  up to its end, so a line may be cut before the rest of it is read.
  """
  parts, start = [], 0
  while len(line) - start > LONGEST_LINE:
    window = line[start : start + LONGEST_LINE + 1]
    part = window.rstrip()
    if len(part) == len(window):  # the limit falls inside a word
      part = window.rsplit(None, 1)[0].rstrip()
      if len(part) == len(window):
        part = window[:LONGEST_LINE]
    parts.append(part)
    following = _NOT_SPACE.search(line, start + len(part))
    start = following.start() if following else len(line)
  parts.append(line[start:])
  return parts


def split_documents(
  batches: Iterable[list[str]], counts: Counts
) -> Iterator[list[str]]:
  """Yields lists of lines with text; an empty list ends a document.

  [['A', 'B', '', '', 'C'], ['D']] -> [['A', 'B'], [], ['C'], ['D'], []]

  Args:
    batches: lists of lines; blank lines separate documents.
    counts: adds to `lines`.
  """
  inside = False
  for batch in batches:
    for has_text, run in itertools.groupby(batch, bool):
      if has_text:
        lines = list(run)
        counts.lines += len(lines)
        yield lines
      elif inside:
        yield []
      inside = has_text
  if inside:
    yield []


def lines_of(text: str, counts: Counts) -> list[str]:
  r"""Returns the clean lines of a text in memory: 'A\r\n\r\n B' to ['A', 'B'].

  The text may hold lone surrogates (JSON and Python escapes can write them),
  which UTF-8 cannot encode; they count as invalid characters.
  """
  text, surrogates = _SURROGATES.subn('\ufffd', text)
  counts.invalid_characters += surrogates
  batches = split_lines(normalise([text], counts), counts)
  lines = list(filter(None, itertools.chain.from_iterable(batches)))
  counts.lines += len(lines)
  return lines
