from bertjax.corpus import sentences


def split(text):
  return [x for x in sentences.split(text).split('\n') if x.strip()]


def test_sentences_end_at_lines_and_at_full_stops():
  assert split('One. Two said so!\nThree') == ['One.', 'Two said so!', 'Three']
  assert split('One. . Two') == ['One.', '.', 'Two']


def test_abbreviations_initials_and_lower_case_do_not_end_a_sentence():
  for text in (
    'Mr. Bennet and Dr. J. Watson came.',
    'See e.g. Fig. 2 there.',
    'It was 3 p.m. when he left.',
    'Messrs. É. Zola and A. B. Smith',
  ):
    assert split(text) == [text]
  assert split('He drank a lot. I did not.') == [
    'He drank a lot.',
    'I did not.',
  ]
  assert split('Go to bed. Plan b. It failed.') == [
    'Go to bed.',
    'Plan b.',
    'It failed.',
  ]


def test_closing_quotes_stay_with_their_sentence():
  assert split('“Come.” She went. (Really.) Yes. “No, Mr.” He.') == [
    '“Come.”',
    'She went.',
    '(Really.)',
    'Yes.',
    '“No, Mr.”',
    'He.',
  ]


def test_other_scripts_are_split_too():
  assert split('你好。再见！走') == ['你好。', '再见！', '走']
  assert split('كيف؟ نعم. لا') == ['كيف؟', 'نعم.', 'لا']
  assert split('यह है। वह है।') == ['यह है।', 'वह है।']


def test_only_white_space_changes():
  text = 'One.  Two!\tThree? “Four…” 五。六\n\nMr. X'
  assert sentences.split(text).split() == text.replace('。', '。 ').split()
