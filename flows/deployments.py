"""The nightly run: creates or updates pipeline/nightly on the Prefect server from prefect.yaml, as often as
you like.

`make ui` does it at its start, and starts a worker, which runs what is due. For a server of your own:

    PREFECT_API_URL=http://host:4200/api python -m flows.deployments
    prefect worker start --pool local      # as the first command prints it

A schedule that was paused in the browser stays paused; Prefect alone would wake it at each deployment.
"""

if __name__ == "__main__":  # Prefect reads its settings while it is imported
    from flows import environment

    environment.prepare(environment.root())

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from flows import environment

NAME, POOL = "pipeline/nightly", "local"


def deploy(root: Path) -> DeploymentResponse:
    """Create or update the pool and the deployment of prefect.yaml. Raises RuntimeError with what Prefect
    said.
    """
    with get_client(sync_client=True) as client:
        paused = _paused(client)
        with suppress(ObjectAlreadyExists):
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
        # prefect.yaml reads $PWD, which a change of folder by subprocess leaves as it was
        done = subprocess.run(
            command, cwd=root, env={**os.environ, "PWD": str(root)}, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"prefect deploy failed:\n{done.stdout}{done.stderr}")
        _pause(client, paused)
        return client.read_deployment_by_name(NAME)


def _paused(client: SyncPrefectClient) -> set[str]:
    try:
        schedules = client.read_deployment_by_name(NAME).schedules
    except ObjectNotFound:
        return set()
    return {str(schedule.slug) for schedule in schedules if not schedule.active}


def _pause(client: SyncPrefectClient, slugs: set[str]) -> None:
    deployment = client.read_deployment_by_name(NAME)
    for schedule in deployment.schedules:
        if schedule.slug in slugs:
            client.update_deployment_schedule(deployment.id, schedule.id, active=False)


def main() -> int:
    """Deploy, and print what runs when, and how to start a worker."""
    root, api = environment.root(), os.environ.get("PREFECT_API_URL")
    if not api or not environment.answers(api):
        print("No Prefect server answers: run `make ui` first, or set PREFECT_API_URL", file=sys.stderr)
        return 1
    try:
        deployment = deploy(root)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    for schedule in deployment.schedules:
        when = " ".join(str(getattr(schedule.schedule, part, "")) for part in ("cron", "timezone"))
        print(f"{NAME}: {when}{'' if schedule.active else ', paused'}")
    print(
        f"Worker: PREFECT_API_URL={api} {Path(sys.executable).parent / 'prefect'} worker start --pool {POOL}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
