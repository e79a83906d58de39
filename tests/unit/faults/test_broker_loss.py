"""A broker that loses a random tail of its log keeps the rest."""

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from labkit.faults.broker_loss import heads


class Record(NamedTuple):
    topic: str
    partition: int
    offset: int


@given(
    st.dictionaries(st.tuples(st.sampled_from("ab"), st.integers(0, 3)), st.integers(1, 9)),
    st.integers(),
)
def test_each_partition_keeps_a_head(sizes: dict[tuple[str, int], int], seed: int) -> None:
    """In its order and from its beginning, less one record at least; the same for the same seed."""
    held = [Record(*at, offset) for at in sorted(sizes) for offset in range(sizes[at])]
    kept = heads(held, seed)
    assert kept == heads(held, seed)
    for at, size in sizes.items():
        offsets = [record.offset for record in kept if record[:2] == at]
        assert offsets == list(range(len(offsets)))
        assert len(offsets) < size
