//! Attacks on the whole program, which was started with nothing but its defaults: a branch's code,
//! a provider and hooks try to get what is Gantry's, and what is other runs'.

use crate::{
    secrets::{Hidden, shown, stored_in},
    support::{Kind, SLUG, World, text},
};
use gantry_fake_gitlab::{MergeRequestSpec, Person, ProjectId, ProjectOptions};
use gantry_terraform::on_each_tool;
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// Each line prints something where it gets through.
const ATTACKS: &[&str] = &[
    // What the host and the worker keep.
    "cat $DATA/secrets.json",
    "head -c 64 $DATA/table.db",
    "head -c 64 $DATA/queues.db",
    "find $DATA -type f",
    "find $DATA/objects -type f -exec head -c 64 {} +",
    "cat $DATA/runner-logs/*",
    "cat $DATA/../host.log",
    "ls $RUNS",
    "ln -sf $DATA/secrets.json link; cat link",
    "tar c -C $DATA . | head -c 64",
    "curl -s file://$DATA/secrets.json",
    // Other runs, and what this one has for its runner alone.
    "cat $RUNS/*/record.json",
    "cat $RUNS/*/home/mine",
    "find $RUNS -path '*/job/*' -name neighbour.tf",
    "for up in .. ../.. ../../.. ../../../..; do cat $up/record.json; done",
    "for up in ../.. ../../.. ../../../..; do cat $up/*/home/mine; done",
    // Processes.
    "cat /proc/$HOST/environ",
    "cat /proc/$HOST/cmdline",
    "ls /proc/$HOST/fd",
    "cat /proc/$HOST/root$DATA/secrets.json",
    "cat /proc/[0-9]*/environ | tr '\\0' '\\n' | grep -a GANTRY_CLAIM_TOKEN",
    "cat /proc/[0-9]*/environ | tr '\\0' '\\n' | grep -a GANTRY_RUNNER_API",
    "cat /proc/[0-9]*/environ | tr '\\0' '\\n' | grep -a ^NEIGHBOUR=",
    "cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep -a data-dir",
    "cat /proc/[0-9]*/environ | tr '\\0' '\\n' | grep -a GANTRY_WORKER_KEY",
    "cat $WORKER.log",
    "memory $HOST",
];

/// What the tool itself reads for a branch's code. `DATA`, `RUNS` and `HOST` are put in.
const EXPRESSIONS: &[&str] = &[
    "file(\"DATA/secrets.json\")",
    "base64decode(filebase64(\"DATA/secrets.json\"))",
    "templatefile(\"DATA/secrets.json\", {})",
    "join(\" \", fileset(\"DATA\", \"**\"))",
    "join(\" \", fileset(\"RUNS\", \"*/record.json\"))",
    "join(\" \", [for f in fileset(\"RUNS\", \"*/home/mine\") : file(\"RUNS/${f}\")])",
    "file(\"${path.root}/../../record.json\")",
    "file(\"/proc/HOST/environ\")",
    "file(\"/proc/HOST/cmdline\")",
    "file(\"/proc/HOST/rootDATA/secrets.json\")",
];

/// The same in what is said of a check that fails.
const SAID: &str = r#"variable "never" {
  default = false
}

check "said" {
  assert {
    condition     = var.never
    error_message = "It is ${try(file("DATA/secrets.json"), "closed")}."
  }
}
"#;

/// Keys, tokens and addresses that a run has are good for nothing of these, confined or not.
const POWERLESS: &[&str] = &[
    "curl -sf http://$ADDRESS/api/v1/integration",
    "curl -sf -H \"Authorization: Bearer $(token)\" http://$ADDRESS/api/v1/stacks",
    "curl -sf -H \"Authorization: Bearer $(token)\" http://$ADDRESS/runner/v1/state",
    "curl -sf -H \"Authorization: Bearer $(token)\" http://$ADDRESS/runner/v1/source",
    "curl -sf -d '{}' -H \"Authorization: Bearer $(token)\" http://$ADDRESS/runner/v1/next",
    "curl -sf -H \"Authorization: Bearer $TF_HTTP_PASSWORD\" http://$ADDRESS/api/v1/stacks",
];

/// `memory` looks for GitLab's token in the memory of a process; `token` is the registry's.
const FUNCTIONS: &str = r#"
token() { sed -n 's/.*token *= *"\(.*\)"/\1/p' $HOME/.terraform.d/zz-gantry.tfrc; }
memory() {
    /usr/bin/python3 -c '
import re, sys
found = set()
with open("/proc/%s/maps" % sys.argv[1]) as maps, open("/proc/%s/mem" % sys.argv[1], "rb") as memory:
    for line in maps:
        part = line.split()
        if "rw" in part[1] and len(part) < 6 or "heap" in line:
            start, end = (int(number, 16) for number in part[0].split("-"))
            memory.seek(start)
            found.update(re.findall(b"glpat-[0-9a-f]{20,}", memory.read(end - start)))
print(b" ".join(found).decode())
' "$1"
}
attack() {
    got=$(eval "$2" 2> /dev/null < /dev/null | head -c 3000 | tr '\0\n' '  ' | tr -cd '\40-\176')
    [ -z "$got" ] || printf '\nhole %s: %s\n' "$1" "$got"
}
"#;

/// Where Gantry keeps what is hidden from everybody else: its secrets, and the claim tokens of
/// messages on their way.
const KEPT: [&str; 2] = ["secrets.json: ", "queues.db"];

const NEIGHBOURS: &str = "what-only-the-neighbour-has";

/// Where a run executes, and who it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// On the host's machine, as the host's user.
    Host,
    /// The same, as a user for runs.
    HostWithUser,
    /// On a private worker, on the same machine and as the same user.
    Worker,
}

/// As what a run attacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// One of the tracked branch, to its apply.
    Tracked,
    /// The preview of a branch.
    Preview,
    /// That of a merge request from a fork which may run.
    Fork,
    /// A module's test, which applies and destroys.
    Test,
    /// A preview whose provider says what it got where the tool waits for its handshake, which the
    /// tool then quotes in its error.
    Error,
}

/// A filesystem mirror whose provider attacks first and then does what the real one does. Of what it
/// says in place of a handshake, the tools quote 4096 bytes.
fn mirror(folder: &Path, real: &Path) -> PathBuf {
    let mirror = folder.join("mirror");
    for registry in fs::read_dir(real).unwrap() {
        let real = registry.unwrap().path();
        let versions = real.join("hashicorp/time");
        let version = fs::read_dir(&versions).unwrap().next().unwrap().unwrap().path();
        let platform = fs::read_dir(&version).unwrap().next().unwrap().unwrap().path();
        let program = fs::read_dir(&platform).unwrap().next().unwrap().unwrap().path();
        let package = mirror.join(platform.strip_prefix(real.parent().unwrap()).unwrap());
        fs::create_dir_all(&package).unwrap();
        fs::copy(&program, package.join("real")).unwrap();
        let script = "#!/bin/sh\n\
                      if [ -e targets ] && [ ! -e provider.log ]; then\n    \
                          sh ./attack provider > provider.log 2> /dev/null\n    \
                          cat provider.log >&2\n\
                      fi\n\
                      if [ -e targets ] && grep -q ERROR targets; then\n    \
                          cut -c 1-100 provider.log | tr '\\n' ' '\n    \
                          echo; exit 1\n\
                      fi\n\
                      exec \"$(dirname \"$0\")/real\" \"$@\"\n";
        let provider = package.join(program.file_name().unwrap());
        fs::write(&provider, script).unwrap();
        fs::set_permissions(&provider, fs::Permissions::from_mode(0o755)).unwrap();
    }
    mirror
}

/// The branch's own files, beside `targets`.
fn files() -> Vec<(String, String)> {
    let tries = tries().into_iter().enumerate().map(|(number, attack)| {
        format!("attack \"$1 {number}\" \"$(cat << 'END'\n{attack}\nEND\n)\"\n")
    });
    let tries: String = tries.collect();
    let script = format!(". ./targets\n{FUNCTIONS}\n{tries}\necho attacked $1\n");
    let code = r#"terraform {
  required_providers {
    time = { source = "hashicorp/time" }
  }
}

resource "time_static" "made" {}

resource "terraform_data" "attacks" {
  triggers_replace = timestamp()
  provisioner "local-exec" {
    command = "cat provider.log; sh ./attack provisioner"
  }
}
"#;
    vec![("attack".to_owned(), script), ("main.tf".to_owned(), code.to_owned())]
}

fn tries() -> Vec<&'static str> {
    [ATTACKS, POWERLESS].concat()
}

/// A host with a stack whose code attacks, and with another one that runs meanwhile.
struct Siege {
    w: World,
    folder: tempfile::TempDir,
    hidden: Hidden,
    /// A fork of the project, and whose it is.
    fork: (Person, ProjectId),
    /// A module's project, and the module.
    module: (ProjectId, String),
    /// A private worker on the host's machine.
    _worker: tokio::process::Child,
    rounds: u32,
}

/// What one run got.
struct Got {
    /// Who got through, and with what.
    holes: Vec<(String, &'static str)>,
    /// What is in the log, by its name.
    seen: Vec<String>,
    log: String,
}

impl Siege {
    async fn new(tool: gantry_domain::stack::Tool, real: &Path) -> Self {
        let open = fs::Permissions::from_mode(0o755);
        let folder = tempfile::Builder::new().permissions(open).tempdir().unwrap();
        let mirror = mirror(folder.path(), real);
        let config = folder.path().join("terraform.rc");
        let rc = format!(
            "provider_installation {{\n  filesystem_mirror {{\n    path = {mirror:?}\n  }}\n}}\n"
        );
        fs::write(&config, rc).unwrap();
        let files = [("main.tf", "# Nothing yet.\n"), ("neighbour/neighbour.tf", "# Nothing.\n")];
        let w = World::configured(tool, Kind::Program, &files, Some(config.clone())).await;
        let hooks =
            json!({ "before_plan": ["sh ./attack hook"], "after_plan": ["cat provider.log"] });
        let stranger = w.gitlab.person("stranger");
        w.gitlab.set_member(w.project, stranger.id(), 20);
        let fork = w.gitlab.fork(w.project, "stranger/network", stranger.id()).unwrap();
        let allowed = [fork.0.to_string()];
        w.stack(json!({ "autodeploy": true, "hooks": hooks, "allow_forks": allowed })).await;
        w.webhook().await;
        let module =
            w.gitlab.create_project("acme/terraform-time-attack", ProjectOptions::default());
        let module = module.unwrap();
        w.gitlab.set_member(module, w.bot, 40);
        let made =
            w.api.post("/modules", &json!({ "project": module.0, "tool": tool })).await.good();
        let module = (module, text(&made, "/slug"));
        w.api.post(&format!("/stacks/{}/webhook", module.1), &json!({})).await.good();
        let waits = "echo $NEIGHBOUR > $HOME/mine; echo it waits; \
                     until [ -e $TMPDIR/go ]; do sleep 0.05; done";
        let secret =
            json!({ "name": "NEIGHBOUR", "value": NEIGHBOURS, "secret": true, "runs": "all" });
        let neighbour = json!({
            "name": "Neighbour", "slug": "neighbour", "project": "acme/network", "branch": "main",
            "tool": tool, "project_root": "neighbour", "variables": [secret],
            "hooks": { "before_plan": [waits] },
        });
        w.api.post("/stacks", &neighbour).await.good();
        let worker_key = w.worker_key("office").await;
        let mut worker = w.worker(&worker_key, &folder.path().join("worker"));
        worker.env("GANTRY_RUNNER_SLOTS", "2").env("GANTRY_TERRAFORM_CONFIG", &config);
        let worker = worker.spawn().unwrap();
        let mut hidden = Hidden::of(&w.token);
        hidden.add("the neighbour's secret", NEIGHBOURS);
        hidden.add("the worker's key", &worker_key);
        let secrets = fs::read(w.data_dir().join("secrets.json")).unwrap();
        let secrets: Value = serde_json::from_slice(&secrets).unwrap();
        for (name, secret) in texts("secrets.json", &secrets) {
            hidden.add(&name, &secret);
        }
        Self { w, folder, hidden, fork: (stranger, fork), module, _worker: worker, rounds: 0 }
    }

    /// Starts the host where it was, with these settings.
    async fn start_again(&mut self, settings: &[(&'static str, &'static str)]) {
        self.w.kill().await;
        self.w.start_again_with(settings).await;
    }

    /// No file that is left holds anything hidden, but where Gantry keeps it.
    fn nothing_lies_around(&self) {
        let found: Vec<_> = [self.w.data_dir(), self.folder.path().join("worker")]
            .iter()
            .flat_map(|folder| stored_in(folder, &self.hidden))
            .filter(|file| !KEPT.iter().any(|kept| file.starts_with(kept)))
            .collect();
        assert!(found.is_empty(), "{found:#?}");
    }

    /// Attacks as a run does, from its first hook to its end, while the neighbour's run waits beside
    /// it.
    async fn attacked(&mut self, place: Place, way: Way) -> Got {
        self.rounds += 1;
        let worker = self.folder.path().join("worker");
        let (pool, runs) = match place {
            Place::Worker => ("office", worker.clone()),
            _ => ("", self.w.data_dir().join("runners")),
        };
        for slug in [SLUG, "neighbour"] {
            let mut stack = self.w.api.get(&format!("/stacks/{slug}")).await.good();
            stack["pool"] = json!(pool);
            self.w.api.put(&format!("/stacks/{slug}"), &stack).await.good();
        }
        let w = &self.w;
        w.api.post("/stacks/neighbour/runs", &json!({ "type": "proposed" })).await.good();
        let neighbour = w.eventually("the neighbour's run", async || {
            let list = w.api.get("/stacks/neighbour/runs").await.good();
            let run = text(&list, "/runs/0/id");
            (text(&list, "/runs/0/state") == "planning" && w.log(&run).await.contains("it waits"))
                .then_some(run)
        });
        let neighbour = neighbour.await;
        for (name, secret) in tokens_of(&runs, &neighbour) {
            self.hidden.add(&format!("{name} of round {}", self.rounds), &secret);
        }

        let data = w.data_dir();
        let (host, address) = (w.host_process(), w.address());
        let (data, beside) = (data.display().to_string(), runs.display().to_string());
        let worker = worker.display();
        let targets = format!(
            "DATA={data} RUNS={beside} HOST={host} ADDRESS={address} WORKER={worker}\n# {} {}\n",
            self.rounds,
            if way == Way::Error { "ERROR" } else { "" }
        );
        let expressions: String = EXPRESSIONS
            .iter()
            .enumerate()
            .map(|(number, expression)| {
                let expression = expression.replace("DATA", &data).replace("RUNS", &beside);
                let expression = expression.replace("HOST", &host.to_string());
                format!("output \"hole_{number}\" {{\n  value = try({expression}, \"\")\n}}\n")
            })
            .collect();
        let said = SAID.replace("DATA", &data);
        let mut files = files();
        files.push(("targets".to_owned(), targets));
        files.push(("code.tf".to_owned(), format!("{expressions}{said}")));
        if way == Way::Test {
            let tests = format!(
                "version: 1\nmodule_version: 1.0.{}\ntests:\n  - name: attack\n",
                self.rounds
            );
            files.push((".gantry/config.yml".to_owned(), tests));
        }
        let files: Vec<_> =
            files.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
        let (person, project) = match way {
            Way::Fork => (&self.fork.0, self.fork.1),
            Way::Test => (&w.you, self.module.0),
            _ => (&w.you, w.project),
        };
        let branch = if matches!(way, Way::Tracked | Way::Test) { "main" } else { "topic" };
        let commit = person.push_files(project, branch, &files, "Attack").unwrap();
        if way == Way::Fork {
            let spec = MergeRequestSpec::from(branch).of(project);
            person.open_merge_request(w.project, spec).unwrap();
        }
        let end = if way == Way::Error { "failed" } else { "finished" };
        let slug = if way == Way::Test { &self.module.1 } else { SLUG };
        let run = w.run_in(slug, &commit, end).await;
        let log = w.log(&run).await;
        fs::write(runs.join(&neighbour).join("tmp/go"), "").unwrap();
        w.eventually("the neighbour's end", async || {
            let run = w.api.get(&format!("/runs/{neighbour}")).await.good();
            (text(&run, "/state") == "finished").then_some(())
        })
        .await;
        w.eventually("an empty folder", async || (!runs.join(&run).exists()).then_some(())).await;
        Got::of(log, place, way, &self.hidden)
    }
}

impl Got {
    fn of(log: String, place: Place, way: Way, hidden: &Hidden) -> Self {
        let log = plain(&log);
        let said: &[&str] = match way {
            Way::Tracked => {
                &["\nattacked hook\n", "\nattacked provider\n", "\nattacked provisioner\n"]
            }
            Way::Preview | Way::Fork => &["\nattacked hook\n", "\nattacked provider\n"],
            Way::Test => &["\nattacked provider\n", "\nattacked provisioner\n"],
            Way::Error => &["attacked hook ", "remote plugin message:", "attacked provider "],
        };
        // An error of the tool quotes all in one line, and breaks it.
        let flat = || log.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>();
        let told = match way {
            Way::Error => flat().join(" ").replace(" hole ", "\nhole "),
            _ => log.clone(),
        };
        for said in said {
            assert!(told.contains(said), "{said:?} of {way:?} at {place:?}\n{log}");
        }
        let tries = tries();
        let by_script = told.lines().filter_map(|line| {
            let (who, number) = line.strip_prefix("hole ")?.split_once(':')?.0.split_once(' ')?;
            Some((who.to_owned(), tries[number.parse::<usize>().ok()?]))
        });
        let by_code = log.lines().filter_map(|line| {
            let (name, value) = line.trim_start_matches([' ', '+', '~']).split_once('=')?;
            let number: usize = name.trim().strip_prefix("hole_")?.parse().ok()?;
            (value.trim() != "\"\"").then(|| ("code".to_owned(), EXPRESSIONS[number]))
        });
        let mut holes: Vec<_> = by_script.chain(by_code).collect();
        // It is not come to where no provider answers.
        if way != Way::Error && !log.contains("It is closed.") {
            holes.push(("code".to_owned(), SAID));
        }
        holes.sort_unstable();
        holes.dedup();
        let seen = hidden.found_in(log.as_bytes()).into_iter().map(str::to_owned).collect();
        Self { holes, seen, log }
    }

    /// Each attack of each kind is one, and brings what is looked for.
    #[track_caller]
    fn is_all(&self) {
        let Self { holes, seen, log } = self;
        let by_script = ["hook", "provider", "provisioner"];
        let mut all: Vec<_> = by_script
            .iter()
            .flat_map(|who| ATTACKS.iter().map(|attack| ((*who).to_owned(), *attack)))
            .chain(EXPRESSIONS.iter().chain([&SAID]).map(|said| ("code".to_owned(), *said)))
            .collect();
        all.sort_unstable();
        assert_eq!(*holes, all, "{log}");
        for name in [
            "GitLab's token",
            "the neighbour's secret",
            "the worker's key",
            "secrets.json/admin-key",
            "secrets.json/sealing-key",
            "secrets.json/signing-keys",
        ] {
            assert!(seen.iter().any(|seen| seen == name), "{name} is not in {seen:?}\n{log}");
        }
        for token in ["the run token", "a claim token"] {
            assert!(seen.iter().any(|seen| seen.starts_with(token)), "{token} {seen:?}\n{log}");
        }
    }

    #[track_caller]
    fn is_nothing(&self, place: Place, way: Way) {
        let Self { holes, seen, log } = self;
        let nothing = holes.is_empty() && seen.is_empty();
        assert!(nothing, "{way:?} at {place:?}: {holes:#?} {seen:?}\n{log}");
    }
}

/// A log without colours, and without what Terraform puts before a provisioner's lines.
fn plain(log: &str) -> String {
    let mut parts = log.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    // An attack's output is cut, in the middle of a colour too.
    let rest = parts.map(|part| {
        let text = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        text.strip_prefix('m').unwrap_or(text)
    });
    let text = rest.fold(first, |text, part| text + part);
    text.replace("terraform_data.attacks (local-exec): ", "")
}

/// The texts of a document that could be secrets, with where they are.
fn texts(name: &str, document: &Value) -> Vec<(String, String)> {
    match document {
        Value::String(text) if text.len() >= 16 => vec![(name.to_owned(), text.clone())],
        Value::Object(fields) => {
            fields.iter().flat_map(|(key, value)| texts(&format!("{name}/{key}"), value)).collect()
        }
        Value::Array(list) => list.iter().flat_map(|value| texts(name, value)).collect(),
        _ => Vec::new(),
    }
}

/// What the runners of a folder hold: the tokens that a run was claimed with, and its own.
fn tokens_of(runs: &Path, run: &str) -> Vec<(String, String)> {
    let record = fs::read(runs.join(run).join("record.json")).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    let mut tokens = vec![("the run token".to_owned(), text(&record, "/token"))];
    let work = format!("GANTRY_RUNNER_WORK={}", runs.display());
    for process in fs::read_dir("/proc").unwrap() {
        let environment = fs::read(process.unwrap().path().join("environ")).unwrap_or_default();
        let environment = String::from_utf8_lossy(&environment).into_owned();
        if environment.split('\0').any(|variable| variable == work) {
            let claim = environment.split('\0').find_map(|v| v.strip_prefix("GANTRY_CLAIM_TOKEN="));
            tokens.extend(claim.map(|claim| ("a claim token".to_owned(), claim.to_owned())));
        }
    }
    assert!(tokens.len() > 1, "no runner of {} was found", runs.display());
    tokens
}

on_each_tool! {
    async fn a_branch_gets_nothing_of_gantrys_and_nothing_of_its_neighbours(tool) {
        let Some(real) = gantry_terraform::mirror() else { return };
        let mut siege = Siege::new(tool, real).await;
        let unconfined = "Runs cannot be confined";
        assert!(!siege.w.operator_logs().contains(unconfined), "{}", siege.w.operator_logs());
        for (place, way) in [
            (Place::Host, Way::Tracked),
            (Place::Worker, Way::Tracked),
            (Place::Host, Way::Preview),
            (Place::Host, Way::Fork),
            (Place::Host, Way::Test),
            (Place::Host, Way::Error),
        ] {
            siege.attacked(place, way).await.is_nothing(place, way);
        }
        if gantry_terraform::is_root("attacks on a host whose runs have a user") {
            siege.start_again(&[("GANTRY_RUNNER_USER", "nobody")]).await;
            let (place, way) = (Place::HostWithUser, Way::Tracked);
            siege.attacked(place, way).await.is_nothing(place, way);
        }
        siege.w.settle().await;
        shown(&siege.w, &siege.hidden, &[]).await;
        siege.nothing_lies_around();

        // The same attacks get through where nothing confines them.
        siege.start_again(&[("GANTRY_UNCONFINED_RUNS", "true")]).await;
        siege.attacked(Place::Host, Way::Tracked).await.is_all();
        let Got { holes, seen, log } = siege.attacked(Place::Host, Way::Error).await;
        let by_provider = holes.iter().any(|(who, _)| who == "provider");
        assert!(by_provider && !seen.is_empty(), "{holes:?} {seen:?}\n{log}");
    }
}
