"""The entry points of `patchbay`, `patchbay-serve` and `patchbay-vm`, and of `python -m patchbay_runner`."""

# Not `signal`: importing that takes long enough for a Ctrl-C to fall into it.
import _signal  # type: ignore[import-not-found]  # typeshed leaves it out
from types import ModuleType


def main() -> None:
    """Runs the command line. Ctrl-C while Python imports ends the process as it does any other, without a traceback."""
    cli = _import_cli()
    cli.main()


def serve() -> None:
    """Runs the command line of `patchbay-serve`."""
    cli = _import_cli()
    cli.serve()


def vm() -> None:
    """Runs the command line of `patchbay-vm`."""
    cli = _import_cli()
    cli.vm()


def _import_cli() -> ModuleType:
    heed = _signal.getsignal(_signal.SIGINT)
    if heed is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    from patchbay_runner.cli import main as cli  # noqa: PLC0415

    # A shell lets its background jobs ignore SIGINT. Who sends one to a run on purpose wants it to stop.
    _signal.signal(_signal.SIGINT, _signal.default_int_handler if heed == _signal.SIG_IGN else heed)
    return cli


if __name__ == "__main__":
    main()
