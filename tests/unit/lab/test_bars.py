"""Bars against a limit: what is beyond it is told in words and signs, not in colour alone."""

from labkit.lab.display.bars import BarChart

BARS = BarChart({"naive": 5, "shop": 3, "slow": 2}, limit=3, unit="sold")


def test_what_is_beyond_the_limit_is_told() -> None:
    """A bar within has another sign than one beyond, and its length is its number."""
    assert repr(BARS).splitlines()[1:] == [
        "naive  ███░░  ✗ 5 sold, 2 too many",
        "shop   ███    ● 3 sold",
        "slow   ██     ● 2 sold, 1 left",
    ]


def test_a_browser_gets_the_same_words() -> None:
    """The drawn bars bear the same words, and their signs stand in them."""
    html = BARS._repr_html_()
    assert all(BARS.label(number) in html for number in BARS.counts.values())
    assert html.count("░") - BARS._caption().count("░") == 2
    assert "<b>" not in BarChart({"<b>": 1}, 1, "sold")._repr_html_()
