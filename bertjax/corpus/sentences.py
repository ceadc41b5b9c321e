"""Splits text into sentences.

    >>> split('One. Two said Mr. X, "Three?" Four\\nFive')
    'One.\\nTwo said Mr. X, "Three?"\\nFour\\nFive'

A sentence ends after . ! ? … । and closing quotes if white space and anything
but a lower-case letter follow, except after common abbreviations and initials;
and after 。！？ anywhere.
"""

import re

# English; a full stop after one of these does not end a sentence.
_ABBREVIATIONS = (
  'Mr|Mrs|Ms|Messrs|Mme|Dr|Prof|Rev|Hon|St|Sr|Jr|Gen|Col|Capt|Lieut|Lt|Sgt|'
  r'No|Nos|Vol|vol|Fig|fig|cf|Cf|vs|e\.g|i\.e|approx|ca|pp|ed|eds|Inc|Ltd|Co'
)
_BEFORE = re.compile(rf'(?:^|\W)(?:{_ABBREVIATIONS}|([^\W\d_]))$')
_LONGEST = 8  # characters of an abbreviation and what stands before it
_END = re.compile(r"""([.!?…؟।]["')\]”’»]*)[ \t]+(?=(\S))""")
_WIDE_END = re.compile('([。！？][」』”’）]*)')


def split(text: str) -> str:
  r"""Returns the text with a '\n' between sentences; lines stay apart."""
  text = _END.sub(_divide, text)
  return text if text.isascii() else _WIDE_END.sub('\\1\n', text)


def _divide(match: re.Match[str]) -> str:
  """Returns what takes the place of the end of a sentence, or of none."""
  if match[2].islower():
    return match[0]
  if match[1] == '.':
    end = match.start()
    found = _BEFORE.search(match.string[max(0, end - _LONGEST) : end])
    if found and (found[1] is None or found[1].isupper()):
      return match[0]
  return match[1] + '\n'
