"""The page holds what it was made of, and loads nothing."""

import base64
import html
import json
import re

import numpy as np

from bertjax.inspection import page
from bertjax.inspection.maps import Maps


def make_maps(tokens, importance=None):
  size = len(tokens)
  weights = (
    np.random.RandomState(size)
    .dirichlet(np.ones(size), (2, 3, size))
    .astype(np.float32)
  )
  return Maps(tokens, None, (0, 5), weights, importance)


def test_every_weight_can_be_read_back():
  found = [
    make_maps(('[CLS]', 'a', '[SEP]'), np.full((2, 3), 0.25)),
    make_maps(('[CLS]', 'a', '</script>', '$style', '[SEP]')),
  ]
  text = page.render(found, 'runs/<b>')
  (data,) = re.findall(
    r'<script type="application/json" id="data">(.*?)</script>', text
  )
  data = json.loads(data)
  assert data['layers'] == [0, 5] and data['heads'] == 3
  for maps, kept in zip(found, data['texts'], strict=True):
    assert kept['tokens'] == list(maps.tokens)
    weights = np.frombuffer(base64.b64decode(kept['weights']), '<u2') / 65535
    np.testing.assert_allclose(
      weights.reshape(maps.weights.shape), maps.weights, atol=1e-5
    )
    np.testing.assert_allclose(kept['entropies'], maps.entropies, rtol=1e-3)
  assert data['texts'][0]['importance'] == [[0.25] * 3] * 2
  assert data['texts'][1]['importance'] is None
  assert 'runs/<b>' not in text and 'runs/&lt;b&gt;' in text


def test_the_page_is_whole_and_loads_nothing():
  text = page.render([make_maps(('[CLS]', 'a', '[SEP]'))], 'runs/books')
  assert not re.search(r'\$(data|origin|style|script)\b', text)
  assert not re.search(r'https?:|src=|href=|@import|url\(', text)
  assert text.count('<script') == 2
  ids = set(re.findall(r'\bid="([\w-]+)"', text))
  assert text.index('const byId') < text.index("byId('")
  assert set(re.findall(r"byId\('([\w-]+)'\)", text)) <= ids


def test_within_another_page_it_is_the_same():
  found = [make_maps(('[CLS]', '"', '&lt;', '[SEP]'))]
  (source,) = re.findall(
    r'^<div><iframe srcdoc="([^"]*)" style="[^"<>]*"></iframe></div>$',
    page.frame(found, 'runs/"books"', height=300),
  )
  assert html.unescape(source) == page.render(found, 'runs/"books"')
