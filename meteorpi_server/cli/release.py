"""``meteorpi release``: releases side by side, by commit, and switching between them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from meteorpi_server.cli.output import Output, json_option
from meteorpi_server.deploying.deployment import Deployment
from meteorpi_server.deploying.instructions import CURRENT, Instructions, read_instructions
from meteorpi_server.deploying.preview import Preview
from meteorpi_server.deploying.releases import Release
from meteorpi_server.deploying.ways import Wish

Command = Callable[..., Any]

_root = click.option(
    "--root",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Directory with deploy.toml; the present one if not given.",
)
_commit = click.option(
    "-c", "--commit", default="HEAD", show_default=True, help="Commit, tag or branch of the repository."
)


def _changing(command: Command) -> Command:
    """The options of commands that bring a release into service, handed over as `wish`."""
    options = (
        click.option("--into", default=CURRENT, show_default=True, help="Link to switch."),
        click.option(
            "--from", "origin", metavar="LINK", help="Link to what uses the database now; that of --into."
        ),
        click.option(
            "--stop", "may_stop", is_flag=True, help="Stop the service while the schema changes, if need be."
        ),
        click.option("--force", is_flag=True, help="Take the schema back even where that loses data."),
        click.option("--dry-run", is_flag=True, help="Only print what would be done."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group()
def release() -> None:
    """Releases side by side, by commit; deploy.toml says where from, and how one is brought into service."""


@release.command()
@_commit
@_root
@json_option
def checkout(output: Output, root: Path, commit: str) -> None:
    """Export a commit and make its environment; what is served is not touched. May be repeated."""
    _report(output, _deployment(output, read_instructions(root)).checkout(commit))


@release.command()
@_commit
@_changing
@_root
@json_option
def deploy(output: Output, root: Path, commit: str, dry_run: bool, **options: Any) -> None:
    """Bring a commit into service: build, migrate, switch, reload, wait until it is ready.

    The schema goes forward or back as the histories of the releases say. When the new release does not become
    ready, the former one is brought back, and the command ends with 1. May be repeated, also after a kill.
    """
    instructions = read_instructions(root)
    wish = _wish(options)
    if dry_run:
        _print_plan(output, instructions, lambda preview: preview.of_commit(commit, wish))
        return
    _report(output, _deployment(output, instructions).deploy(commit, wish))


@release.command()
@_changing
@_root
@json_option
def rollback(output: Output, root: Path, dry_run: bool, **options: Any) -> None:
    """Bring back the release that was in service before, with the settings that it had.

    Doing it twice leads to where it began. An earlier one, or the present settings: deploy its commit.
    """
    instructions, wish = read_instructions(root), _wish(options)
    deployment = _deployment(output, instructions)
    if dry_run:
        former = deployment.former(wish.into)
        _print_plan(output, instructions, lambda preview: preview.of_release(former, wish))
        return
    _report(output, deployment.roll_back(wish))


@release.command()
@_root
@json_option
def history(output: Output, root: Path) -> None:
    """Print what was begun, done and given up, oldest first."""
    entries = _deployment(output, read_instructions(root)).journal.entries()
    output.rows(map(asdict, entries), ("time", "place", "event", "release", "detail"))


def _deployment(output: Output, instructions: Instructions) -> Deployment:
    def say(what: str, more: str) -> None:
        output.warn(f"{what:<8} {more}")

    return Deployment(instructions, os.environ, say)


def _print_plan(output: Output, instructions: Instructions, tell: Callable[[Preview], None]) -> None:
    plan: list[dict[str, object]] = []
    tell(Preview(instructions, os.environ, lambda what, more: plan.append({"step": what, "detail": more})))
    output.rows(plan, ("step", "detail"))


def _wish(options: dict[str, Any]) -> Wish:
    return Wish(**{**options, "origin": options["origin"] or options["into"]})


def _report(output: Output, found: Release) -> None:
    output.facts(
        {
            "release": found.name,
            "commit": found.commit,
            "tree": found.program.tree,
            "environment": found.program.environment,
        }
    )
