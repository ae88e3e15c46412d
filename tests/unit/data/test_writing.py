"""Files written beside their place: a link stays a link, and a pipe is never replaced by a file."""

import os
import stat

import pytest

from cl_haystack.data.writing import write_beside
from cl_haystack.errors import DataError


def test_what_a_link_leads_to_is_replaced(tmp_path):
    target, link = tmp_path / "there" / "target", tmp_path / "link"
    target.parent.mkdir()
    link.symlink_to(target)
    with write_beside(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert list(target.parent.iterdir()) == [target]


def test_a_pipe_stays_one(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(DataError, match="is no file"), write_beside(pipe):
        pass
    assert stat.S_ISFIFO(pipe.stat().st_mode)
