"""Namespaces made by a second thread, in order, all of them or none left over."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from support.sandbox_inside import inside

from patchbay_runner.kernel.namespaces import namespace_id, own_namespace
from patchbay_runner.kernel.namespaces_ahead import NamespacesAhead
from patchbay_runner.kernel.netlink import NetlinkSocket, dump_links


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def discard(made: tuple[int, int, NetlinkSocket]) -> None:
    os.close(made[1])
    made[2].close()


def prepare(index: int, netns: int) -> tuple[int, int, NetlinkSocket]:
    return index, netns, NetlinkSocket(f"node-{index}")


def test_each_is_prepared_inside_a_namespace_of_its_own_and_in_order() -> None:
    def look() -> tuple[list[int], set[int], int, list[str], bool]:
        home = namespace_id(own_namespace("net"))
        with NamespacesAhead(20, prepare, discard) as ahead:
            made = list(ahead)
        links = [link.name for _, _, sock in made for link in dump_links(sock)]
        stayed = namespace_id(own_namespace("net")) == home
        return [index for index, *_ in made], {namespace_id(fd) for _, fd, _ in made} - {home}, len(made), links, stayed

    order, namespaces, count, links, stayed = inside(lambda _: look())
    assert order == list(range(20))
    assert len(namespaces) == count == 20
    assert links == ["lo"] * 20
    assert stayed


def test_leaving_early_ends_the_thread_and_discards_what_nobody_took() -> None:
    def look() -> tuple[int, int]:
        before = descriptors()
        with pytest.raises(KeyError), NamespacesAhead(200, prepare, discard) as ahead:
            for made in ahead:
                discard(made)
                raise KeyError
        return descriptors() - before, threading.active_count()

    assert inside(lambda _: look()) == (0, 1)


def test_what_the_preparation_raises_reaches_the_caller_after_what_was_made() -> None:
    def failing(index: int, netns: int) -> int:
        os.close(netns)
        if index == 3:
            raise LookupError("the fourth")
        return index

    def look() -> tuple[list[int], str, int]:
        seen: list[int] = []
        with (
            pytest.raises(LookupError) as caught,
            NamespacesAhead(10, failing, lambda _: None) as ahead,
        ):
            for index in ahead:
                seen.append(index)
        return seen, str(caught.value), threading.active_count()

    seen, text, threads = inside(lambda _: look())
    assert (text, threads) == ("the fourth", 1)
    assert seen == [0, 1, 2]
