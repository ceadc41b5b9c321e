"""Which part of the standard library does a docstring document?

    (data_set,) = docstring_task.make()
    next(iter(data_set.train()))  # TextExample(('Return True if ...',), ...)

A classification task that every CPython carries. The packages are the classes,
and no module, nor any text, is in both training and evaluation. Source: ours.
"""

import os
import sysconfig

from bertjax.data import cleaning, python_documentation
from bertjax.tasks.data_sets import DataSet
from bertjax.tasks.examples import TextExample
from bertjax.tasks.specs import Task

PACKAGES = (
  'asyncio',
  'email',
  'http',
  'importlib',
  'logging',
  'multiprocessing',
  'tkinter',
  'unittest',
  'urllib',
  'xml',
)
_SHORTEST = 40  # characters; below stand 'Return self.' and its like


def make() -> list[DataSet]:
  """Returns the task; every third module of a package is for evaluation.

  A package that this installation lacks, as Debian's lacks tkinter, is no
  class.
  """
  train, evaluation = [], []
  for package in PACKAGES:
    modules = _modules(package)
    for number, docstrings in enumerate(modules):
      # The largest modules first: both sides then get some of each size.
      side = evaluation if number % 3 == 1 else train
      side += [TextExample((text,), package) for text in docstrings]
  labels = tuple(sorted({example.label for example in train}))
  seen = {example.texts for example in train}  # what modules repeat
  evaluation = [
    x for x in evaluation if x.label in labels and x.texts not in seen
  ]
  task = Task('docstrings', 'classes', labels, ('accuracy', 'f1_macro'))
  return [DataSet(task, lambda: train, {'eval': lambda: evaluation})]


def _modules(package: str) -> list[list[str]]:
  """Returns the docstrings of each module, those with the most first."""
  folder = os.path.join(sysconfig.get_path('stdlib'), package) + os.sep
  modules = [
    [
      ' '.join(text.split())
      for text in python_documentation.docstrings(path, cleaning.Counts())
    ]
    for path in python_documentation.module_paths()
    if path.startswith(folder)
  ]
  modules = [[x for x in texts if len(x) >= _SHORTEST] for texts in modules]
  return sorted(filter(None, modules), key=len, reverse=True)
