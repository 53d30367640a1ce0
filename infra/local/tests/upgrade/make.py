#!/usr/bin/env python3
"""Makes `before.tar.gz`: a data folder as an earlier Gantry left it, and what its GitLab held.

    make.py PROGRAMS

PROGRAMS is the folder with `gantry`, `gantry-runner` and `gantry-fake-gitlab` of that commit:

    git worktree add ../gantry-before 003527e
    cd ../gantry-before
    cargo build --locked -p gantry-local -p gantry-runner -p gantry-fake-gitlab
    cd -
    infra/local/tests/upgrade/make.py ../gantry-before/target/debug

README.md beside this says what is in it. The addresses below are in the records, so the test uses
them too. It needs git, and Terraform on PATH.
"""
import atexit
import base64
import json
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
GITLAB = "127.83.0.27:8929"
GANTRY = "127.83.0.27:8928"
PROJECT = "acme/network"
AT_GITLAB = f"/api/v4/projects/{urllib.parse.quote(PROJECT, safe='')}"
TOKEN = "glpat-test-token-of-no-server"
ADMIN_KEY = "test-admin-key-of-the-upgrade"
PASSWORD = "test-password-of-nobody"
# Made before Gantry starts, which takes what is there.
SECRETS = {
    "admin-key": ADMIN_KEY,
    "sealing-key": "test-sealing-key-of-the-upgrade",
    "signing-keys": "test-signing-key-of-the-upgrade",
    "webhook-secrets": json.dumps({
        "token": "test-webhook-token",
        "signing_token": "whsec_" + base64.b64encode(b"test-signing-key-of-the-upgrade!").decode(),
    }),
}
# Far away: nobody can wait for a person longer, whatever day it is.
NEVER = 4_000_000_000

NETWORK = """variable "region" {
  type = string
}

variable "admin_password" {
  type      = string
  sensitive = true
}

resource "terraform_data" "network" {
  input = { region = var.region, cidr = "10.0.0.0/16" }
}
"""
DNS = """
resource "terraform_data" "dns" {
  input = "dns.example.com"
}
"""
MAIL = """
resource "terraform_data" "mail" {
  input = sensitive(var.admin_password)
}
"""
WEB = """
resource "terraform_data" "web" {
  input = "www.example.com"
}
"""
ZONE = """variable "name" {
  type        = string
  description = "What the zone is called."
}

resource "terraform_data" "zone" {
  input = var.name
}

output "zone" {
  value = "${terraform_data.zone.output}.example.com"
}
"""
ZONE_TESTS = """version: 1
module_version: 1.0.0
tests:
  - name: office
    variables: { TF_VAR_name: office }
"""


def call(base, method, path, body=None, **headers):
    request = urllib.request.Request(f"http://{base}{path}", method=method, headers=headers)
    if body is not None:
        request.add_header("Content-Type", "application/json")
        request.data = json.dumps(body).encode()
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        sys.exit(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}")


def gantry(method, path, body=None):
    return call(GANTRY, method, f"/api/v1{path}", body, Authorization=f"Bearer {ADMIN_KEY}")


def wait_for(what, look):
    until = time.monotonic() + 120
    while time.monotonic() < until:
        found = look()
        if found:
            return found
        time.sleep(0.2)
    sys.exit(f"never seen: {what}")


def is_up(address):
    try:
        urllib.request.urlopen(f"http://{address}/", timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


class Program:
    """A program that runs until it is asked to end."""

    def __init__(self, address, *command, **options):
        self.process = subprocess.Popen(command, **options)
        # Where this fails in the middle.
        atexit.register(self.process.kill)
        wait_for(f"{command[0]} at {address}", lambda: is_up(address))

    def end(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=60)


class Repository:
    """A clone of the project, whose commits have one author and one time."""

    def __init__(self, folder):
        self.folder = folder
        self.git("clone", "-q", f"http://{GITLAB}/{PROJECT}.git", folder, at=".")

    def git(self, *arguments, at=None):
        moment = "2026-01-02T03:04:05Z"
        person = {"NAME": "Ada", "EMAIL": "ada@example.com", "DATE": moment}
        names = {f"GIT_{who}_{k}": v for who in ("AUTHOR", "COMMITTER") for k, v in person.items()}
        ran = subprocess.run(
            ["git", *arguments],
            cwd=at or self.folder,
            env={**os.environ, **names},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        return ran.stdout.strip()

    def push(self, branch, files):
        """Commits files to a branch and pushes it; the commit."""
        if branch != "main":
            self.git("switch", "-q", "-C", branch, "main")
        for name, text in files.items():
            file = self.folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", f"Change {', '.join(files)}")
        self.git("push", "-q", "origin", branch)
        commit = self.git("rev-parse", "HEAD")
        self.git("switch", "-q", "main")
        return commit


def run_of(commit, state, slug="network"):
    """Waits until the run of a commit is in a state; its id."""

    def look():
        for run in gantry("GET", f"/stacks/{slug}/runs")["runs"]:
            if run["commit"] == commit:
                if run["state"] == state:
                    return run["id"]
                if run["state"] == "failed":
                    sys.exit(f"failed: {json.dumps(gantry('GET', '/runs/' + run['id']), indent=1)}")
        return None

    return wait_for(f"a run of {slug} at {commit} that is {state}", look)


def apply(commit):
    run = run_of(commit, "unconfirmed")
    gantry("POST", f"/runs/{run}/confirm", {})
    run_of(commit, "finished")
    return run


def let_runs_wait(data):
    """Nobody can set how long a run waits for a person, which is seven days."""
    with sqlite3.connect(data / "table.db") as table:
        found = table.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        changed = 0
        for (name,) in found:
            columns = [column[1] for column in table.execute(f'PRAGMA table_info("{name}")')]
            for column in columns:
                for before in ('\\"unconfirmed\\":604800', '"unconfirmed":604800'):
                    after = before.replace("604800", str(NEVER))
                    changed += table.execute(
                        f'UPDATE "{name}" SET "{column}" = replace("{column}", ?, ?)'
                        f' WHERE instr("{column}", ?) > 0',
                        (before, after, before),
                    ).rowcount
    if not changed:
        sys.exit("no stack says how long a run waits")


def gitlabs_side(token):
    """What Gantry has written to GitLab."""
    def read(path):
        return call(GITLAB, "GET", f"{AT_GITLAB}{path}", None, **{"PRIVATE-TOKEN": token})

    statuses = []
    for pipeline in sorted(read("/pipelines?per_page=100"), key=lambda one: one["id"]):
        of_commit = read(f"/repository/commits/{pipeline['sha']}/statuses?all=true&per_page=100")
        of_commit.sort(key=lambda one: one["id"])
        statuses += [{**one, "pipeline": pipeline["id"]} for one in of_commit
                     if one.get("pipeline_id", pipeline["id"]) == pipeline["id"]]
    return {
        "statuses": statuses,
        "environments": read("/environments?per_page=100"),
        "deployments": read("/deployments?per_page=100&order_by=id&sort=asc"),
        "merge_requests": read("/merge_requests?state=all"),
        "notes": [note for note in read("/merge_requests/1/notes?per_page=100&sort=asc")
                  if not note.get("system")],
        "hooks": read("/hooks"),
    }


def shrink(database):
    with sqlite3.connect(database) as table:
        table.execute("PRAGMA journal_mode = DELETE")
    table = sqlite3.connect(database)
    table.execute("VACUUM")
    table.close()


def make(programs, folder):
    data, log = folder / "data", (folder / "log").open("w")
    data.mkdir(mode=0o700)
    (data / "secrets.json").write_text(json.dumps(SECRETS))
    said = folder / "said"
    gitlab = Program(
        GITLAB, programs / "gantry-fake-gitlab", "--addr", GITLAB, "--data-dir", folder / "gitlab",
        "--demo-project", PROJECT, stdout=said.open("w"), stderr=log,
    )
    token = wait_for("the token", lambda: [
        line.split()[1] for line in said.read_text().splitlines() if line.startswith("Token")
    ])[0]

    def start():
        return Program(
            GANTRY, programs / "gantry", "run", "--addr", GANTRY, "--data-dir", data,
            "--runners", "2", "--runner", programs / "gantry-runner",
            stdout=log, stderr=log, env={"PATH": os.environ["PATH"], "RUST_LOG": "info"},
        )

    host = start()
    gantry("PUT", "/integration", {"api_host": f"http://{GITLAB}", "token": token})
    gantry("POST", "/stacks", {
        "name": "Network", "slug": "network", "project": PROJECT, "branch": "main",
        "project_root": "network", "tool": "terraform", "labels": ["eu"],
        "project_globs": ["shared/**"],
        "hooks": {"before_plan": ["echo before the plan"], "after_apply": ["echo after the apply"]},
        "variables": [
            {"name": "TF_VAR_region", "value": "eu-1", "secret": False, "runs": "all"},
            {"name": "TF_VAR_admin_password", "value": PASSWORD, "secret": True, "runs": "all"},
        ],
    })
    gantry("POST", "/modules", {
        "name": "zone", "terraform_provider": "dns", "project": PROJECT, "branch": "main",
        "project_root": "zone", "tag_prefix": "zone/", "tool": "terraform",
    })
    gantry("POST", "/stacks/network/webhook", {})
    key = gantry("POST", "/keys", {"name": "deployer", "role": "deploy"})["key"]
    environments = f"{AT_GITLAB}/environments"
    auth = {"PRIVATE-TOKEN": token}
    wait_for("the environment", lambda: call(GITLAB, "GET", environments, None, **auth))
    host.end()
    let_runs_wait(data)
    host = start()

    repository = Repository(folder / "clone")
    at_begin = repository.push("main", {"network/main.tf": NETWORK})
    applied = [apply(at_begin)]
    applied.append(apply(repository.push("main", {"network/main.tf": NETWORK + DNS})))
    topic = repository.push("topic", {"network/main.tf": NETWORK + DNS + MAIL})
    requests = f"{AT_GITLAB}/merge_requests"
    request = {"source_branch": "topic", "target_branch": "main", "title": "Mail"}
    call(GITLAB, "POST", requests, request, **auth)
    previewed = run_of(topic, "finished")
    notes = f"{requests}/1/notes"
    wait_for("the note", lambda: [
        note for note in call(GITLAB, "GET", notes, None, **auth)
        if "Planned" in note["body"]
    ])
    zone = repository.push("main", {"zone/main.tf": ZONE, "zone/.gantry/config.yml": ZONE_TESTS})
    versions = "/modules/zone/versions"
    wait_for("the version", lambda: [
        one for one in gantry("GET", versions)["versions"] if one["state"] == "active"
    ])
    waits_at = repository.push("main", {"network/main.tf": NETWORK + DNS + WEB})
    waiting = run_of(waits_at, "unconfirmed")
    # What it still has to tell GitLab.
    time.sleep(15)
    version = json.loads(subprocess.run(
        ["terraform", "version", "-json"], check=True, stdout=subprocess.PIPE, stderr=log
    ).stdout)["terraform_version"]
    side = gitlabs_side(token)
    host.end()
    gitlab.end()

    (data / "secrets.json").write_text((data / "secrets.json").read_text().replace(token, TOKEN))
    for name in ("table.db", "queues.db"):
        shrink(data / name)
    for name in ("runners", "runner-logs"):
        shutil.rmtree(data / name, ignore_errors=True)
    bundle = folder / "repository.bundle"
    repository.git("bundle", "create", "-q", bundle, "main", "topic")
    about = {
        "gitlab": GITLAB, "gantry": GANTRY, "project": PROJECT, "token": TOKEN,
        "admin_key": ADMIN_KEY, "deploy_key": key, "terraform": version,
        "secret": PASSWORD, "code": NETWORK + DNS + MAIL,
        "applied": applied, "previewed": previewed, "waiting": waiting,
        "commits": {"topic": topic, "version": zone, "waiting": waits_at},
        "written": side,
    }
    (folder / "about.json").write_text(json.dumps(about, indent=1))
    with tarfile.open(HERE / "before.tar.gz", "w:gz") as archive:
        for name in ("about.json", "repository.bundle", "data"):
            archive.add(folder / name, arcname=name)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="gantry-upgrade-"))
    try:
        make(pathlib.Path(sys.argv[1]).resolve(), folder)
    except BaseException:
        print(f"left in {folder}", file=sys.stderr)
        raise
    shutil.rmtree(folder)
