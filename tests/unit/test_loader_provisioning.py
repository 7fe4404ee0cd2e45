"""The `[lab]` table: where it may stand, what wins, and keys that have no effect."""

from __future__ import annotations

import pytest

from patchbay_runner.model.topology import Ipv6Provisioning, LabSettings
from tests.unit.loading import NETWORK, Loading, loading

__all__ = ["loading"]

RA = '[lab]\nipv6_provisioning = "ra"\n'


def settings(loading: Loading, text: str, *, network: str = NETWORK) -> LabSettings:
    return loading.plan(text, network=network).topology.lab


def test_labs_are_static_without_duplicate_address_detection_by_default(loading: Loading) -> None:
    assert settings(loading, "[sim]") == LabSettings()
    assert LabSettings().ipv6_provisioning is Ipv6Provisioning.STATIC
    assert LabSettings().ipv6_dad is False


def test_the_sims_own_keys_win_over_its_topology_files(loading: Loading) -> None:
    loading.write("topos/net.toml", f"{RA}ipv6_dad = true\n{NETWORK}")
    found = settings(loading, '[sim]\ntopology = "net"\n[lab]\nipv6_dad = false', network="")
    assert (found.ipv6_provisioning, found.ipv6_dad) == (Ipv6Provisioning.RA, False)


def test_an_extended_file_gives_what_the_sim_leaves_out(loading: Loading) -> None:
    loading.write("base.toml", f"{RA}ipv6_dad = true")
    extends = '[[extends]]\nfile = "base.toml"\n[sim]\n'
    assert settings(loading, extends).ipv6_dad
    found = settings(loading, f'{extends}[lab]\nipv6_provisioning = "static"')
    assert (found.ipv6_provisioning, found.ipv6_dad) == (Ipv6Provisioning.STATIC, True)


def test_a_matrix_varies_it(loading: Loading) -> None:
    text = '[matrix]\nmode = ["static", "ra"]\n[lab]\nipv6_provisioning = "${matrix.mode}"\nipv6_dad = "true"'
    plans = loading.plans(f"{text}\n[sim]")
    assert [plan.topology.lab.ipv6_provisioning.value for plan in plans] == ["static", "ra"]
    assert all(plan.topology.lab.ipv6_dad for plan in plans)


def test_it_is_checked_without_a_topology_too(loading: Loading) -> None:
    assert loading.errors("[sim]\n[lab]\nipv6_dad = 3", network="") == ["lab.ipv6_dad: found the integer 3"]


@pytest.mark.parametrize(
    ("lab", "router", "warning"),
    [
        ("", "ra_lifetime_secs = 9", 'no router advertises anything: [lab] ipv6_provisioning is "static"'),
        ("", "ra_enabled = false", None),
        (RA, "ra_interval_secs = 9", None),
        (RA, 'ra_interval_secs = 9\nip_support = "v4-only"', "the router carries no IPv6, so it advertises nothing"),
        (
            RA,
            "ra_interval_secs = 9\nra_lifetime_secs = 3",
            "default routes end 3 s after an advertisement, and the next may take 9 s",
        ),
        (RA, "ra_interval_secs = 9\nra_lifetime_secs = 0", None),
    ],
)
def test_keys_without_effect_are_told(loading: Loading, lab: str, router: str, warning: str | None) -> None:
    step = '[[step]]\ndevice = "client"\ncmd = ["true"]\n'
    found = loading.warnings(f'{step}{lab}[[router]]\nname = "r"\n{router}')
    assert found == ([] if warning is None else [warning])
