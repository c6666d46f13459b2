"""How a command ends: the summary or one sentence, and the exit code of the contract."""

import json
import os
import shlex
import sqlite3
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import typer

from autolabel.errors import AutolabelError, Interrupted, StopRun, UsageError


class Outcome(Protocol):
    """What a command did: lines for a person, keys for a program, and whether something needs attention."""

    @property
    def exit_code(self) -> int:
        """0, or 3 where something needs attention."""
        ...

    def lines(self) -> Iterator[str]:
        """Yield what was done."""
        ...

    def troubles(self) -> Iterator[str]:
        """Yield what needs attention."""
        ...

    def to_json(self) -> dict[str, Any]:
        """What other programs read."""
        ...


def finish(summary: Outcome, as_json: bool) -> None:
    """Show the summary and leave with its exit code."""
    _show(summary, as_json)
    raise typer.Exit(summary.exit_code)


def _show(summary: Outcome, as_json: bool) -> None:
    for line in summary.troubles():
        typer.echo(line, err=True)
    for line in summary.lines():
        typer.echo(line, err=as_json)
    if as_json:
        typer.echo(json.dumps(summary.to_json()))


def _export_command(source: str, overrides: list[str], run: str) -> str:
    """The command that exports what a stopped run has kept."""
    words = ["autolabel", "export"]
    if Path(source).is_dir():
        words.append(str(Path(run) / "config.yaml"))  # which holds the overrides
    else:
        words += [source, *(word for text in overrides for word in ("--set", text))]
    return shlex.join(words)


@contextmanager
def exit_codes(
    as_json: bool = False, source: str = "CONFIG", overrides: list[str] | None = None
) -> Iterator[None]:
    """Turn errors into one sentence on stderr and the exit codes of the contract.

    `source` and `overrides` are what the command was given, for the advice after a stop.
    """
    from autolabel.config import redact  # noqa: PLC0415

    try:
        yield
    except StopRun as stop:
        typer.echo(redact(f"autolabel: stopped: {stop}"), err=True)
        if stop.summary is not None:
            _show(stop.summary, as_json)
            command = _export_command(source, overrides or [], stop.summary.run)
            typer.echo(f"finished answers are kept; `{command}` writes what there is", err=True)
        raise typer.Exit(130 if isinstance(stop, Interrupted) else 4) from None
    except UsageError as error:
        for line in redact(str(error)).splitlines():
            typer.echo(f"autolabel: {line}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("autolabel: interrupted", err=True)
        if as_json:
            from autolabel.pipeline import Summary  # noqa: PLC0415

            typer.echo(json.dumps(Summary().to_json()))  # before anything was counted
        sys.stdout.flush()
        os._exit(130)  # a second Ctrl-C: don't wait for the threads of requests under way
    except AutolabelError as error:
        typer.echo(redact(f"autolabel: {error}"), err=True)
        raise typer.Exit(1) from None
    except typer.Exit:
        raise
    except (OSError, sqlite3.Error) as error:  # a full disk or a damaged run file: not a bug
        typer.echo(redact(f"autolabel: {error}; free the disk, or repair the file and run again"), err=True)
        raise typer.Exit(1) from None
    except Exception:  # the last resort: a bug, shown whole but for keys  # noqa: BLE001
        typer.echo(redact(traceback.format_exc()), err=True)
        typer.echo("autolabel: an unexpected error, shown above; please report it", err=True)
        raise typer.Exit(1) from None
