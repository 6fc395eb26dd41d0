"""What the map on the C core sums up keeps its own rules, whatever was rounded."""

from isotherm.core.native_map import _ordered


def test_no_figure_is_above_what_bounds_it():
    # Shares of shared memory of PostgreSQL, as once summed: a byte more used than there is.
    figures = (114689, 114688), (114688, 421888), (126156, 421888), (7, 421888), (8, 9)
    low, used, high, idle, own = _ordered(421887, figures)
    assert high == (126156, 421887)
    assert used == (114688, 421887)
    assert low == (114688, 114688)
    assert idle == (7, 421887)
    assert own == (7, 9)
