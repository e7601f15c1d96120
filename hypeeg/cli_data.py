"""``hypeeg data``: what data sets there are, and what of them is on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hypeeg.cli_common import FAILED, plain_errors

if TYPE_CHECKING:
    from hypeeg.eeg.manifest import Manifest

data_app = typer.Typer(help="Data sets: what there is, what is on this machine.")


@data_app.command("list")
def data_list(
    paradigm: Annotated[
        str | None,
        typer.Option(help="Only this one: imagery, ssvep, p300, cvep, resting_state."),
    ] = None,
    search: Annotated[
        str | None, typer.Option(help="Only names and titles that contain this.")
    ] = None,
    here: Annotated[
        bool, typer.Option("--here", help="Only what has recordings on this machine.")
    ] = False,
) -> None:
    """List the data sets hypeeg knows."""
    from rich.console import Console
    from rich.table import Table

    from hypeeg.eeg.manifest import list_manifests, load_manifest, paradigms_called

    with plain_errors():
        manifests = [load_manifest(name) for name in list_manifests()]
        if paradigm is not None:
            chosen = paradigms_called(paradigm)
            manifests = [m for m in manifests if m.paradigm in chosen]
        if search is not None:
            wanted = search.lower()
            manifests = [m for m in manifests if wanted in f"{m.name} {m.title}".lower()]
        if here:
            from hypeeg.eeg.datasets import is_here

            manifests = [m for m in manifests if is_here(m)]
        table = Table(box=None)
        for column in ("name", "paradigm", "subjects", "sessions", "channels", "Hz", "size"):
            table.add_column(column, no_wrap=True)
        table.add_column("classes")
        for m in manifests:
            n = len(m.default_events)
            table.add_row(
                *(m.name, m.paradigm, str(len(m.subjects)), str(m.n_sessions or "?")),
                *(str(m.channels.count), f"{m.sfreq:g}", m.size.human if m.size else "?"),
                ", ".join(m.default_events) if n <= 5 else f"{n} classes",
            )
        # Names must stay whole where the output is read by a program.
        console = Console()
        Console(width=max(console.width, 120)).print(table)
        typer.echo(f"{len(manifests)} data sets; 'hypeeg data show NAME' tells more", err=True)


@data_app.command("show")
def data_show(
    name: Annotated[str, typer.Argument(help="Name of a data set, or a manifest file (YAML).")],
) -> None:
    """Show everything the manifest of a data set says."""
    from hypeeg.eeg.manifest import load_manifest
    from hypeeg.experiments.yaml_io import format_yaml

    with plain_errors():
        manifest = load_manifest(name)
        shown = manifest.model_dump(mode="json", exclude_none=True)
        unknown = [
            field for field in ("n_sessions", "size", "trials") if getattr(manifest, field) is None
        ]
        typer.echo(format_yaml(shown))
        if not manifest.sessions:
            unknown.insert(0, "session names")
        if unknown:
            typer.echo(f"# Not known before reading: {', '.join(unknown)}.")


@data_app.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(help="Name of a data set.")],
    subjects: Annotated[
        str | None, typer.Option(help="Subjects, such as 1,2,5-8; all by default.")
    ] = None,
    tries: Annotated[int, typer.Option(min=1, help="Tries for each subject.")] = 3,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show every warning.")] = False,
) -> None:
    """Download a data set; what is here already stays, what was interrupted goes on."""
    from hypeeg.eeg.fetch import fetch_dataset
    from hypeeg.eeg.manifest import load_manifest
    from hypeeg.experiments.logs import screen_log

    with screen_log(verbose), plain_errors(verbose):
        manifest = load_manifest(name)
        wanted = None if subjects is None else _numbers(subjects, "hypeeg data fetch")
        typer.echo(f"{manifest.name}: licence {manifest.licence}; cite {manifest.citation.text}")
        report = fetch_dataset(manifest, wanted, tries=tries, tell=typer.echo)
        if report.lock:
            typer.echo(f"hashes in {report.lock}")
        if not report.ok:
            failed = [str(row.subject) for row in report.rows if row.state == "failed"]
            typer.echo(
                f"error: subjects {', '.join(failed)} failed; the same command tries them again",
                err=True,
            )
            raise typer.Exit(FAILED)


@data_app.command("check")
def data_check(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[DATASET]...", help="Data sets; by default those found here."),
    ] = None,
    subjects: Annotated[
        str | None,
        typer.Option(help="Subjects, such as 1,2,5-8; by default those found on this machine."),
    ] = None,
    lock: Annotated[
        Path | None,
        typer.Option(help="Lock file with the hashes; by default one a data set in the cache."),
    ] = None,
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="Record changed files as the right ones.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show every warning.")] = False,
) -> None:
    """Compare the recordings on this machine with their manifests and with earlier hashes."""
    from hypeeg.eeg.manifest import list_manifests, load_manifest
    from hypeeg.eeg.paths import configure_data_paths
    from hypeeg.experiments.logs import screen_log
    from hypeeg.experiments.spec_errors import Problem, SpecError

    with screen_log(verbose), plain_errors(verbose):
        manifests = [load_manifest(name) for name in names or list_manifests()]
        wanted = None if subjects is None else _numbers(subjects, "hypeeg data check")
        if lock is not None and len(manifests) != 1:
            problem = Problem("--lock", "a lock file is for one data set; name it")
            raise SpecError([problem], "hypeeg data check")
        configure_data_paths()
        if not names:
            from hypeeg.eeg.datasets import is_here

            manifests = [m for m in manifests if is_here(m)]
        fine = [_check_one(m, wanted, lock, accept_changes) for m in manifests]
        if not all(fine):
            raise typer.Exit(FAILED)


def _check_one(
    manifest: Manifest, wanted: list[int] | None, lock: Path | None, accept_changes: bool
) -> bool:
    """Print the check of one data set; whether all that is there is as it should be."""
    from hypeeg.eeg.check import check_dataset
    from hypeeg.eeg.files import subject_files

    chosen = wanted
    absent: list[int] = []
    if chosen is None and (manifest.files or manifest.own or manifest.is_moabb):
        chosen = [s for s in manifest.subjects if subject_files(manifest, s)[0]]
        absent = [s for s in manifest.subjects if s not in chosen]
    if chosen == []:
        size = f" ({manifest.size.human} to download)" if manifest.size else ""
        how = f"; 'hypeeg data fetch {manifest.name}' gets it" if manifest.is_moabb else ""
        typer.echo(f"{manifest.name}: not on this machine{size}{how}\n")
        return True
    report = check_dataset(
        manifest, chosen, lock=lock, update_lock=True, accept_changes=accept_changes
    )
    typer.echo(report.to_text())
    if absent:
        typer.echo(f"not on this machine: {len(absent)} of {len(manifest.subjects)} subjects")
    typer.echo("")
    return report.ok


def _numbers(text: str, command: str) -> list[int]:
    """Read ``1,2,5-8`` as numbers."""
    from hypeeg.experiments.spec_errors import Problem, SpecError

    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            message = f"got {text!r}; write numbers and ranges such as 1,2,5-8"
            raise SpecError([Problem("--subjects", message)], command)
        found += range(int(first), int(last if dash else first) + 1)
    return found
