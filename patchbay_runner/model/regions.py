"""Regions and the links between them: which pairs are linked, and what each direction does to packets."""

from __future__ import annotations

from collections.abc import Iterable

from patchbay_runner.model.topology import Region, RegionLink

# The address plan's blocks for links between region routers hold as many /30s: all pairs of 16 regions, with room left.
MOST_REGION_LINKS = 128


def declared_regions(regions: Iterable[Region]) -> tuple[Region, ...]:
    """The regions, then those that they only mention."""
    given = {region.name: region for region in regions}
    mentioned = dict.fromkeys(name for region in given.values() for name in region.towards if name not in given)
    return (*given.values(), *[Region(name=name) for name in mentioned])


def region_links(regions: Iterable[Region], further: Iterable[RegionLink] = ()) -> tuple[RegionLink, ...]:
    """The links in the order of their first mention, then `further` ones between regions that are not linked yet.

    One entry of a region serves both directions, two give one each.
    """
    by_name = {region.name: region for region in declared_regions(regions)}
    position = {name: number for number, name in enumerate(by_name)}
    links: dict[frozenset[str], RegionLink] = {}
    for region in by_name.values():
        for other, condition in region.towards.items():
            a, b = sorted((region.name, other), key=position.__getitem__)
            links.setdefault(
                frozenset((a, b)),
                RegionLink(a, b, by_name[a].towards.get(b, condition), by_name[b].towards.get(a, condition)),
            )
    for link in further:
        links.setdefault(link.pair, link)
    return tuple(links.values())
