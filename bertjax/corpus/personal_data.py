r"""Replaces e-mail addresses, telephone, card and IP numbers in a text.

    >>> replace('Write to ann@example.org, or call (212) 555-0148.')
    ('Write to [email], or call [phone].', {'email': 1, 'phone': 1})
    >>> replace('On 2019-05-12 they won 3:1, ISBN 978-0-306-40615-7.')[1]
    {}

A replacement is a word in lower case in brackets. BERT's vocabularies have
'email', 'phone' and 'card' (and the uncased one 'ip'), so that it is three
ordinary tokens; it is no special token, which are upper case; and nothing in it
is replaced once more.

What may as well be a number of another kind stays: of a version or a section, a
date, a price, a table. So telephone numbers are those in the international
form, those in the form of North America, and those behind a word such as
'tel.'; and an IPv4 address has a part of three digits, which 98 of 100 have and
few versions do. Every pattern goes on for a bounded length and in one way only,
so the time is linear in the text.
"""

import ipaddress
import re
from collections.abc import Callable

# Local part and labels of a name are at most 64 and 63 long (RFC 5321 4.5.3.1,
# RFC 1035 2.3.4).
_EMAIL = re.compile(
  r'(?<![\w.%+-])[\w.%+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w@])'
)
_OCTET = r'(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])'
_IPV4 = re.compile(
  rf'(?<![\w.,-]){_OCTET}(?:\.{_OCTET}){{3}}(?!\w|[.,-][0-9])', re.I
)
_IPV6 = re.compile(
  r'(?<![\w:.])[0-9a-f]{1,4}:[0-9a-f:]{3,35}(?![\w:]|\.[0-9])', re.I
)
# In groups of four, or of American Express and Diners Club, or in one.
_CARD = re.compile(
  r'(?<![\w.,])(?<![0-9][ -])(?:[0-9]{14,19}|'
  r'[0-9]{4}([ -])(?:[0-9]{4}\1[0-9]{4}\1[0-9]{4}|[0-9]{6}\1[0-9]{4,5}))'
  r'(?!\w|[ .,-][0-9])'
)
# First digits and lengths of Visa, Mastercard, American Express, Diners Club,
# Discover, JCB and UnionPay (ranges of ISO/IEC 7812).
_ISSUERS = re.compile(
  r'4[0-9]{15}|4[0-9]{18}|5[1-5][0-9]{14}|3[47][0-9]{13}|'
  r'2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}|'
  r'3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:6011|65[0-9]{2}|64[4-9][0-9])[0-9]{12}|'
  r'35(?:2[89]|[3-8][0-9])[0-9]{12}|62[0-9]{14,17}'
)
# What may stand before a digit of a telephone number.
_GAP = r'(?:[ .\-/]|[ ]?\(|\)[ -]?)?'
# Of 8 to 15 digits (ITU-T E.164).
_INTERNATIONAL = re.compile(rf'\+(?<!\w\+)[1-9](?:{_GAP}[0-9]){{7,14}}(?!\w)')
# Area code and exchange begin with 2 to 9 (North American Numbering Plan).
_AMERICAN = re.compile(
  r'(?<![\w.,$€£+-])(?<![0-9][ (])(?:1[-. ])?(?:\([2-9][0-9]{2}\)[ -]?|'
  r'[2-9][0-9]{2}([-.]))[2-9][0-9]{2}(?:\1|(?<=\) [0-9]{3})-|'
  r'(?<=[)-][0-9]{3})-)[0-9]{4}(?!\w|[-.,/][0-9])'
)
_ANNOUNCED = re.compile(
  r'\b(tel|telephone|phone|fax|mobile|cell|telefon|telefono|teléfono|téléphone|'
  r'tél|whatsapp)((?: (?:number|no\.?|nr\.?))?[.:]{0,2} ?)'
  rf'\(?[0-9](?:{_GAP}[0-9]){{6,14}}(?!\w)',
  re.I,
)
_YEARS = re.compile(r'(?:1[89]|20)[0-9]{2}[-/ ](?:1[89]|20)[0-9]{2}')
# A text has no number of telephones or cards unless it has seven digits close
# to each other. It is looked for first, as most texts have not.
_DIGITS = re.compile(r'(?:[0-9][ ().\-/]{0,3}){6}[0-9]')
_DOTTED = re.compile(r'[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]')


def replace(text: str) -> tuple[str, dict[str, int]]:
  """Returns the text without what identifies a person, and the spans by kind.

  The kinds are 'email', 'ip', 'card' and 'phone'; those that do not occur are
  left out.
  """
  counts: dict[str, int] = {}

  def apply(
    pattern: re.Pattern[str], kind: str, holds: Callable[[str], bool]
  ) -> None:
    nonlocal text

    def replacement(match: re.Match[str]) -> str:
      if not holds(match.group()):
        return match.group()
      counts[kind] = counts.get(kind, 0) + 1
      announced = ''.join(match.groups()) if pattern is _ANNOUNCED else ''
      return f'{announced}[{kind}]'

    text = pattern.sub(replacement, text)

  if '@' in text:
    apply(_EMAIL, 'email', _always)
  if _DOTTED.search(text):
    apply(_IPV4, 'ip', _has_three_digits)
  if '::' in text or text.count(':') >= 7:
    apply(_IPV6, 'ip', _is_ipv6)
  if _DIGITS.search(text):
    apply(_CARD, 'card', _is_card)
    apply(_INTERNATIONAL, 'phone', _is_international)
    apply(_AMERICAN, 'phone', _always)
    apply(_ANNOUNCED, 'phone', _is_no_period)
  return text, counts


def _always(found: str) -> bool:
  return True


def _has_three_digits(found: str) -> bool:
  return any(len(part) == 3 for part in found.split('.'))


def _is_ipv6(found: str) -> bool:
  """Whether it is an address, rather than C++ ('face::bad') or a verse."""
  parts = [part for part in found.split(':') if part]
  if (
    len(parts) < 3 or max(map(len, parts)) < 3 or not re.search('[0-9]', found)
  ):
    return False
  try:
    ipaddress.IPv6Address(found)
  except ValueError:
    return False
  return True


def _is_card(found: str) -> bool:
  digits = re.sub('[ -]', '', found)
  return bool(_ISSUERS.fullmatch(digits)) and luhn(digits)


def luhn(digits: str) -> bool:
  """Returns whether the last digit is the check digit (ISO/IEC 7812-1).

  >>> luhn('4111111111111111'), luhn('4111111111111112')
  (True, False)
  """
  doubled = [sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2]]
  return (sum(doubled) + sum(map(int, digits[::-2]))) % 10 == 0


def _is_international(found: str) -> bool:
  """Whether it is divided as a number is, or too long to be another one."""
  gaps = re.sub('[0-9+]', '', found)
  return gaps not in ('', '.') or len(found) > 10 and gaps == ''


def _is_no_period(found: str) -> bool:
  return not _YEARS.search(found)
