"""``hypeeg init`` and ``hypeeg schema``: run files to start from, and what editors check them by.

Heavy libraries are imported inside the commands, so that help and mistakes answer at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hypeeg.cli_common import plain_errors

SCHEMA_FILE = "run-spec.schema.json"


def register(app: typer.Typer) -> None:
    """Add the commands to the command line.

    Parameters
    ----------
    app : typer.Typer
        The ``hypeeg`` command.
    """
    app.command("init")(init_spec)
    app.command("schema")(write_schema)


def init_spec(
    file: Annotated[Path, typer.Argument(help="The run file to write (YAML).")],
    kind: Annotated[
        str, typer.Option("--kind", help="What it trains on: eeg, vision or hierarchy.")
    ] = "eeg",
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="Name of the data; 'hypeeg data list'.")
    ] = None,
    schema: Annotated[
        bool,
        typer.Option("--schema", help=f"Write {SCHEMA_FILE} beside it, for editors that check."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over a file.")] = False,
) -> None:
    """Write a run file with every key, its default and what it means."""
    from hypeeg.experiments.spec_errors import Problem, SpecError
    from hypeeg.experiments.template import template

    with plain_errors():
        if file.exists() and not force:
            raise SpecError([Problem("", "there is such a file; --force replaces it")], str(file))
        text = template(kind, name=file.stem, dataset=dataset, schema=SCHEMA_FILE)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        if schema:
            _write_schema(file.parent / SCHEMA_FILE)
        typer.echo(f"Wrote {file}; 'hypeeg run {file} --dry-run' checks it")


def write_schema(
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write it to; by default the screen.")
    ] = None,
) -> None:
    """Show the JSON Schema of run files, by which editors check and complete them."""
    from hypeeg.experiments.schema import schema_text

    with plain_errors():
        if out is None:
            typer.echo(schema_text(), nl=False)
            return
        _write_schema(out)
        typer.echo(f"Wrote {out}")


def _write_schema(path: Path) -> None:
    from hypeeg.experiments.schema import schema_text

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(schema_text(), encoding="utf-8")
