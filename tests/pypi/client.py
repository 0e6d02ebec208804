"""Drives a Marathon (here: the simulator) with PyPI's `marathon` client, which nobody of this project wrote.

Usage: client.py URL [URL...]; the last URL may be a standby. Prints one line per step; exits 1 at the first that fails.
"""

import collections
import collections.abc
import sys
import threading
import time

# The client still imports what Python 3.10 moved.
collections.Iterable = collections.abc.Iterable

from marathon import MarathonClient, MarathonHttpError, NotFoundError  # noqa: E402
from marathon.exceptions import ConflictError  # noqa: E402
from marathon.models import MarathonApp, MarathonHealthCheck  # noqa: E402
from marathon.models.group import MarathonGroup  # noqa: E402


def until(what, condition):
    for _ in range(500):
        if condition():
            print("ok:", what, flush=True)
            return
        time.sleep(0.02)
    sys.exit("never: " + what)


def expect(what, condition):
    print("ok:" if condition else "FAILED:", what, flush=True)
    if not condition:
        sys.exit(1)


def refused(error, call):
    try:
        call()
    except error:
        return True
    return False


def listen(client, seen):
    kinds = ["status_update_event", "app_terminated_event"]
    for event in client.event_stream(event_types=kinds):
        seen.append(event.event_type)


def main(urls):
    client = MarathonClient(urls)
    seen = []
    threading.Thread(target=listen, args=(MarathonClient(urls[-1]), seen), daemon=True).start()

    expect("ping", b"pong" in client.ping())
    expect("no apps", client.list_apps() == [])
    expect("info", client.get_info().name == "marathon")
    expect("leader", client.get_leader()["leader"] in urls[0])

    check = MarathonHealthCheck(protocol="HTTP", path="/", port_index=0, interval_seconds=1)
    app = MarathonApp(id="/web", cmd="serve", cpus=0.1, mem=16, instances=2, health_checks=[check], labels={"a": "b"})
    created = client.create_app("/web", app)
    expect("created", created.id == "/web" and created.instances == 2)
    expect("exists", refused(ConflictError, lambda: client.create_app("/web", app)))
    until("running and healthy", lambda: client.get_app("/web").tasks_healthy == 2)
    until("no deployments", lambda: client.list_deployments() == [])

    apps = client.list_apps(embed_tasks=True, label="a==b")
    expect("listed with tasks", len(apps) == 1 and len(apps[0].tasks) == 2 and apps[0].labels == {"a": "b"})
    task = apps[0].tasks[0]
    expect("tasks have results", task.health_check_results[0].alive and len(task.ports) == 1)
    expect("tasks of the app", {t.id for t in client.list_tasks("/web")} == {t.id for t in apps[0].tasks})

    client.scale_app("/web", 4)
    until("scaled up", lambda: client.get_app("/web").tasks_running == 4 and client.list_deployments() == [])
    client.scale_app("/web", delta=-1)
    until("scaled down", lambda: len(client.list_tasks("/web")) == 3 and client.list_deployments() == [])
    victim = client.list_tasks("/web")[0].id
    client.kill_given_tasks([victim], scale=True)
    until("killed with scale", lambda: client.get_app("/web").instances == 2 and victim not in
          [t.id for t in client.list_tasks("/web")] and client.list_deployments() == [])

    client.update_app("/web", MarathonApp(cmd="serve --again"))
    until("upgraded", lambda: client.list_deployments() == [] and client.get_app("/web").cmd == "serve --again")
    expect("versions", len(client.list_versions("/web")) >= 4)

    group = MarathonGroup(id="/shop", apps=[{"id": "db", "cmd": "x", "instances": 1},
                                            {"id": "front", "cmd": "x", "instances": 1, "dependencies": ["db"]}])
    client.create_group(group)
    until("group deployed", lambda: client.list_deployments() == [] and len(client.list_tasks("/shop/front")) == 1)
    expect("groups listed", [g.id for g in client.list_groups()] == ["/shop"])
    client.delete_group("/shop")

    client.delete_app("/web")
    until("deleted", lambda: client.list_apps() == [] and client.list_tasks() == [])
    expect("gone", refused(NotFoundError, lambda: client.get_app("/web")))
    bad = MarathonApp(id="/bad", cmd="x", instances=1)
    bad.id = "/Bad"
    expect("refused", refused((MarathonHttpError, ValueError), lambda: client.create_app("/Bad", bad)))
    until("events seen", lambda: "status_update_event" in seen and "app_terminated_event" in seen)


main(sys.argv[1:])
