import collections

from bertjax.corpus import python_documentation
from bertjax.data import docstring_task


def test_the_packages_are_classes_of_which_none_is_most():
  (data_set,) = docstring_task.make()
  train = list(data_set.train())
  counts = collections.Counter(example.label for example in train)
  assert len(train) > 1000 and 8 <= len(counts) <= 10
  assert max(counts.values()) < len(train) / 2
  evaluation = list(data_set.evaluations['eval']())
  assert len(evaluation) > 300
  assert {example.label for example in evaluation} <= set(counts)


def test_no_module_is_on_both_sides(tmp_path, monkeypatch):
  folder = tmp_path / 'email'
  folder.mkdir()
  line = 'def f{1}():\n  """Module {0} says so at some length, {1} times."""'
  for number in range(7):
    (folder / f'm{number}.py').write_text(
      '\n'.join(line.format(number, i) for i in range(10 - number))
    )
  monkeypatch.setattr(
    python_documentation,
    'module_paths',
    lambda: sorted(map(str, folder.glob('*.py'))),
  )
  monkeypatch.setattr(
    docstring_task.sysconfig, 'get_path', lambda _: str(tmp_path)
  )
  monkeypatch.setattr(docstring_task, 'PACKAGES', ('email',))
  (data_set,) = docstring_task.make()
  sides = [
    {text.split()[1] for example in examples for text in example.texts}
    for examples in (data_set.train(), data_set.evaluations['eval']())
  ]
  assert sides == [{'0', '2', '3', '5', '6'}, {'1', '4'}]
