"""Language identification."""

import pytest

from bertjax.corpus import languages
from bertjax.errors import UserError

SENTENCES = {
  'ar': 'قررت اللجنة يوم الثلاثاء أن الجسر الجديد سيبنى قبل نهاية العام.',
  'cs': 'Výbor v úterý rozhodl, že nový most bude postaven do konce roku.',
  'da': 'Udvalget besluttede tirsdag, at den nye bro skal bygges næste år.',
  'de': 'Der Ausschuss beschloss am Dienstag, die neue Brücke zu bauen.',
  'el': 'Η επιτροπή αποφάσισε την Τρίτη ότι η νέα γέφυρα θα κατασκευαστεί.',
  'en': 'The committee decided on Tuesday that the new bridge will be built.',
  'es': 'El comité decidió el martes que el nuevo puente se construiría.',
  'fi': 'Valiokunta päätti tiistaina, että uusi silta rakennetaan.',
  'fr': 'Le comité a décidé mardi que le nouveau pont serait construit.',
  'hi': 'समिति ने मंगलवार को फैसला किया कि नया पुल बनाया जाएगा।',
  'it': 'Il comitato ha deciso martedì che il nuovo ponte sarà costruito.',
  'ja': '委員会は火曜日、新しい橋を来年末までに建設することを決めた。',
  'ko': '위원회는 화요일에 새 다리를 내년 말 이전에 건설하기로 결정했다.',
  'nl': 'De commissie besloot dinsdag dat de nieuwe brug gebouwd wordt.',
  'pl': 'Komisja zdecydowała we wtorek, że nowy most zostanie zbudowany.',
  'pt': 'A comissão decidiu na terça-feira que a nova ponte será construída.',
  'ru': 'Комитет решил во вторник, что новый мост будет построен.',
  'sv': 'Kommittén beslutade på tisdagen att den nya bron ska byggas.',
  'th': 'คณะกรรมการตัดสินใจเมื่อวันอังคารว่าสะพานใหม่จะสร้างเสร็จก่อนสิ้นปี',
  'tr': 'Komite salı günü yeni köprünün inşa edilmesine karar verdi.',
  'uk': 'Комітет вирішив у вівторок, що новий міст буде збудовано.',
  'vi': 'Ủy ban đã quyết định hôm thứ Ba rằng cây cầu mới sẽ được xây dựng.',
  'zh': '委员会星期二决定，新桥将在明年年底之前建成。',
}


@pytest.mark.parametrize('code', SENTENCES)
def test_a_sentence_is_enough(code):
  found, probability = languages.language_of(SENTENCES[code])
  assert found == code and 0.3 < probability <= 1


def test_a_long_text_is_judged_by_all_its_parts():
  text = SENTENCES['de'] * 3 + SENTENCES['en'] * 200
  assert languages.language_of(text)[0] == 'en'
  assert len(languages._sample('a' * 10_000_000)) < 1000


@pytest.mark.parametrize('text', ('', '12 34', '*** 1:2 ***'))
def test_a_text_without_letters_has_no_language(text):
  assert languages.language_of(text) == ('und', 0.0)


def test_an_unknown_code_is_refused_with_the_nearest():
  languages.check_codes(['en', 'zh'])
  with pytest.raises(
    UserError, match=r"got 'eng' \(did you mean 'en'\?\); set"
  ):
    languages.check_codes(['de', 'eng'])
