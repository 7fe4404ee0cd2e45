from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchbay_runner.cli.queueing import SimQueue


def take_all(queue: SimQueue) -> list[int]:
    """Everything that may begin now."""
    taken = []
    while (index := queue.take()) is not None:
        taken.append(index)
    return taken


def test_as_many_as_jobs_are_out_in_the_order_given() -> None:
    queue = SimQueue([False] * 5, 2)
    assert take_all(queue) == [0, 1]
    queue.give_back(1)
    assert take_all(queue) == [2]
    queue.give_back(0)
    queue.give_back(2)
    assert take_all(queue) == [3, 4]
    queue.give_back(3)
    assert take_all(queue) == []


def test_one_job_keeps_the_order_whoever_runs_alone() -> None:
    queue = SimQueue([True, False, True], 1)
    for index in range(3):
        assert take_all(queue) == [index]
        queue.give_back(index)


def test_those_that_run_alone_wait_for_the_others_and_for_each_other() -> None:
    queue = SimQueue([True, False, True, False], 4)
    assert take_all(queue) == [1, 3]
    queue.give_back(1)
    assert take_all(queue) == []
    queue.give_back(3)
    assert take_all(queue) == [0]
    queue.give_back(0)
    assert take_all(queue) == [2]


def test_nothing_begins_after_clear() -> None:
    queue = SimQueue([False, False], 1)
    assert take_all(queue) == [0]
    queue.clear()
    queue.give_back(0)
    assert take_all(queue) == []


@given(alone=st.lists(st.booleans(), max_size=12), jobs=st.integers(1, 5), data=st.data())
def test_each_begins_once_and_those_alone_have_no_company(alone: list[bool], jobs: int, data: st.DataObject) -> None:
    queue = SimQueue(alone, jobs)
    out: list[int] = []
    begun: list[int] = []
    while True:
        new = take_all(queue)
        begun += new
        out += new
        if not out:
            break
        assert len(out) <= jobs
        assert len(out) == 1 or not any(alone[index] for index in out)
        ended = data.draw(st.sampled_from(out))
        out.remove(ended)
        queue.give_back(ended)
    assert sorted(begun) == list(range(len(alone)))
    for kind in (True, False):
        of_kind = [index for index in begun if alone[index] is kind]
        assert of_kind == sorted(of_kind)


def test_giving_back_what_is_not_out_is_an_error() -> None:
    with pytest.raises(KeyError):
        SimQueue([False], 1).give_back(0)
