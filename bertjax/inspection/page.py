"""The attention of texts as one interactive page that needs no server.

    text = page.render([maps], 'runs/books')
    IPython.display.HTML(page.frame([maps], 'runs/books'))   # in a notebook

The page is self-contained and loads nothing. Weights are rounded to multiples
of 1 / 65,535. The template is page.html with the files beside it.
"""

import base64
import html
import json
import pathlib
import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from bertjax.inspection.maps import Maps

STEPS = 2**16 - 1  # from weight 0 to 1


def render(found: Sequence[Maps], origin: str) -> str:
  """Returns the page.

  Args:
    found: one per text, all of the same layers.
    origin: where the model came from.
  """
  data = {
    'origin': origin,
    'layers': found[0].layers,
    'heads': found[0].weights.shape[1],
    'texts': [_text(maps) for maps in found],
  }
  return string.Template(_read('page.html')).substitute(
    # A '<' could end the script; JSON reads the escape as the same character.
    data=json.dumps(data).replace('<', '\\u003c'),
    origin=html.escape(origin),
    style=_read('page.css'),
    script=_read('page.js') + _read('page_map.js'),
  )


def frame(found: Sequence[Maps], origin: str, height: int = 900) -> str:
  """Returns HTML that shows the page within another, such as a notebook.

  Args:
    found: see `render`.
    origin: see `render`.
    height: in pixels; the width is all that is available.
  """
  return (
    f'<div><iframe srcdoc="{html.escape(render(found, origin))}" '
    f'style="width: 100%; height: {height}px; border: 0"></iframe></div>'
  )


def _text(maps: Maps) -> dict[str, Any]:
  scaled = np.rint(maps.weights * STEPS).astype('<u2')
  importance = maps.importance
  return {
    'tokens': maps.tokens,
    'second': maps.second,
    'weights': base64.b64encode(scaled.tobytes()).decode(),
    'entropies': maps.entropies.tolist(),
    'importance': None if importance is None else importance.tolist(),
  }


def _read(name: str) -> str:
  return pathlib.Path(__file__).with_name(name).read_text(encoding='utf-8')
