import os
import signal

import pytest

from bertjax.training import signals


def test_a_signal_is_noted_and_agreed_upon(capsys):
  before = signal.getsignal(signal.SIGTERM)
  with signals.Stop() as stop:
    assert signal.getsignal(signal.SIGTERM) is before
    stop.listen()
    assert stop.agreed() == 0
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop.agreed() == stop.received == signal.SIGTERM
  assert signal.getsignal(signal.SIGTERM) is before
  assert 'SIGTERM: saving' in capsys.readouterr().err


def test_a_second_interrupt_does_not_wait():
  with signals.Stop() as stop:
    stop.listen()
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
      os.kill(os.getpid(), signal.SIGINT)
