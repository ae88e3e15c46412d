"""``cl-haystack opensearch``: a real OpenSearch on this machine, without Docker."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from cl_haystack.opensearch.server import Instance

app = typer.Typer(
    no_args_is_help=True,
    help="Run a real OpenSearch on this machine: no Docker, loopback only. Needs the extra `local`.",
)

DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="DIR", help="Folder of the index data; each folder is a server of its own."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@app.command(
    epilog="Examples: `cl-haystack opensearch start` · `start --nodes 3` · `start --version 2.19.6 --data D`"
)
def start(
    *,
    version: Annotated[
        str | None,
        typer.Option(help="3.6.0 or 2.19.6; default: what wrote the data, else 3.6.0."),
    ] = None,
    nodes: Annotated[
        int | None, typer.Option(min=1, help="Nodes of the cluster; default: as the data, else 1.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="HTTP port of the first node; default: 9200, or the next that is free.")
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(help="Java heap of each node; default: 1g for one node, 384m each for more."),
    ] = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Start a server that goes on after this command; fetches it first where it is missing (80 MB)."""
    from cl_haystack.cli.console import err, print_json, progress_bar
    from cl_haystack.opensearch.server import Instance, Wanted, describe, start_server

    instance = Instance.at(data)
    wanted = Wanted(version=version, nodes=nodes, port=port, memory=memory)
    with progress_bar("downloading OpenSearch, MB") as on_progress:
        started = start_server(instance, wanted, on_progress=on_progress)
    state = started.state
    if json:
        print_json({**describe(instance), "already_running": started.already})
        return
    how = "runs already" if started.already else "runs"
    err.print(f"OpenSearch {state.version} {how}, {len(state.nodes)} node(s), data in {state.data}")
    print(state.url)


@app.command(epilog="Example: `cl-haystack opensearch stop`")
def stop(*, data: DataOption = None, json: JsonOption = False) -> None:
    """Stop the server; its data stay."""
    from cl_haystack.cli.console import err, print_json
    from cl_haystack.opensearch.server import Instance, describe, stop_server

    instance = Instance.at(data)
    stopped = stop_server(instance)
    if json:
        print_json({**describe(instance), "stopped": stopped > 0})
        return
    err.print("stopped" if stopped else f"no server of {instance.data} is running")


@app.command(epilog="Example: `cl-haystack opensearch status --json`")
def status(*, data: DataOption = None, json: JsonOption = False) -> None:
    """Say whether the server runs, and where."""
    from cl_haystack.cli.console import print_json
    from cl_haystack.opensearch.server import Instance, describe

    found = describe(Instance.at(data))
    if json:
        print_json(found)
        return
    for line in status_lines(found):
        print(line)


def status_lines(found: dict[str, Any]) -> list[str]:
    """Write a description of a server for a person."""
    if not found["running"]:
        return ["not running; start it with `cl-haystack opensearch start`", f"data    {found['data']}"]
    lines = [
        f"running OpenSearch {found['version']} on Java {found['java']}, health {found['health']}, "
        f"{found['resident_bytes'] / 1e6:,.0f} MB resident",
    ]
    for node in found["nodes"]:
        state = f"process {node['pid']}" if node["running"] else "has ended"
        lines.append(f"{node['name']}  {node['url']}  {state}")
    return [*lines, f"data    {found['data']}", f"logs    {found['logs']}"]


@app.command(epilog="Examples: `cl-haystack opensearch logs -n 100` · `logs --follow` · `logs --node 2`")
def logs(
    *,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="How many of the last lines.")] = 50,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is added, until Ctrl-C.")
    ] = False,
    node: Annotated[int, typer.Option(min=1, help="Which node of a cluster.")] = 1,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Show the end of the server's log."""
    from cl_haystack.cli.console import print_json
    from cl_haystack.opensearch.server import Instance
    from cl_haystack.opensearch.server.follow import follow as follow_log
    from cl_haystack.opensearch.server.tail import tail

    path = log_path(Instance.at(data), node)
    shown = tail(path, lines)
    if json:
        print_json({"path": str(path), "lines": shown})
        return
    for line in shown:
        print(line)
    if not follow:
        return
    try:
        for added in follow_log(path):
            if added is not None:
                print(added, flush=True)
    except KeyboardInterrupt:
        return


def log_path(instance: "Instance", node: int) -> Path:
    """Return the log of a node.

    :param instance: which server.
    :param node: number of the node, from 1.
    :returns: the path of a log that exists.
    :raises LocalServerError: that node has never run.
    """
    from cl_haystack.errors import LocalServerError

    path = instance.folder / f"node-{node}" / "logs" / "server.log"
    if not path.is_file():
        raise LocalServerError(
            f"there is no log of node {node} at {path}; expected a server that has run: start it with "
            "`cl-haystack opensearch start`"
        )
    return path


@app.command(epilog="Example: `cl-haystack opensearch clean --yes`")
def clean(
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Remove the index data and logs of a server that does not run; the downloaded files stay."""
    from cl_haystack.cli.console import err, print_json
    from cl_haystack.opensearch.server import Instance, clean_server

    instance = Instance.at(data)
    if not yes:
        typer.confirm(f"remove all index data in {instance.data} and the logs?", abort=True, err=True)
    removed = [str(path) for path in clean_server(instance)]
    if json:
        print_json({"running": False, "removed": removed})
        return
    err.print("\n".join(f"removed {path}" for path in removed) or "nothing to remove")
