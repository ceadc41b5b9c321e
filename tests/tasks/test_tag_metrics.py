import pytest

from bertjax.tasks import tag_metrics


# By hand, from the rules of conlleval for the start and the end of a chunk.
@pytest.mark.parametrize(
  ('tags', 'chunks'),
  [
    ('', set()),
    ('O O', set()),
    ('B-X I-X O B-Y', {('X', 0, 2), ('Y', 3, 4)}),
    ('B-X B-X I-X', {('X', 0, 1), ('X', 1, 3)}),
    ('I-X I-X B-X O I-Y', {('X', 0, 2), ('X', 2, 3), ('Y', 4, 5)}),  # IOB1
    ('O I-X', {('X', 1, 2)}),
    ('B-Y I-X', {('Y', 0, 1), ('X', 1, 2)}),
    ('I-X I-Y I-X', {('X', 0, 1), ('Y', 1, 2), ('X', 2, 3)}),
    ('B-X I-X E-X S-X O', {('X', 0, 3), ('X', 3, 4)}),
    ('S-X S-X', {('X', 0, 1), ('X', 1, 2)}),
    ('E-X E-X', {('X', 0, 1), ('X', 1, 2)}),
    ('S-X I-X E-X I-X', {('X', 0, 1), ('X', 1, 3), ('X', 3, 4)}),
    ('B-X E-Y', {('X', 0, 1), ('Y', 1, 2)}),
    ('B-A-B I-A-B I-A', {('A-B', 0, 2), ('A', 2, 3)}),
    ('B I I O I', {('', 0, 3), ('', 4, 5)}),
  ],
)
def test_chunks_start_and_end_as_in_conlleval(tags, chunks):
  assert tag_metrics.chunks(tags.split()) == chunks


def test_a_chunk_is_right_when_its_type_and_both_boundaries_are():
  gold = ['B-X I-X O B-Y B-Y', 'B-X I-X I-X O']
  predicted = ['B-X I-X O B-X I-Y', 'B-X I-X O O']
  scores = tag_metrics.entity_scores(
    [x.split() for x in gold], [x.split() for x in predicted]
  )
  # Right: X of words 0-1 and Y of word 4, of 4 chunks in each.
  assert scores == {
    'f1': 0.5,
    'precision': 0.5,
    'recall': 0.5,
    'accuracy': 6 / 9,
  }


def test_precision_and_recall_are_not_interchanged():
  scores = tag_metrics.entity_scores(
    [['B-X', 'O', 'O']], [['B-X', 'B-X', 'B-Y']]
  )
  assert scores == pytest.approx(
    {'f1': 0.5, 'precision': 1 / 3, 'recall': 1, 'accuracy': 1 / 3}
  )


def test_the_same_chunks_in_another_scheme_are_right():
  scores = tag_metrics.entity_scores(
    [['B-X', 'I-X', 'B-X', 'O', 'B-Y']], [['B-X', 'E-X', 'S-X', 'O', 'I-Y']]
  )
  assert scores == {'f1': 1, 'precision': 1, 'recall': 1, 'accuracy': 0.4}


def test_no_chunk_goes_on_in_the_next_sentence():
  apart = tag_metrics.entity_scores([['B-X'], ['I-X']], [['B-X'], ['B-X']])
  assert apart['f1'] == 1


@pytest.mark.parametrize(
  ('gold', 'predicted'),
  [([], []), ([['O']], [['O']]), ([['B-X']], [['O']]), ([['O']], [['B-X']])],
)
def test_f1_is_0_where_nothing_is_right(gold, predicted):
  assert tag_metrics.entity_scores(gold, predicted)['f1'] == 0


@pytest.mark.parametrize(
  ('tags', 'chunked'),
  [
    (['O', 'B-NP', 'I-NP'], True),
    (['I-NP'], True),
    (['S-A', 'B-A', 'I-A', 'E-A', 'O'], True),
    (['O', 'B', 'I'], True),
    (['NN', 'IN', 'VB'], False),
    (['B-NP', 'NN'], False),
    (['ADJ', '-LRB-', ''], False),
    (['O'], False),
    ([], False),
  ],
)
def test_tags_of_chunks_are_known_by_their_prefixes(tags, chunked):
  assert tag_metrics.is_chunked(tags) is chunked
