"""Which part of the standard library does a docstring document?

    (data_set,) = docstring_task.make()
    next(iter(data_set.train()))  # TextExample(('Return True if ...',), ...)

A classification task whose data come with every CPython. The classes are
packages. No module, and no text, is in both training and evaluation.
"""

import os
import sysconfig

from bertjax.corpus import cleaning, python_documentation
from bertjax.tasks.data_sets import DataSet
from bertjax.tasks.examples import TextExample
from bertjax.tasks.specs import Task

PACKAGES = (
  'asyncio email http importlib logging multiprocessing tkinter unittest '
  'urllib xml'
).split()
_SHORTEST = 40  # characters; 'Return self.' and the like are shorter


def make() -> list[DataSet]:
  """Returns the task; every third module of a package is for evaluation.

  A package that the Python installation lacks, as Debian's lacks tkinter, is
  not among the classes.
  """
  train: list[TextExample] = []
  evaluation: list[TextExample] = []
  for package in PACKAGES:
    for number, docstrings in enumerate(_modules(package)):
      # The largest modules come first, so both sides get some of each size.
      side = evaluation if number % 3 == 1 else train
      side += [TextExample((text,), package) for text in docstrings]
  labels = tuple(sorted({str(example.label) for example in train}))
  seen = {example.texts for example in train}  # modules share some docstrings
  evaluation = [
    x for x in evaluation if x.label in labels and x.texts not in seen
  ]
  task = Task('docstrings', 'classes', labels, ('accuracy', 'f1_macro'))
  return [DataSet(task, lambda: train, {'eval': lambda: evaluation})]


def _modules(package: str) -> list[list[str]]:
  """Returns the docstrings of each module, the module with the most first."""
  folder = os.path.join(sysconfig.get_path('stdlib'), package) + os.sep
  modules = []
  for path in python_documentation.module_paths():
    if path.startswith(folder):
      code = python_documentation.parse(path, cleaning.Counts())
      found = python_documentation.docstrings(code)
      texts = (' '.join(text.split()) for text in found)
      modules.append([text for text in texts if len(text) >= _SHORTEST])
  return sorted(filter(None, modules), key=len, reverse=True)
