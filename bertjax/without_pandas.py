"""Spares the second in which pyarrow would import pandas.

    without_pandas.tell_pyarrow()

With the first array that it makes, pyarrow imports pandas if that is installed,
as it is beside TensorFlow Datasets, only to ask whether it was handed a Series.
"""

import sys


def tell_pyarrow() -> None:
  """Lets pyarrow find that there is no pandas, unless it is imported already.

  For processes of bertjax's own: later, until `Table.to_pandas` is called, NaN
  in a Series that is handed to pyarrow is no null. Both that and `import
  pandas` work.
  """
  if 'pandas' in sys.modules:
    return
  import pyarrow

  sys.meta_path.insert(0, _Hidden)
  try:
    pyarrow.array([0])
  finally:
    sys.meta_path.remove(_Hidden)


class _Hidden:
  @staticmethod
  def find_spec(name: str, *_: object) -> None:
    """Raises ModuleNotFoundError for pandas, and leaves others to others."""
    if name == 'pandas':
      raise ModuleNotFoundError(name)
