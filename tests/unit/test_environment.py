"""What programs in a lab inherit from the host's environment."""

from __future__ import annotations

from patchbay_runner.lab.environment import program_environment


def test_what_leads_out_of_the_lab_is_gone() -> None:
    host = {"HTTPS_PROXY": "x", "no_proxy": "y", "NOTIFY_SOCKET": "/run/s", "TMPDIR": "/tmp/a", "LANG": "C"}
    assert program_environment({**host, "PATH": "/bin:/sbin:/usr/sbin:/usr/local/sbin"}) == {
        "LANG": "C",
        "PATH": "/bin:/sbin:/usr/sbin:/usr/local/sbin",
    }


def test_system_directories_come_last() -> None:
    assert program_environment({"PATH": "/home/me/bin:/usr/sbin"})["PATH"] == (
        "/home/me/bin:/usr/sbin:/usr/local/sbin:/sbin"
    )
    assert program_environment({})["PATH"].startswith("/usr/local/bin:/usr/bin:/bin:")
