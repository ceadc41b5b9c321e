import tensorflow as tf

from bertjax.data import preprocessors


def split(*texts):
  return [
    [sentence.decode() for sentence in sentences]
    for sentences in preprocessors.split_sentences(
      tf.constant(list(texts))
    ).to_list()
  ]


def test_sentences_end_at_lines_and_at_full_stops():
  assert split('One. Two said so!\nThree', 'Four?') == [
    ['One.', 'Two said so!', 'Three'],
    ['Four?'],
  ]


def test_abbreviations_initials_and_lower_case_do_not_end_a_sentence():
  for text in (
    'Mr. Bennet and Dr. J. Watson came.',
    'See e.g. Fig. 2 there.',
    'It was 3 p.m. when he left.',
  ):
    assert split(text) == [[text]]


def test_closing_quotes_stay_with_their_sentence():
  assert split('“Come.” She went. (Really.) Yes.') == [
    ['“Come.”', 'She went.', '(Really.)', 'Yes.']
  ]


def test_other_scripts_are_split_too():
  assert split('你好。再见！走') == [['你好。', '再见！', '走']]
  assert split('كيف؟ نعم. لا') == [['كيف؟', 'نعم.', 'لا']]
  assert split('यह है। वह है।') == [['यह है।', 'वह है।']]


def test_blank_sentences_are_left_out():
  assert split(' \n\n a \n', '') == [[' a '], []]
