"""The widget's side of its session: shared, and closed with the last that shows it."""

import pytest

pytest.importorskip("anywidget")

from autolabel import open_run
from autolabel.review import widget


def test_widgets_of_one_run_share_a_session(config):
    """A cell that is run again opens nothing new; the session ends with the last widget."""
    first, second = open_run(config).review(), open_run(config).review()
    assert first._session is second._session
    session = first._session
    first.close()
    first.close()
    assert b"a.png" in session.index()
    second.close()
    assert widget._shared == {}
    with pytest.raises(Exception, match="closed"):
        session.digest(0) and session.index()


def test_another_config_or_right_is_another_session(config):
    """Who may only look shares nothing with who may decide."""
    one, other = open_run(config).review(), open_run(config).review(read_only=True)
    assert one._session is not other._session
    one.close()
    other.close()
