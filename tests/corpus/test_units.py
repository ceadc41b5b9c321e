"""A preparation in units, by the functions that Beam calls, without Beam."""

import collections
import dataclasses
import json
import random

import numpy as np
import pytest

pytest.importorskip('rensa')
from bertjax.corpus import (
  building,
  document_files,
  kept_text,
  pipeline,
  preparation,
  stages,
  units,
  wordpiece_training,
)
from bertjax.corpus.shared_folder import SharedFolder
from bertjax.corpus.steps import Steps
from bertjax.corpus.tally import Tally
from bertjax.corpus.wordpiece_training import Training


def words(number, count):
  return ' '.join(
    f'w{(number * 7919 + i * i * (number + 3)) % 5003}' for i in range(count)
  )


def some_documents(count=60):
  """Returns documents, some of which others repeat, nearly or in part."""
  found = [f'{words(n, 120)}.\nThe end of {n}.' for n in range(count)]
  found += [found[3], found[4].upper(), found[4], found[7].replace(' ', '  ')]
  found += [found[5].replace('The end', 'An end'), found[6] + ' So it was.']
  found += [f'{found[8]}\n{words(99, 80)}', 'lorem ipsum dolor ' * 30, 'x' * 5]
  found += [words(n // 3, 3) for n in range(12)]
  # All of its paragraphs stood further ahead; and the same words once more.
  found += ['The end of 1.\nThe end of 2.', 'The end of 1\nThe end of 2!']
  random.Random(0).shuffle(found)
  return found


def write_files(folder, documents, files=5):
  folder.mkdir()
  lines = ['']
  for number in range(files):
    lines = [json.dumps({'text': x}) + '\n' for x in documents[number::files]]
    (folder / f'{number}.jsonl').write_text(''.join(lines))
  # A unit without documents, and one without any that stay.
  for name in 'ab':
    (folder / f'7{name}.jsonl').write_text('\n')
    (folder / f'8{name}.jsonl').write_text(lines[0])
  # What goes as a whole makes no paragraph of others a repetition.
  texts = ['So it is then.', 'So it is then!', 'So it is then!\nAnd so on.']
  lines = [json.dumps({'text': x}) + '\n' for x in texts]
  (folder / '9.jsonl').write_text(''.join(lines))
  return str(folder / '*.jsonl')


def grouped(pairs):
  groups = collections.defaultdict(list)
  for key, value in pairs:
    groups[key].append(value)
  items = list(groups.items())
  random.Random(1).shuffle(items)
  for _, values in items:
    random.Random(2).shuffle(values)
  return items


def in_units(tmp_path, patterns, steps, wanted, share):
  """Returns tally, vocabulary, threshold and what was written, of two units."""
  folder = SharedFolder(str(tmp_path / 'shared'))
  folder.make()
  paths = document_files.TextFiles(patterns).paths()
  work = [paths[part] for part in units.divide([1] * len(paths), 2)]

  def run(name, elements, **arguments):
    function = stages.MAKERS[name](folder, **arguments)
    return [x for element in elements for x in function(element)]

  elements = [json.dumps(unit) for unit in enumerate(work)]
  settings = json.loads(json.dumps(dataclasses.asdict(steps)))
  pairs = run('clean', elements, settings=settings, text_column='text')
  pairs = run('repeated', grouped(pairs))
  if steps.paragraphs:
    pairs = run('find_paragraphs', grouped(pairs))
    pairs = run('repeated', grouped(pairs))
  pairs = run('write_text', grouped(pairs))
  assert all(b'The end' not in value and len(value) < 270 for _, value in pairs)
  pairs = run('near', grouped(pairs), jaccard=steps.jaccard)
  chosen = run('choose', grouped(pairs), share=share)
  assert sorted(chosen) == list(range(len(work)))
  tally, hashes = Tally(), kept_text.Hashes(share)
  for unit in range(len(work)):
    told = folder.read_json(f'chosen-{unit}')
    tally.merge(Tally.from_json(told['tally']))
    hashes += kept_text.Hashes(**told['hashes'])
  threshold = hashes.threshold()
  found = run(
    'count_words',
    range(len(work)),
    threshold=threshold,
    cased=wanted.cased,
    tokenizer=wanted.tokenizer,
  )
  files = grouped(run('by_file', found))
  assert len(files) <= stages.WORD_FILES
  counts = wordpiece_training.WordCounts()
  for word, count in found:
    counts.add({word: count})
  vocabulary = kept_text.train(wanted, counts)
  names = ('tokens', 'cased', 'rules')
  arguments = dict(zip(names, vocabulary.parts, strict=False))
  run('write_shards', range(len(work)), threshold=threshold, **arguments)
  written = kept_text.joined(
    [folder.read_json(f'written-{unit}') for unit in range(len(work))]
  )
  return folder, tally, vocabulary, written


@pytest.mark.parametrize(
  'steps, share',
  [
    (Steps(), 0.2),
    (Steps(), 1e-9),
    (Steps(), 0.0),
    (Steps(paragraphs=True), 0.2),
    (Steps(exact_duplicates=False), 0.2),
    (Steps(near_duplicates=False), 0.2),
    (
      Steps(exact_duplicates=False, near_duplicates=False, paragraphs=True),
      0.2,
    ),
    (Steps(jaccard=0.5, rules=None), 0.2),
  ],
)
def test_units_give_the_corpus_of_one_process(
  tmp_path, steps, share, monkeypatch
):
  monkeypatch.setattr(units, '_MOST_WORDS', 100)  # at once
  check_units(tmp_path, steps, share, Training(300, min_frequency=1))


def test_units_give_the_byte_level_corpus_of_one_process(tmp_path):
  wanted = Training(300, True, min_frequency=1, tokenizer='bpe')
  check_units(tmp_path, Steps(), 0.2, wanted)


def check_units(tmp_path, steps, share, wanted):
  patterns = write_files(tmp_path / 'text', some_documents())
  whole = tmp_path / 'whole'
  whole.mkdir()
  told = []
  building.build(
    document_files.TextFiles(patterns),
    str(whole),
    wanted,
    share,
    steps,
    lambda index, tally: told.append(tally),
  )
  folder, tally, vocabulary, written = in_units(
    tmp_path, patterns, steps, wanted, share
  )
  prepared = preparation.load(str(whole))
  assert vocabulary == prepared.vocabulary
  assert vars(tally) == vars(told[0])
  assert tally.dropped['exact_duplicate'] >= 4 * steps.exact_duplicates
  assert tally.dropped['near_duplicate'] >= 2 * steps.near_duplicates
  assert tally.removed_lines['repeated_paragraph'] >= 4 * steps.paragraphs
  assert tally.dropped['repeated_paragraphs'] >= steps.paragraphs
  assert tally.read == tally.kept + tally.dropped.total()
  assert written['unknown'] == prepared.index['unknown']
  parts = dataclasses.replace(
    prepared, path=folder.path, index={**prepared.index, **written}
  )
  for split in ('train', 'validation'):
    one, other = prepared.split(split), parts.split(split)
    other.check_files()
    for of in ('documents', 'pieces', 'tokens'):
      assert prepared.splits[split][of] == parts.splits[split][of]
    for i in range(len(one)):
      for x, y in zip(one.piece(i), other.piece(i), strict=True):
        np.testing.assert_array_equal(x, y)
  sizes = {'batch_size': 8, 'length': 32, 'predictions': 5, 'seed': 1}
  batches = zip(
    pipeline.batches(prepared, **sizes),
    pipeline.batches(parts, **sizes),
    range(20),
    strict=False,
  )
  for one, other, _ in batches:
    assert one.keys() == other.keys()
    assert all(one[key].tobytes() == other[key].tobytes() for key in one)


def test_a_group_of_any_size_takes_no_memory_and_keeps_its_first():
  def positions():
    for document in random.Random(0).sample(range(1000), 1000):
      yield bytes([0, 0, 0, document % 3]) + document.to_bytes(8)

  first = min(positions())
  found = [value for _, value in units.repeated(b'text12345678', positions())]
  assert sorted([*found, first]) == sorted(positions())


def test_units_follow_each_other_and_hold_every_file():
  rng = random.Random(0)
  for most in (1, 10, 1000):
    sizes = [rng.randrange(30) for _ in range(50)]
    parts = units.divide(sizes, most)
    assert [x for part in parts for x in sizes[part]] == sizes
    assert all(sum(sizes[part]) >= most for part in parts[:-1])
  assert units.divide([], 5) == []


def test_hashes_of_parts_hold_out_what_those_of_all_do():
  rng = np.random.default_rng(0)
  for _ in range(500):
    largest = rng.choice([1, 2, 2**62, 2**63 - 1])
    hashes = rng.integers(0, largest, rng.integers(0, 7), np.int64)
    share = float(rng.choice([0, 1e-12, 0.3, 0.999]))
    cut = rng.integers(0, len(hashes) + 1)
    parts = [kept_text.Hashes.of(x, share) for x in np.split(hashes, [cut])]
    threshold = (parts[0] + parts[1]).threshold()
    assert threshold == kept_text.Hashes.of(hashes, share).threshold()
    # As `preparation.prepare` says.
    held_out, few = hashes < int(share * 2**63), len(hashes) < 3
    if share and (few or not 0 < held_out.sum() < len(hashes)):
      none = few or len(set(hashes.tolist())) < 2
      held_out = hashes < 0 if none else hashes == hashes.min()
    np.testing.assert_array_equal(hashes < threshold, held_out)
