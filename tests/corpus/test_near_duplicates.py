"""The index of near duplicates."""

import resource

import numpy as np
import pytest

from bertjax.corpus import near_duplicates, signatures
from bertjax.errors import UserError


def random_signatures(count, seed=0):
  shape = (count, signatures.SIZE)
  return (
    np.random.default_rng(seed).integers(1 << 32, size=shape).astype(np.uint32)
  )


def changed(signature, share, seed):
  """A signature that is the same in all but a share of its places."""
  rng = np.random.default_rng(seed)
  other = signature.copy()
  places = rng.permutation(len(other))[: round(share * len(other))]
  other[places] = rng.integers(1 << 32, size=len(places))
  return other


def duplicates(directory, rows):
  with near_duplicates.NearDuplicates(str(directory)) as index:
    for row in rows:
      index.add(row)
    assert len(index) == len(rows)
    return index.duplicates()


def by_groups(rows):
  """The slow twin: every group of a band key by itself, as on Beam."""
  groups = {}
  for number, row in enumerate(rows):
    for key in signatures.band_keys(row):
      groups.setdefault(key, []).append(number)
  found = np.zeros(len(rows), bool)
  for group in groups.values():
    later = near_duplicates.later_ones(np.stack([rows[i] for i in group]))
    found[np.array(group)[later]] = True
  return found


def mixed(seed):
  rng = np.random.default_rng(seed)
  rows = [*random_signatures(60, seed)]
  for number in range(300):
    share = rng.choice([0, 0.05, 0.15, 0.3])
    rows.append(changed(rows[rng.integers(len(rows))], share, number))
  return [rows[i] for i in rng.permutation(len(rows))]


@pytest.mark.parametrize('seed', range(3))
def test_the_index_finds_what_groups_by_themselves_find(tmp_path, seed):
  rows = mixed(seed)
  found = duplicates(tmp_path, rows)
  assert found.any() and not found.all()
  assert found.tolist() == by_groups(rows).tolist()


def test_a_document_goes_if_an_earlier_one_is_nearly_the_same(tmp_path):
  one, two, three = random_signatures(3)
  rows = [one, two, changed(one, 0.1, 7), three, changed(one, 0.3, 8), two]
  expected = [False, False, True, False, False, True]
  assert duplicates(tmp_path, rows).tolist() == expected


def test_the_first_of_a_group_stays(tmp_path):
  base = random_signatures(1)[0]
  rows = [changed(base, 0.08, seed) for seed in range(50)]
  found = duplicates(tmp_path, rows)
  assert not found[0] and found[1:].mean() > 0.9


def test_different_documents_that_share_a_band_stay(tmp_path):
  rows = random_signatures(40)
  rows[:, :64] = rows[0, :64]
  assert not duplicates(tmp_path, rows).any()


def test_documents_are_compared_with_more_than_the_first_of_a_group(tmp_path):
  rows = random_signatures(6)
  rows[:, :64] = rows[0, :64]
  rows = [*rows, rows[4], changed(rows[2], 0.02, 1)]
  assert duplicates(tmp_path, rows).tolist() == [False] * 6 + [True] * 2


def test_a_hundred_thousand_equal_or_alike_take_seconds(tmp_path):
  base = random_signatures(1)[0]
  near = [changed(base, 0.08, seed) for seed in range(50)]
  rows = [base] * 50_000 + near * 1000
  found = duplicates(tmp_path, rows)  # quadratic: hours
  assert not found[0] and found.sum() > 0.999 * len(rows)


def test_documents_are_written_in_batches_that_leave_no_mark(
  tmp_path, monkeypatch
):
  rows = mixed(5)
  whole = duplicates(tmp_path / 'a', rows)
  monkeypatch.setattr(near_duplicates, '_TOGETHER', 7)
  assert duplicates(tmp_path / 'b', rows).tolist() == whole.tolist()


def test_more_can_be_added_after_a_look(tmp_path):
  one, two = random_signatures(2)
  with near_duplicates.NearDuplicates(str(tmp_path)) as index:
    index.add(one)
    assert index.duplicates().tolist() == [False]
    index.add(one)
    index.add(two)
    assert index.duplicates().tolist() == [False, True, False]


def test_an_empty_index_has_no_duplicates_and_leaves_no_file(tmp_path):
  assert duplicates(tmp_path, []).tolist() == []
  assert not [*tmp_path.iterdir()]


def test_a_full_disk_is_one_line_and_leaves_no_files(tmp_path):
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  # Beyond it a write fails, as on a full disk; Python ignores the signal.
  resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
  try:
    with pytest.raises(
      UserError, match='cannot write .*set OUTPUT_DIR'
    ) as error:
      duplicates(tmp_path / 'index', random_signatures(5000))
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  assert '\n' not in str(error.value)
  assert not list((tmp_path / 'index').iterdir())
