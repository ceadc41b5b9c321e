import json

import pytest

from bertjax.errors import UserError
from bertjax.tasks import data_sets


@pytest.fixture
def glue(tmp_path):
  for name, label in (('SST-2', '1'), ('RTE', 'entailment')):
    (tmp_path / name).mkdir()
    for split in ('train', 'dev'):
      head, line = ('sentence\tlabel', f'fun\t{label}')
      if name == 'RTE':
        head = 'index\tsentence1\tsentence2\tlabel'
        line = f'0\ta\tb\t{label}'
      (tmp_path / name / f'{split}.tsv').write_text(f'{head}\n{line}\n')
  return str(tmp_path)


def test_glue_tasks_are_those_whose_files_are_there(glue):
  assert [d.task.name for d in data_sets.glue(glue)] == ['SST-2', 'RTE']
  (rte,) = data_sets.glue(glue, 'RTE')
  (example,) = rte.train()
  assert (example.texts, example.label) == (('a', 'b'), 'entailment')
  assert set(rte.evaluations) == {'eval'}


@pytest.mark.parametrize(
  'tasks, message',
  [
    ('RTEE', "did you mean 'RTE'"),
    ([], 'names of tasks, each once, got none; set TASKS, or None'),
    (['QNLI', 'QNLI'], 'each once, .*set TASKS'),
    ('QNLI', 'train.tsv and dev.tsv of QNLI'),
    ('AX', 'set TASKS to MNLI'),
  ],
)
def test_tasks_that_are_not_there_are_one_line(glue, tasks, message):
  with pytest.raises(UserError, match=message):
    data_sets.glue(glue, tasks)


HEAD = 'index\tsentence1\tsentence2\tlabel\n'


@pytest.mark.parametrize(
  'content', ['', HEAD, 'a\tb\n1\t2\n', HEAD + '0\ta\n', HEAD + '0\ta\tb\tc\n']
)
def test_malformed_diagnostics_count_only_beside_mnli(tmp_path, content):
  (tmp_path / 'AX').mkdir()
  diagnostics = tmp_path / 'AX' / 'AX.tsv'
  diagnostics.write_text(content)

  def refused(tasks=None):
    with pytest.raises(UserError) as error:
      data_sets.glue(str(tmp_path), tasks)
    assert '\n' not in str(error.value)
    return str(error.value)

  assert f'dev.tsv, in {tmp_path}; set DATA_DIR' in refused()
  assert f'dev.tsv of MNLI in {tmp_path}, which lacks' in refused('MNLI')
  assert 'set TASKS to MNLI' in refused('AX')
  (tmp_path / 'MNLI').mkdir()
  for split in ('train', 'dev_matched'):
    path = tmp_path / 'MNLI' / f'{split}.tsv'
    path.write_text('sentence1\tsentence2\tgold_label\na\tb\tneutral\n')
  assert str(diagnostics) in refused() and str(diagnostics) in refused('MNLI')


def test_classes_and_metrics_of_own_files(tmp_path):
  path = tmp_path / 'a.csv'
  path.write_text('text,label\na,y\nb,x\nc,z\n')
  arguments = (str(path), str(path), 'text', 'label')
  (data_set,) = data_sets.text(*arguments)
  assert data_set.task.labels == ('x', 'y', 'z')
  assert data_set.task.metrics == ('accuracy', 'f1_macro')
  (data_set,) = data_sets.text(*arguments, metrics='f1_macro')
  assert data_set.task.metrics == ('f1_macro',)
  with pytest.raises(UserError, match="did you mean 'accuracy'"):
    data_sets.text(*arguments, metrics='acuracy')
  for metrics in ([], ['accuracy', 'accuracy']):
    with pytest.raises(UserError, match='metrics that differ.*set METRICS'):
      data_sets.text(*arguments, metrics=metrics)
  with pytest.raises(UserError, match='f1 is of the second of two classes'):
    data_sets.text(*arguments, metrics='f1')
  with pytest.raises(UserError, match='KIND'):
    data_sets.text(*arguments, kind='clases')


def test_tags_without_chunks_have_accuracy_alone(tmp_path):
  path = tmp_path / 'a.txt'
  path.write_text('He PRP O\nran VBD B-VP\n')
  (chunks,) = data_sets.tags(str(path), str(path))
  (words,) = data_sets.tags(str(path), str(path), tag_column=1)
  assert chunks.task.metrics[0] == 'f1'
  assert words.task.metrics == ('accuracy',)
  path.write_text('He PRP O\nran VBD O\n')
  with pytest.raises(UserError, match='got O for all words; set TAG_COLUMN'):
    data_sets.tags([str(path)], str(path))
  with pytest.raises(UserError, match='data_sets.tags.separator'):
    data_sets.tags(str(path), str(path), separator='')


def test_tags_that_cannot_be_meant_are_told(tmp_path, capsys):
  path = tmp_path / 'a.txt'
  path.write_text('He B_NP\nran B_VP\nhome I_VP\n')
  data_sets.tags(str(path), str(path))
  assert 'B_NP is a tag like any other' in capsys.readouterr().out
  path.write_text('He B-NP\nran B-VP\n')
  data_sets.tags(str(path), str(path))
  assert 'like any other' not in capsys.readouterr().out
  lines = [f'N word{number}\nV verb{number}\n' for number in range(30)]
  path.write_text('\n'.join(lines))
  with pytest.raises(UserError, match='got 60 tags.*, and 2 words: .*COLUMN'):
    data_sets.tags(str(path), str(path))
  data_sets.tags(str(path), str(path), word_column=1, tag_column=0)


def test_a_label_of_evaluation_that_training_lacks_is_refused(tmp_path):
  train, dev = tmp_path / 'a.csv', tmp_path / 'b.csv'
  train.write_text('text,label\na,y\nb,x\n')
  dev.write_text('text,label\na,z\n')
  (data_set,) = data_sets.text(str(train), str(dev), 'text', 'label')
  with pytest.raises(UserError, match=f"of line 2 of {dev}, got 'z'"):
    list(data_set.evaluations['eval']())


def test_questions_without_an_answer_are_refused(tmp_path):
  item = {'id': '1', 'question': '?', 'answers': [], 'is_impossible': True}
  paragraph = {'context': 'a', 'qas': [item]}
  path = tmp_path / 'a.json'
  path.write_text(json.dumps({'data': [{'paragraphs': [paragraph]}]}))
  with pytest.raises(UserError, match='without any; set TRAIN_FILES'):
    data_sets.questions(str(path), str(path))


def test_questions_hold_out_articles_where_there_is_one_file(tmp_path):
  path = tmp_path / 'a.json'
  path.write_text(
    json.dumps(
      {
        'data': [
          {
            'title': f't{i}',
            'paragraphs': [
              {
                'context': 'a b',
                'qas': [
                  {
                    'id': str(i),
                    'question': '?',
                    'answers': [{'text': 'b', 'answer_start': 2}],
                  }
                ],
              }
            ],
          }
          for i in range(20)
        ]
      }
    )
  )
  (data_set,) = data_sets.questions(str(path))
  train = {x.title for x in data_set.train()}
  held_out = {x.title for x in data_set.evaluations['eval']()}
  assert train and held_out and not train & held_out
  assert len(train | held_out) == 20


def test_questions_without_an_answer_in_their_context_are_refused(tmp_path):
  item = {'id': '1', 'question': '?'}
  item['answers'] = [{'text': 'b', 'answer_start': 0}]
  paragraph = {'context': 'a', 'qas': [item]}
  path = tmp_path / 'a.json'
  path.write_text(json.dumps({'data': [{'paragraphs': [paragraph]}]}))
  with pytest.raises(UserError, match='occur in their contexts .* got 1 that'):
    data_sets.questions(str(path), str(path))


def test_a_file_of_glue_without_labels_is_refused(glue):
  with open(f'{glue}/RTE/dev.tsv', 'w') as file:
    file.write('index\tsentence1\tsentence2\n0\ta\tb\n')
  (rte,) = data_sets.glue(glue, 'RTE')
  with pytest.raises(UserError, match='labels in .*dev.tsv, .*such as its'):
    list(rte.evaluations['eval']())


def test_a_file_to_train_on_and_to_score_on_is_told(tmp_path, capsys):
  for name in ('a.csv', 'b.csv'):
    (tmp_path / name).write_text('text,label\na,y\nb,x\n')
  path, other = str(tmp_path / 'a.csv'), str(tmp_path / 'b.csv')
  data_sets.text(path, other, 'text', 'label')
  assert capsys.readouterr().out == ''
  data_sets.text(str(tmp_path), other, 'text', 'label')
  assert capsys.readouterr().out.startswith(f'warning: {other} is to train on')
