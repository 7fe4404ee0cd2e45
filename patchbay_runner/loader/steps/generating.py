"""`gen-certs` and `gen-file`."""

from __future__ import annotations

from patchbay_runner.loader.diagnostics import Report
from patchbay_runner.loader.steps.draft import Built, Table
from patchbay_runner.model.steps import GenCerts, GenFile

CERTIFICATE_CAPTURES = ("cert_pem_path", "key_pem_path", "cert_pem", "key_pem")
FILE_CAPTURES = ("path",)


def build_gen_certs(table: Table, report: Report) -> Built | None:
    """A `gen-certs` step."""
    if "id" not in table.values:
        return None
    step = GenCerts(**table.base(), **table.take("device", "cn", "san"))
    return Built(step, CERTIFICATE_CAPTURES, tuple(table.uses_in("device", "san")))


def build_gen_file(table: Table, report: Report) -> Built | None:
    """A `gen-file` step."""
    if not {"id", "content"} <= table.values.keys():
        return None
    step = GenFile(**table.base(), content=table.get("content"))
    return Built(step, FILE_CAPTURES, tuple(table.uses_in("content")))
