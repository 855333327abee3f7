"""What a site works out is kept for the object it was worked out for."""

from skfdrmfl.clients.client_data import _Kept


def test_of_more_results_than_are_kept_the_one_longest_unused_is_dropped():
    kept, computed, keys = _Kept(2), [], [[], [], []]

    def of(i):
        return kept.once(keys[i], lambda: computed.append(i))

    for i in (0, 1, 0, 2, 0, 1):  # at 2, 1 is the one longest unused; at 1 it is 2
        of(i)
    assert computed == [0, 1, 2, 1]
