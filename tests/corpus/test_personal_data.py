"""Personal data is replaced, and numbers of other kinds are not."""

import re
import time

import pytest

from bertjax.corpus import personal_data

FOUND = {
  'email': (
    'ann.b+c@sub.example.co.uk',
    'jo_x@example.org',
    'müller@beispiel.de',
    'A-1@x-y.museum',
  ),
  'ip': (
    '192.168.1.1',
    '8.8.8.100',
    '203.0.113.17',
    '2001:db8::8a2e:370:7334',
    '2001:0db8:85a3:0000:0000:8a2e:0370:7334',
    'fe80::1ff:fe23:4567:890a',
  ),
  'card': (
    # The networks' published test numbers.
    '4111 1111 1111 1111',
    '4111111111111111',
    '5500-0000-0000-0004',
    '3782 822463 10005',
    '378282246310005',
    '6011111111111117',
    '3530111333300000',
    '30569309025904',
  ),
  'phone': (
    '+49 30 901820',
    '+1 (212) 555-0123',
    '+44 20 7946 0958',
    '+4915112345678',
    '+33 1 23 45 67 89',
    '(212) 555-0148',
    '(212)555-0148',
    '212-555-0148',
    '212.555.0148',
    '1-800-555-0199',
    '1 (212) 555-0148',
    'Tel.: 030/1234567',
    'tel. 555-0148',
    'Phone: 555 0148',
    'fax no. 0171 1234567',
    'Telefon 0351 4633-7000',
  ),
}
STAYS = (
  '2019-05-12',
  '12/05/2019',
  '12.05.2019 14:00',
  '12:30:45',
  '2019-05-12T12:30:45+01:00',
  'ISBN 978-0-306-40615-7',
  'ISBN 0-306-40615-2',
  '9780306406157',
  'ISSN 0317-8471',
  'doi:10.1000/182',
  'version 1.2.3.4',
  'v10.12.3.4',
  '4.0.30319.42000',
  'section 3.1.2.1',
  '0.123.456.789',
  '$1,234,567.89',
  '$555.555.5555',
  '1,234,567',
  '10 000 000',
  'won 3-1, 6-4 6-3 7-6',
  'lines 555-612',
  'pages 212-555-',
  '1914-1918 and 1939-1945',
  'Phone 2019-2020',
  '1990 1991 1992 1993 1994 1995',
  '4000 5000 6000 7001 8000',
  '250 300 1000 2000',
  '1000-2000-3000',
  '52.5200 13.4050',
  '3.14159265358979',
  '+1.23456789',
  '+5 points',
  '1234567890123456',
  '4111 1111 1111 1112',
  '12345678901234567890',
  'Shr 1.20 dlrs vs 95 cts Net 12,300,000 vs 10,100,000',
  'Isaiah 40:3; 41:10',
  '2:1::3',
  'face::bad',
  'std::vector<int>',
  'a::b::c',
  '00:1a:2b:3c:4d:5e',
  '@handle',
  'user@localhost',
  'a @ b.org',
  'http://a.b/1234567',
)


@pytest.mark.parametrize(
  'kind, text', [(kind, x) for kind in FOUND for x in FOUND[kind]]
)
def test_what_identifies_a_person_is_replaced(kind, text):
  for sentence in ('{}', 'It is {}.', '({}), he said', 'one\n{}\ntwo'):
    found, counts = personal_data.replace(sentence.format(text))
    assert counts == {kind: 1}
    number = re.sub('^[A-Za-z.: ]+', '', text) if kind == 'phone' else text
    assert number not in found and f'[{kind}]' in found
    assert len(found) - len(sentence) < 25


@pytest.mark.parametrize('text', STAYS)
def test_numbers_of_other_kinds_stay(text):
  for sentence in ('{}', 'It is {}.', '({}), he said', 'one\n{}\ntwo'):
    sentence = sentence.format(text)
    assert personal_data.replace(sentence) == (sentence, {})


def test_what_announces_a_number_stays():
  assert personal_data.replace('Call: Tel. 555-0148 now')[0] == (
    'Call: Tel. [phone] now'
  )


def test_all_kinds_in_one_text_are_counted_and_nothing_is_replaced_twice():
  text = '\n'.join(x for kind in FOUND for x in FOUND[kind])
  found, counts = personal_data.replace(text)
  assert counts == {kind: len(FOUND[kind]) for kind in FOUND}
  assert personal_data.replace(found) == (found, {})


@pytest.mark.parametrize(
  'part',
  (
    '1',
    '1' * 1000 + ' ',
    '+1' + '1' * 40,
    'a@',
    'a.',
    '1.',
    '1:',
    '::',
    '(1) ',
    '1 1',
    'tel. 1-',
    '1111 1111 1111 1111 1',
    'a' * 70 + '@',
    'a@' + 'b.' * 20,
    '111.1.1.',
    'ffff:',
    '+',
    '212-',
  ),
)
def test_time_is_linear_in_hostile_text(part):
  text = (part * 300_000)[:300_000]
  begin = time.process_time()
  personal_data.replace(text)
  assert time.process_time() - begin < 3  # quadratic: hours
