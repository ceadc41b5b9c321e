"""Shared by the benchmarks: timing of forms in turn, versions, checked flags.

    config = EncoderConfig(vocabulary_size=30522, **timing.fields('mini'))
    seconds, reasons = timing.in_turn({'sum': make_sum}, repetitions=7)
    print(timing.machine('jax', 'jaxlib'))

A form is one of several ways to do the same work.
"""

import argparse
import ast
import math
import os
import pathlib
import platform
import re
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

MODELS = pathlib.Path(__file__).parents[2] / 'gin_configs' / 'models'
# The published sizes by name; those without another prefix are BERT's.
SIZES = sorted(path.stem.removeprefix('bert_') for path in MODELS.glob('*.gin'))
# A repetition takes at least this long, so that launching hardly counts.
LEAST_SECONDS = 0.02

# Does the work this many times and waits for the last.
Run = Callable[[int], None]


def fields(size: str) -> dict[str, Any]:
  """Returns what the file of a size binds of EncoderConfig, without gin.

  Args:
    size: one of `SIZES`.
  """
  path = MODELS / f'bert_{size}.gin'
  text = (path if path.exists() else MODELS / f'{size}.gin').read_text()
  found = {}
  for included in re.findall(r"^include 'models/(\w+)\.gin'", text, re.M):
    found |= fields(included)
  bound = re.findall(r'^(?:config\.EncoderConfig\.|  )(\w+) = (.+)', text, re.M)
  for name, value in bound:
    found[name] = ast.literal_eval(value)
  return found


def in_turn(
  makers: Mapping[str, Callable[[], Run]], repetitions: int
) -> tuple[dict[str, list[float]], dict[str, str]]:
  """Times the forms in turn, so that a busy machine slows all of them alike.

  Args:
    makers: name -> makes the form's `Run`.
    repetitions: how often each is timed, after two calls to warm up.

  Returns:
    name -> seconds of work in each repetition; and name -> reason, in one line,
    for the forms that failed.
  """
  forms, seconds, reasons = {}, {}, {}
  for name, make in makers.items():
    try:
      run = make()
      run(1)  # compiles
      start = time.perf_counter()
      run(1)
      taken = time.perf_counter() - start
    except (
      Exception
    ) as error:  # whatever a compiler raises: the others continue
      reasons[name] = one_line(error)
    else:
      forms[name] = run, max(1, math.ceil(LEAST_SECONDS / max(taken, 1e-6)))
      seconds[name] = []
  for _ in range(repetitions):
    for name, (run, times) in forms.items():
      start = time.perf_counter()
      run(times)
      seconds[name].append((time.perf_counter() - start) / times)
  return seconds, reasons


def one_line(error: Exception) -> str:
  """Returns an error's class and the first line of its message."""
  lines = str(error).strip().splitlines() or ['']
  return f'{type(error).__name__}: {lines[0][:160]}'


def machine(*packages: str) -> str:
  """Returns processor, device, and the versions of Python and packages."""
  import jax

  versions = ', '.join(f'{name} {metadata.version(name)}' for name in packages)
  return (
    f'{_cpu("model name") or platform.machine()}, {os.cpu_count()} '
    f'cores; jax on {jax.devices()[0].device_kind}; Python '
    f'{platform.python_version()}, {versions}'
  )


def has_bfloat16() -> bool:
  """Returns whether this CPU reports instructions for bfloat16."""
  return bool(
    re.search(
      r'\b(avx512_bf16|amx_bf16|bf16)\b', _cpu('flags') or _cpu('Features')
    )
  )


def _cpu(field: str) -> str:
  """Returns a field of Linux's description of the first core, or ''."""
  if not os.path.exists('/proc/cpuinfo'):
    return ''
  with open('/proc/cpuinfo', encoding='utf-8') as file:
    found = re.search(rf'^{field}\s*: (.*)', file.read(), re.MULTILINE)
  return found[1].strip() if found else ''


class Parser(argparse.ArgumentParser):
  """Prints in one line what is wrong with a flag, and exits with status 2."""

  def error(self, message: str):
    self.exit(2, f'{self.prog}: {message}; see --help\n')


def positive(text: str) -> int:
  """Parses a flag as a whole number above 0."""
  if not text.isascii() or not text.isdigit() or int(text) < 1:
    raise argparse.ArgumentTypeError(
      f'expected a whole number above 0, got {text!r}'
    )
  return int(text)
