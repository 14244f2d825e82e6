"""The clock: every nanosecond belongs to exactly one kind, also across a restart."""

from hypothesis import given
from hypothesis import strategies as st

from timetrial.trial.clock import Clock, Kind


class FakeTime:
    """A time source that moves when told to, in nanoseconds."""

    def __init__(self) -> None:
        self.now = 1_000

    def __call__(self) -> int:
        return self.now


stretches = st.lists(st.tuples(st.sampled_from(list(Kind)), st.integers(0, 10**12)), max_size=30)


def run(clock: Clock, time: FakeTime, moves: list[tuple[Kind, int]]) -> None:
    for kind, nanoseconds in moves:
        clock.switch(kind)
        time.now += nanoseconds
    clock.switch(Kind.HARNESS)


@given(stretches, st.booleans())
def test_kinds_add_up_to_the_total(moves: list[tuple[Kind, int]], setup_on_clock: bool) -> None:
    time = FakeTime()
    clock = Clock(setup_on_clock=setup_on_clock, now=time)
    run(clock, time, moves)
    state = clock.state_dict()
    assert sum(state.values()) == time.now - 1_000, "not a nanosecond is lost or counted twice"
    for kind in Kind:
        assert state[kind.name] == sum(ns for moved, ns in moves if moved is kind)
    reported = clock.by_kind()
    top = [seconds for name, seconds in reported.items() if "/" not in name]
    assert abs(sum(top) - clock.total) < 1e-6
    parts = [seconds for name, seconds in reported.items() if name.startswith("submission/")]
    assert abs(sum(parts) - reported["submission"]) < 1e-6


@given(stretches, st.booleans())
def test_submission_time_is_what_is_on_the_clock(moves: list[tuple[Kind, int]], setup_on_clock: bool) -> None:
    on_clock = {Kind.DATA, Kind.ALGORITHM, Kind.LOOP} | ({Kind.SETUP} if setup_on_clock else set())
    time = FakeTime()
    clock = Clock(setup_on_clock=setup_on_clock, now=time)
    run(clock, time, moves)
    expected = sum(ns for kind, ns in moves if kind in on_clock) * 1e-9
    assert clock.submission_at_switch == expected
    assert clock.submission == expected


def test_a_running_stretch_shows_without_a_switch() -> None:
    time = FakeTime()
    clock = Clock(setup_on_clock=False, now=time)
    assert clock.switch(Kind.ALGORITHM) == 0
    time.now += 2_000_000_000
    assert clock.submission == 2.0
    assert clock.submission_at_switch == 0.0
    assert clock.switch(Kind.LOOP) == 2_000_000_000


@given(stretches, stretches, stretches)
def test_a_restored_clock_counts_surviving_work_once(
    saved: list[tuple[Kind, int]], lost: list[tuple[Kind, int]], after: list[tuple[Kind, int]]
) -> None:
    time = FakeTime()
    clock = Clock(setup_on_clock=True, now=time)
    run(clock, time, saved)
    state = clock.state_dict()
    run(clock, time, lost)
    time.now += 10**15  # the machine was off
    resumed = Clock(setup_on_clock=True, now=time)
    time.now += 5
    resumed.load_state_dict(state)
    run(resumed, time, after)
    for kind in Kind:
        assert resumed.state_dict()[kind.name] == sum(ns for moved, ns in saved + after if moved is kind)
    on_clock = {Kind.SETUP, Kind.DATA, Kind.ALGORITHM, Kind.LOOP}
    assert resumed.submission_at_switch == sum(ns for kind, ns in saved + after if kind in on_clock) * 1e-9
