"""`hive test`: every check that the project has, in a checkout."""

import click

from hive_cli.command import HiveCommand


@click.command(
    "test",
    cls=HiveCommand,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": True},
    epilog="\b\nExample:\n  $ hive test --quick\n  $ hive test tests/cli -k logs",
)
@click.option("--quick", is_flag=True, help="Only what needs nothing but Python; under a minute.")
@click.argument("pytest_args", nargs=-1, type=click.UNPROCESSED)
def test(*, quick: bool, pytest_args: tuple[str, ...]) -> int:
    """Check formatting, style, types and imports, then run the tests; PYTEST_ARGS go to pytest.

    As root on a machine with apt, missing system packages are installed first; elsewhere it says what is missing.
    """
    from hive_cli.checks.run import run_checks  # noqa: PLC0415

    return run_checks(quick=quick, pytest_args=pytest_args)
