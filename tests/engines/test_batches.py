"""Random numbers by key, and which row stands where; laws are checked client by client."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles.order import permutation

from skfdrmfl.common import randomness
from skfdrmfl.engines.batches import BatchPlan, steps_per_epoch

MASK = (1 << 64) - 1


def keys_of(seed, round_index, positions):
    return randomness.client_keys(
        np.full(len(positions), seed, np.uint64), round_index, np.asarray(positions, np.uint64)
    )


def in_steps_order(sizes, batch_size):
    """Clients as a chunk wants them: most steps first."""
    sizes = np.asarray(sizes)
    return np.argsort(-steps_per_epoch(sizes, batch_size), kind="stable")


plans = st.tuples(st.lists(st.integers(1, 23), min_size=1, max_size=6), st.integers(1, 8), st.integers(1, 3)).map(
    lambda p: (np.array(p[0])[in_steps_order(p[0], p[1])], p[1], p[2])
)


def batches_of(plan, slots):
    """Rows of each client's batches, in order: {client: [rows of step 0, ...]}."""
    rows = {}
    for t, active in enumerate(plan.active):
        for client in range(active):
            here = plan.starts[t] + client * plan.width + np.arange(plan.width)
            here = here[plan.weights[here] > 0]
            rows.setdefault(client, []).append(slots[here])
    return rows


# ---------------------------------------------------------------------------------------------- the plan


@given(plans)
def test_every_client_visits_every_row_of_its_own_exactly_once_an_epoch(problem):
    sizes, batch_size, n_epochs = problem
    plan = BatchPlan(*problem)
    rows = batches_of(plan, plan.draw(keys_of(3, 0, range(len(sizes)))))
    steps = steps_per_epoch(sizes, batch_size)
    for client in range(len(sizes)):
        own = np.arange(sizes[:client].sum(), sizes[: client + 1].sum())
        for epoch in range(n_epochs):
            visited = rows[client][epoch * steps[client] : (epoch + 1) * steps[client]]
            np.testing.assert_array_equal(np.sort(np.concatenate(visited)), own)


@given(plans)
def test_steps_are_ceil_n_over_b_and_batch_sizes_differ_by_at_most_one(problem):
    sizes, batch_size, n_epochs = problem
    plan = BatchPlan(*problem)
    rows = batches_of(plan, plan.in_order())
    for client, n in enumerate(sizes):
        lengths = [len(batch) for batch in rows[client]]
        assert len(lengths) == n_epochs * int(np.ceil(n / batch_size)) == plan.total_steps[client]
        assert max(lengths) <= batch_size
        assert max(lengths) - min(lengths) <= 1
        assert min(lengths) >= 1


@given(plans)
def test_busy_clients_are_a_prefix_and_idle_ones_take_no_slot(problem):
    plan = BatchPlan(*problem)
    for t, active in enumerate(plan.active):
        np.testing.assert_array_equal(plan.total_steps > t, np.arange(len(problem[0])) < active)
    np.testing.assert_array_equal(np.diff(plan.starts), plan.active * plan.width)
    assert len(plan.weights) == plan.starts[-1]


@given(plans)
def test_weights_are_equal_within_a_batch_and_sum_to_one_for_each_busy_client_and_step(problem):
    plan = BatchPlan(*problem)
    for t, active in enumerate(plan.active):
        here = slice(plan.starts[t], plan.starts[t + 1])
        weights = plan.weights[here].reshape(active, plan.width)
        pairs = plan.pair_weights[here].reshape(active, plan.width)
        np.testing.assert_allclose(weights.sum(1), 1.0, rtol=1e-12)
        for client in range(active):
            there = weights[client] > 0
            np.testing.assert_allclose(weights[client][there], 1 / there.sum())
            expected = weights[client] if there.sum() > 1 else np.zeros(plan.width)
            np.testing.assert_array_equal(pairs[client], expected)


@given(plans)
def test_marginal_pairs_are_a_cyclic_shift_by_one_within_the_batch(problem):
    plan = BatchPlan(*problem)
    slots = plan.draw(keys_of(3, 0, range(len(problem[0]))))
    pairs = plan.pairs(slots)
    assert len(pairs) == 2 * len(slots)
    for t, active in enumerate(plan.active):
        here = slice(plan.starts[t], plan.starts[t + 1])
        rows = slots[here].reshape(active, plan.width)
        both = pairs[2 * here.start : 2 * here.stop].reshape(active, 2, plan.width)
        np.testing.assert_array_equal(both[:, 0], rows)
        for client, real in enumerate(plan.weights[here].reshape(active, plan.width) > 0):
            np.testing.assert_array_equal(both[client, 1, real], np.roll(rows[client, real], -1))
            np.testing.assert_array_equal(both[client, 1, ~real], rows[client, ~real])


@given(plans)
def test_padding_repeats_rows_of_its_own_client(problem):
    sizes = problem[0]
    plan = BatchPlan(*problem)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    for slots in (plan.in_order(), plan.draw(keys_of(3, 0, range(len(sizes))))):
        for t, active in enumerate(plan.active):
            here = slots[plan.starts[t] : plan.starts[t + 1]].reshape(active, plan.width)
            np.testing.assert_array_equal(owner[here], np.arange(active)[:, None].repeat(plan.width, 1))


@given(plans)
def test_in_order_visits_each_clients_rows_in_the_order_of_the_table(problem):
    sizes, _, n_epochs = problem
    plan = BatchPlan(*problem)
    rows = batches_of(plan, plan.in_order())
    for client in range(len(sizes)):
        own = np.arange(sizes[:client].sum(), sizes[: client + 1].sum())
        np.testing.assert_array_equal(np.concatenate(rows[client]), np.tile(own, n_epochs))


def check_draw_is_permutation(problem):
    sizes, _, n_epochs = problem
    plan = BatchPlan(*problem)
    positions = 5 + 3 * np.arange(len(sizes))
    rows = batches_of(plan, plan.draw(keys_of(11, 4, positions)))
    for client, n in enumerate(sizes):
        first = sizes[:client].sum()
        expected = [first + permutation(11, 4, positions[client], epoch, n) for epoch in range(n_epochs)]
        np.testing.assert_array_equal(np.concatenate(rows[client]), np.concatenate(expected))


@given(plans)
def test_drawing_for_many_clients_at_once_is_the_permutation_of_each(problem):
    check_draw_is_permutation(problem)


def test_rows_whose_random_bits_are_equal_are_ordered_alike_in_every_chunk(monkeypatch):
    # Equal bits are rare (one pair in 2^40) until rows are many: here nearly all are equal.
    mix = randomness.mix
    monkeypatch.setattr(randomness, "mix", lambda z: mix(z) >> np.uint64(61) << np.uint64(61))
    check_draw_is_permutation((np.array([300, 200, 150]), 64, 2))


@given(plans, st.data())
def test_the_composition_of_a_chunk_changes_no_clients_batches(problem, data):
    sizes, batch_size, n_epochs = problem
    members = data.draw(st.sets(st.integers(0, len(sizes) - 1), min_size=1).map(sorted).map(np.array))
    whole, part = BatchPlan(*problem), BatchPlan(sizes[members], batch_size, n_epochs)
    rows = batches_of(whole, whole.draw(keys_of(3, 1, range(len(sizes)))))
    part_rows = batches_of(part, part.draw(keys_of(3, 1, members)))
    for i, member in enumerate(members):
        shift = whole.offsets[member] - part.offsets[i]
        assert len(rows[member]) == len(part_rows[i])
        for mine, theirs in zip(part_rows[i], rows[member], strict=True):
            np.testing.assert_array_equal(mine + shift, theirs)


@given(plans, st.integers(0, 60))
def test_stretches_cover_every_step_with_the_same_clients_and_stay_within_their_slots(problem, most_slots):
    plan = BatchPlan(*problem)
    reached = 0
    for t0, t1 in plan.step_ranges(most_slots):
        assert t0 == reached < t1
        assert len(set(plan.active[t0:t1].tolist())) == 1
        assert plan.starts[t1] - plan.starts[t0] <= most_slots or t1 == t0 + 1
        reached = t1
    assert reached == len(plan.active)


def test_clients_out_of_order_are_refused():
    with pytest.raises(ValueError, match="decreasing number of steps"):
        BatchPlan(np.array([3, 9]), 4, 1)


# ---------------------------------------------------------------------------------------------- the streams


def split_mix_64(state):
    """SplitMix64 as published, on Python integers: the next number and state."""
    state = (state + 0x9E3779B97F4A7C15) & MASK
    z = state
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31), state


def test_mix_gives_the_published_splitmix64_sequence():
    # First outputs of the reference implementation for the seed 1234567.
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    state, ours = 1234567, []
    for _ in published:
        expected, state = split_mix_64(state)
        ours.append(int(randomness.mix(np.array([state], np.uint64))[0]))
        assert ours[-1] == expected
    assert ours == published


def test_numbers_of_an_epoch_are_consecutive_in_the_clients_sequence():
    key = keys_of(5, 2, [7])
    for epoch in (0, 3):
        numbers = randomness.mix(key + randomness.counters(np.full(4, epoch), np.arange(4)))
        state = (int(key[0]) + (epoch << 32) * 0x9E3779B97F4A7C15) & MASK
        for number in numbers:
            expected, state = split_mix_64(state)
            assert int(number) == expected


@given(st.integers(0, MASK), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 50), st.integers(1, 40))
def test_a_permutation_visits_every_row_once(seed, round_index, position, epoch, n):
    order = permutation(seed, round_index, position, epoch, n)
    np.testing.assert_array_equal(np.sort(order), np.arange(n))


def test_seed_round_client_and_epoch_each_change_the_order_and_nothing_else_does():
    key = (3, 1, 4, 1)
    base = permutation(*key, 50)
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    np.testing.assert_array_equal(permutation(*key, 50), base)
    for i in range(4):
        changed = list(key)
        changed[i] += 1
        assert not np.array_equal(permutation(*changed, 50), base)


def test_a_clients_key_depends_on_no_other_client():
    together = keys_of(9, 2, [0, 3, 8])
    for i, position in enumerate([0, 3, 8]):
        assert keys_of(9, 2, [position])[0] == together[i]
    many = np.concatenate([keys_of(seed, t, range(100)) for seed in range(5) for t in range(5)])
    assert len(np.unique(many)) == len(many)


@pytest.mark.slow
def test_all_orders_of_four_rows_are_equally_likely_over_clients_rounds_and_epochs():
    weights = 4 ** np.arange(4)
    for axis in range(3):
        orders = []
        for i in range(2400):
            key = [0, 0, 0]
            key[axis] = i
            orders.append(int(permutation(1, *key, 4) @ weights))
        counts = np.unique(orders, return_counts=True)[1]
        assert len(counts) == 24
        # chi-squared with 23 degrees of freedom: beyond 60 less than once in 30000
        assert np.sum((counts - 100) ** 2 / 100) < 60


def test_seeds_come_from_the_random_state_and_touch_no_global_generator():
    before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    assert randomness.seed_of(17) == 17
    assert randomness.seed_of(np.random.RandomState(0)) == randomness.seed_of(np.random.RandomState(0))
    fresh = [randomness.seed_of(None) for _ in range(5)]
    assert len(set(fresh)) == 5
    assert all(0 <= seed < 2**63 for seed in fresh)
    randomness.generator(1, randomness.FOLDS, 3).random(4)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)


def test_generators_of_different_purposes_are_different_streams():
    purposes = (randomness.INITIAL_WEIGHTS, randomness.PARTICIPATION, randomness.FOLDS)
    draws = [randomness.generator(1, purpose, 0).random() for purpose in purposes]
    assert len(set(draws)) == 3


# ------------------------------------------------------------------------------------------ the order of a chunk


def test_one_client_out_of_order_among_others_in_order_is_refused():
    for sizes in ([9, 3, 9], [3, 9, 9], [9, 9, 8, 1, 5]):
        with pytest.raises(ValueError, match="decreasing number of steps"):
            BatchPlan(np.array(sizes), 4, 1)


def test_clients_of_as_many_steps_may_stand_in_any_order():
    for sizes in ([3, 4, 1], [5, 8, 6, 2, 4]):
        plan = BatchPlan(np.array(sizes), 4, 2)
        np.testing.assert_array_equal(plan.total_steps, 2 * np.ceil(np.array(sizes) / 4))
