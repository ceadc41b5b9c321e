import subprocess
import sys

CODE = """
import sys
import pyarrow
from bertjax import without_pandas
without_pandas.tell_pyarrow()
table = pyarrow.table({'word': ['a', None], 'number': [1, 2]})
assert table['word'].to_pylist() == ['a', None]
assert table['number'].to_numpy().tolist() == [1, 2]
assert 'pandas' not in sys.modules
import pandas
assert isinstance(table.to_pandas(), pandas.DataFrame)
assert pyarrow.array(pandas.Series([1.5, float('nan')])).null_count == 1
"""


def test_pyarrow_imports_pandas_only_when_it_is_asked_for():
  subprocess.run([sys.executable, '-c', CODE], check=True)


def test_pandas_that_is_imported_already_stays_known():
  code = (
    'import pandas, pyarrow\n'
    'from bertjax import without_pandas\n'
    'without_pandas.tell_pyarrow()\n'
    'assert pyarrow.array(pandas.Series([1.5, None])).null_count == 1'
  )
  subprocess.run([sys.executable, '-c', code], check=True)
