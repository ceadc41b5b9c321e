"""Compared with a whole epoch of the batches that training reads."""

import dataclasses

import pytest

from bertjax.corpus import masking_samples, row_samples
from bertjax.text import noises
from tests.corpus.test_row_samples import BATCH, LENGTH, epoch, prepared

__all__ = ['prepared']  # a fixture


def test_masking_that_came_out_is_that_of_the_batches(prepared):
  found = masking_samples.masking_of(
    prepared, row_samples.Rows(BATCH, LENGTH, seed=5)
  )
  own = epoch(prepared, False)
  maskable = masked = kept = targets = 0
  special = prepared.vocabulary.special
  for i, row in enumerate(own['tokens'].tolist()):
    names = ('target_positions', 'targets', 'weights')
    for place, target, weight in zip(*(own[x][i] for x in names), strict=True):
      if weight:
        targets += 1
        masked += row[place] == prepared.vocabulary.mask_id
        kept += row[place] == target
        row[place] = target
    filled = own['segments'][i] > 0
    maskable += sum(~special[x] for x, y in zip(row, filled, strict=True) if y)
  assert (found['tokens'], found['targets']) == (maskable, targets)
  assert found['rate'] == targets / maskable
  assert found['masked'] == masked / targets
  assert found['kept'] == kept / targets
  assert sum(found[x] for x in ('masked', 'random', 'kept')) == pytest.approx(1)
  assert found['changed_pairs_share'] == own['pair_labels'].mean()
  # And it is what was asked for, within four standard deviations; of the 20
  # tokens that may replace one, one is equal to it.
  for key, more in {'rate': 0, 'masked': 0, 'random': -1, 'kept': 1}.items():
    asked = found[f'{key}_asked'] + more * 0.1 / 20
    sample = maskable if key == 'rate' else targets
    deviation = (asked * (1 - asked) / sample) ** 0.5
    assert abs(found[key] - asked) < 4 * deviation


def test_a_rate_that_sequences_draw_comes_out_in_the_mean(prepared):
  rows = row_samples.Rows(BATCH, LENGTH, mask_rate=(0.1, 0.4))
  found = masking_samples.masking_of(prepared, rows)
  asked = [found[f'rate_{x}'] for x in ('lowest', 'asked', 'highest')]
  assert asked == [0.1, 0.25, 0.4]
  assert found['rate'] == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize('noise', noises.NOISES)
@pytest.mark.parametrize('rate', [0.1, (0.02, 0.2)])
def test_noise_and_the_masks_beside_it_come_out_as_asked(prepared, noise, rate):
  rows = row_samples.Rows(
    BATCH, LENGTH, mask_rate=0.2, noise=noise, noise_rate=rate
  )
  found = masking_samples.masking_of(prepared, rows)
  told = found['noise']
  middle = 0.1 if rate == 0.1 else 0.11
  assert (told['name'], told['rate_asked']) == (noise, pytest.approx(middle))
  # Of the random tokens some are the right ones, which are no noise.
  chance = noise == 'replacement'
  choices = len(prepared.vocabulary.replacements)
  asked = middle * (1 - 1 / choices) if chance else middle
  deviation = (asked / told['places']) ** 0.5 + 0.05 * asked
  assert abs(told['rate'] - asked) < 4 * deviation
  assert found['rate'] == pytest.approx(0.2, abs=0.015)


@pytest.mark.parametrize('noise', noises.NOISES)
def test_noise_without_masks_comes_out_as_asked(prepared, noise):
  rows = row_samples.Rows(BATCH, LENGTH, noise=noise, noise_rate=0.1)
  alone = dataclasses.replace(rows, mask_rate=0)
  found = masking_samples.masking_of(prepared, alone)
  assert (found['rate_asked'], found['targets'], found['rate']) == (0, 0, 0)
  # The masks beside noise change none of it.
  assert found['noise'] == masking_samples.masking_of(prepared, rows)['noise']


def test_pairs_are_told_by_their_kind(prepared):
  rows = row_samples.Rows(BATCH, LENGTH, pair_kind='sop')
  found = masking_samples.masking_of(prepared, rows)
  assert (
    found['changed_pairs'] == 'the halves are swapped'
    and found['cut_pairs_share'] is None
  )
  assert found['changed_pairs_share'] == pytest.approx(0.5, abs=0.1)
  assert found['noise'] is None
