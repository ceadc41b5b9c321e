import ast
import importlib.util
import pathlib

import pytest

from bertjax.errors import UserError
from bertjax.tasks import glue_files
from bertjax.tasks.examples import TextExample

# Task -> lines of a file, columns parted by |, in the order of GLUE's own
# files, and the examples of it as (texts, label, identifier).
TRAIN = {
  'CoLA': (
    ['gj04|1||He "ran.', 'cj99|0|*|Ran he\u2028.'],
    [(('He "ran.',), 'acceptable', 0), (('Ran he\u2028.',), 'unacceptable', 1)],
  ),
  'SST-2': (
    ['sentence|label', '"fine "|1', 'dull \x0b|0'],
    [(('"fine "',), 'positive', 0), (('dull \x0b',), 'negative', 1)],
  ),
  'MRPC': (
    [
      '\ufeffQuality|#1 ID|#2 ID|#1 String|#2 String',
      '1|702876|702977|"He ran|He did" run',
      '0|21|33|a\u2028|b',
    ],
    [
      (('"He ran', 'He did" run'), 'equivalent', 0),
      (('a\u2028', 'b'), 'not_equivalent', 1),
    ],
  ),
  'STS-B': (
    [
      'index|genre|filename|year|old_index|source1|source2|sentence1|'
      'sentence2|score',
      '7|main-news|MSRvid|2012test|0001|none|none|"a|b\u2028|3.800',
    ],
    [(('"a', 'b\u2028'), 3.8, '7')],
  ),
  'QQP': (
    [
      'id|qid1|qid2|question1|question2|is_duplicate',
      '133273|213221|213222|How "old?|What\u2028age?|1',
      '402555|536040|536041|a?||0',
    ],
    [
      (('How "old?', 'What\u2028age?'), 'duplicate', '133273'),
      (('a?', ''), 'not_duplicate', '402555'),
    ],
  ),
  'MNLI': (
    [
      'index|promptID|pairID|genre|sentence1_binary_parse|'
      'sentence2_binary_parse|sentence1_parse|sentence2_parse|'
      'sentence1|sentence2|label1|gold_label',
      '0|31193|31193n|government|( a )|( b )|(ROOT a)|(ROOT b)|"a|'
      'b\u2028|entailment|neutral',
      '1|1|1c|fiction|( a )|( b )|(ROOT a)|(ROOT b)|c|d|neutral|-',
      '2|1|1c|fiction|( a )|( b )|(ROOT a)|(ROOT b)|e|f|neutral|contradiction',
    ],
    [(('"a', 'b\u2028'), 'neutral', '0'), (('e', 'f'), 'contradiction', '2')],
  ),
  'QNLI': (
    [
      'index|question|sentence|label',
      '0|"When?|Now\u2028.|entailment',
      '1|Who?|Me.|not_entailment',
    ],
    [
      (('"When?', 'Now\u2028.'), 'entailment', '0'),
      (('Who?', 'Me.'), 'not_entailment', '1'),
    ],
  ),
  'RTE': (
    ['index|sentence1|sentence2|label', '0|"a|b\u2028|not_entailment'],
    [(('"a', 'b\u2028'), 'not_entailment', '0')],
  ),
  'WNLI': (
    ['index|sentence1|sentence2|label', '0|"a|b\u2028|1', '1|c|d|0'],
    [
      (('"a', 'b\u2028'), 'entailment', '0'),
      (('c', 'd'), 'not_entailment', '1'),
    ],
  ),
  'AX': (
    [
      'Lexical Semantics|Predicate-Argument Structure|Logic|Knowledge|'
      'Domain|Premise|Hypothesis|Label',
      '||Negation||Artificial|"a|b\u2028|contradiction',
    ],
    [(('"a', 'b\u2028'), 'contradiction', 0)],
  ),
}
TEST = {
  'CoLA': (['index|sentence', '0|He "ran.'], [(('He "ran.',), None, '0')]),
  'SST-2': (['index|sentence', '0|fine'], [(('fine',), None, '0')]),
  'MRPC': (
    ['\ufeffindex|#1 ID|#2 ID|#1 String|#2 String', '0|1|2|a|b'],
    [(('a', 'b'), None, '0')],
  ),
  'STS-B': (
    [
      'index|genre|filename|year|old_index|source1|source2|sentence1|sentence2',
      '0|main|MSRvid|2014|2|none|none|a|b',
    ],
    [(('a', 'b'), None, '0')],
  ),
  'QQP': (['id|question1|question2', '5|a|b'], [(('a', 'b'), None, '5')]),
  'MNLI': (
    [
      'index|promptID|pairID|genre|sentence1_binary_parse|'
      'sentence2_binary_parse|sentence1_parse|sentence2_parse|'
      'sentence1|sentence2',
      '0|1|1|travel|p|q|r|s|a|b',
    ],
    [(('a', 'b'), None, '0')],
  ),
  'QNLI': (['index|question|sentence', '0|a|b'], [(('a', 'b'), None, '0')]),
  'RTE': (['index|sentence1|sentence2', '0|a|b'], [(('a', 'b'), None, '0')]),
  'WNLI': (['index|sentence1|sentence2', '0|a|b'], [(('a', 'b'), None, '0')]),
  'AX': (['index|sentence1|sentence2', '0|a|b'], [(('a', 'b'), None, '0')]),
}


def write(path, lines, end='\n'):
  path.parent.mkdir(parents=True, exist_ok=True)
  text = ''.join(line.replace('|', '\t') + end for line in lines)
  path.write_bytes(text.encode())
  return str(path)


@pytest.mark.parametrize('end', ['\n', '\r\n'])
@pytest.mark.parametrize('table', [TRAIN, TEST])
@pytest.mark.parametrize('task', glue_files.LABELS)
def test_a_file_in_the_original_order_is_read(
  tmp_path, capsys, task, table, end
):
  lines, expected = table[task]
  path = write(tmp_path / 'a.tsv', lines, end)
  assert list(glue_files.read(path, task)) == [
    TextExample(*example) for example in expected
  ]
  assert capsys.readouterr().out == ''


def test_the_development_set_of_mnli_has_five_labels_a_pair(tmp_path):
  labels = '|'.join(f'label{i}' for i in range(1, 6))
  path = write(
    tmp_path / 'dev_matched.tsv',
    [
      f'index|sentence1|sentence2|{labels}|gold_label',
      '63|a|b|neutral|neutral|entailment|neutral|neutral|neutral',
    ],
  )
  (example,) = glue_files.read(path, 'MNLI')
  assert example == TextExample(('a', 'b'), 'neutral', '63')


def test_broken_lines_are_left_out_and_counted(tmp_path, capsys):
  lines, expected = TRAIN['QQP']
  header, one, two = lines
  path = write(tmp_path / 'train.tsv', [header, one, '1|2|3|a', '4|5', two])
  assert [example.identifier for example in glue_files.read(path, 'QQP')] == [
    identifier for _, _, identifier in expected
  ]
  assert capsys.readouterr().out.startswith(
    f'{path}: 2 lines left out, which lack fields'
  )


def test_a_file_of_broken_lines_is_refused(tmp_path):
  header, one, _ = TRAIN['QQP'][0]
  path = write(tmp_path / 'train.tsv', [header, one, '4|5', '6|7'])
  with pytest.raises(
    UserError, match=f'of {path}, .* in 2, .* is line 3; mend'
  ):
    list(glue_files.read(path, 'QQP'))


def test_ids_of_classes_are_those_of_tensorflow_datasets():
  package = importlib.util.find_spec('tensorflow_datasets')
  if package is None:
    pytest.skip('needs tensorflow_datasets')
  # Parsed, since its import takes long.
  source = pathlib.Path(package.origin).parent / 'text' / 'glue.py'
  theirs = {}
  for node in ast.walk(ast.parse(source.read_text())):
    if isinstance(node, ast.Call):
      given = {x.arg: x.value for x in node.keywords}
      if 'data_dir' in given and 'name' in given:
        theirs[ast.literal_eval(given['name'])] = (
          tuple(ast.literal_eval(given['label_classes']))
          if 'label_classes' in given
          else None
        )
      elif 'label_classes' in given:  # what the entries of MNLI share
        theirs['mnli'] = tuple(ast.literal_eval(given['label_classes']))
  assert theirs == {
    task.lower().replace('-', ''): labels
    for task, labels in glue_files.LABELS.items()
  }


@pytest.mark.parametrize(
  'task, lines, message',
  [
    ('RTE', ['sentence|label', 'a|1'], 'expected one column sentence1 in'),
    (
      'RTE',
      ['index|sentence1|sentence2|label', '0|a|b|1'],
      'entailment or not_entailment as the label in line 2',
    ),
    ('WNLI', ['index|sentence1|sentence2|label', '0|a|b|'], "got ''"),
    ('SST-2', ['sentence|label', 'a|2'], '0 or 1 as the label in line 2'),
    ('STS-B', ['sentence1|sentence2|score', 'a|b|5.1'], 'from 0 to 5'),
    ('STS-B', ['sentence1|sentence2|score', 'a|b|nan'], 'from 0 to 5'),
    ('STS-B', ['sentence1|sentence2|score', 'a|b|x'], 'from 0 to 5'),
    ('CoLA', ['sentence|label', 'a|1'], 'expected examples'),
    ('SST2', ['sentence|label', 'a|1'], "did you mean 'SST-2'"),
  ],
)
def test_what_is_no_file_of_the_task_is_one_line(
  tmp_path, task, lines, message
):
  path = write(tmp_path / 'a.tsv', lines)
  with pytest.raises(UserError) as caught:
    list(glue_files.read(path, task))
  assert message in str(caught.value) and '\n' not in str(caught.value)


def test_files_are_found_in_the_folder_of_their_task(tmp_path):
  for name in ('train', 'dev', 'test'):
    write(tmp_path / 'SST-2' / f'{name}.tsv', [])
  for name in (
    'train',
    'dev_matched',
    'dev_mismatched',
    'test_matched',
    'test_mismatched',
  ):
    write(tmp_path / 'MNLI' / f'{name}.tsv', [])

  def found(folder, task):
    paths = [
      glue_files.find(str(folder), task, split) for split in glue_files.SPLITS
    ]
    return [
      path and pathlib.Path(path).relative_to(tmp_path).as_posix()
      for path in paths
    ]

  sentiment = ['SST-2/train.tsv', 'SST-2/dev.tsv', None, 'SST-2/test.tsv', None]
  inference = [
    'MNLI/train.tsv',
    'MNLI/dev_matched.tsv',
    'MNLI/dev_mismatched.tsv',
    'MNLI/test_matched.tsv',
    'MNLI/test_mismatched.tsv',
  ]
  assert found(tmp_path, 'SST-2') == found(tmp_path / 'SST-2', 'SST-2')
  assert found(tmp_path, 'SST-2') == sentiment
  assert found(tmp_path, 'MNLI') == found(tmp_path / 'MNLI', 'MNLI')
  assert found(tmp_path, 'MNLI') == inference
  for folder in (tmp_path, tmp_path / 'SST-2', tmp_path / 'none'):
    assert found(folder, 'RTE') == [None] * 5
  for old, new in (('SST-2', 'sst2'), ('sst2', 'films')):
    (tmp_path / old).rename(tmp_path / new)
    assert found(tmp_path / new, 'SST-2')[0] == f'{new}/train.tsv'
    assert (found(tmp_path / new, 'RTE') == [None] * 5) == (new == 'sst2')


@pytest.mark.parametrize(
  'name',
  [
    'AX/AX.tsv',
    'diagnostic/diagnostic.tsv',
    'diagnostic/diagnostic-full.tsv',
    'MNLI/diagnostic.tsv',
  ],
)
def test_the_diagnostic_set_has_many_places(tmp_path, name):
  path = write(tmp_path / name, [])
  folders = str(tmp_path), str(tmp_path / name.split('/')[0])
  for folder in folders:
    assert glue_files.find(folder, 'AX', 'test') == path
    assert glue_files.find(folder, 'AX', 'dev') is None


def test_the_diagnostic_set_with_labels_goes_first(tmp_path):
  write(tmp_path / 'AX' / 'AX.tsv', [])
  path = write(tmp_path / 'diagnostic' / 'diagnostic-full.tsv', [])
  assert glue_files.find(str(tmp_path), 'AX', 'test') == path


def test_a_task_or_split_that_is_none_is_refused(tmp_path):
  with pytest.raises(UserError, match="did you mean 'MNLI'.*TASKS"):
    glue_files.find(str(tmp_path), 'MLNI', 'dev')
  with pytest.raises(UserError, match='dev_mismatched'):
    glue_files.find(str(tmp_path), 'MNLI', 'validation')
