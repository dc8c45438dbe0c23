"""The state directory is probed: a mistake ends the start, and what may pass does not."""

import errno
import logging
import os
import stat

import pytest

from authz_server.server import state
from authz_server.server.state import StateDirectoryError, probe


def test_a_directory_that_is_not_there_is_made(tmp_path):
    """For its owner alone, and nothing is left in it."""
    probe(tmp_path / "a" / "b")

    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EPERM])
def test_one_that_can_not_be_written_to_is_a_mistake(tmp_path, monkeypatch, number):
    """The error names the flag, the directory, the reason and the next step."""
    monkeypatch.setattr(state.tempfile, "TemporaryFile", lambda **_: _fail(number))
    with pytest.raises(StateDirectoryError) as caught:
        probe(tmp_path)

    reason = f"no keys can be kept there ({os.strerror(number)})"
    assert str(caught.value) == f"--state-dir {tmp_path}: {reason}; name a directory that this server's user may write to"


@pytest.mark.parametrize(("mode", "checks_parents", "warns"), [(0o777, True, True), (0o777, False, False), (0o1777, True, False)])
def test_a_directory_below_one_of_others_is_a_warning(tmp_path, caplog, mode, checks_parents, warns):
    """Its keys would not be used in an outage, and the start is the moment to learn that."""
    tmp_path.chmod(mode)
    with caplog.at_level(logging.WARNING):
        probe(tmp_path / "state", checks_parents=checks_parents)
    tmp_path.chmod(0o700)

    assert [f"others may write to {tmp_path}, or own it" in message for message in caplog.messages] == [True] * warns


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_what_may_pass_is_a_warning(tmp_path, monkeypatch, caplog, number):
    """A server whose disk is full serves all the same: keys are fetched."""
    monkeypatch.setattr(state.tempfile, "TemporaryFile", lambda **_: _fail(number))
    with caplog.at_level(logging.WARNING):
        probe(tmp_path)

    assert caplog.messages == [f"state directory {tmp_path}: no keys can be kept there now ({os.strerror(number)})"]


def _fail(number):
    raise OSError(number, os.strerror(number))
