//! A secret that nobody marked sensitive is shown nowhere, and GitLab's token reaches no run.

use crate::support::{Kind, SLUG, World, array, text};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use gantry_fake_gitlab::{MergeRequestIid, ProjectOptions};
use gantry_terraform::on_each_tool;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// With characters that JSON, HTML and addresses write in other ways.
const SECRET: &str = "Zx9/never+shown&\"at<all>=42";

/// Prints the secret wherever Terraform prints anything.
const CARELESS: &str = r#"variable "x" {
  type = string
}

resource "terraform_data" "raw" {
  input = var.x
}

resource "terraform_data" "address" {
  input = { json = jsonencode({ password = var.x }), url = "https://u:${urlencode(var.x)}@host" }
}

output "encoded" {
  value = base64encode("user:${var.x}")
}
"#;

const ERROR: &str = r#"
resource "terraform_data" "refused" {
  lifecycle {
    precondition {
      condition     = var.x == ""
      error_message = "the password ${var.x} is refused"
    }
  }
}
"#;

/// Prints the environment, and that of every ancestor that it may look at.
const ENVIRONMENTS: &str = r#"env | sort
pid=$$
while [ "$pid" -gt 1 ]; do
  echo "environment of $(cat /proc/$pid/comm)"
  tr '\0' '\n' 2> /dev/null < /proc/$pid/environ || echo "not allowed"
  pid=$(sed 's/.*) //' /proc/$pid/stat | cut -d' ' -f2)
done"#;

/// Everything that must be shown nowhere, with a name for people.
pub(crate) struct Hidden(Vec<(String, String)>);

impl Hidden {
    pub(crate) fn of(token: &str) -> Self {
        let json = json!(SECRET).to_string().trim_matches('"').to_owned();
        let go = json.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e");
        let html = SECRET.replace('&', "&amp;").replace('"', "&quot;");
        let html = html.replace('<', "&lt;").replace('>', "&gt;");
        let hidden = [
            ("the secret", SECRET.to_owned()),
            ("the secret in JSON", json),
            ("the secret in Terraform's JSON", go),
            ("the secret in HTML", html),
            ("the secret in base64", STANDARD.encode(SECRET)),
            ("a part of the secret", "never+shown".to_owned()),
            ("GitLab's token", token.to_owned()),
        ];
        Self(hidden.into_iter().map(|(name, secret)| (name.to_owned(), secret)).collect())
    }

    /// One more.
    pub(crate) fn add(&mut self, name: &str, secret: &str) {
        self.0.push((name.to_owned(), secret.to_owned()));
    }

    /// The names of what is in a text.
    pub(crate) fn found_in(&self, bytes: &[u8]) -> Vec<&str> {
        let is_in = |secret: &str| bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
        self.0.iter().filter(|(_, secret)| is_in(secret)).map(|(name, _)| name.as_str()).collect()
    }

    #[track_caller]
    fn are_not_in(&self, place: &str, text: &str) {
        let found = self.found_in(text.as_bytes());
        assert!(found.is_empty(), "{place} shows {found:?}:\n{text}");
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all
}

/// The files below the data folder that hold something hidden, as `file: what`.
fn stored(w: &World, hidden: &Hidden) -> Vec<String> {
    stored_in(&w.data_dir(), hidden)
}

/// The same below any folder.
pub(crate) fn stored_in(folder: &Path, hidden: &Hidden) -> Vec<String> {
    let found = files(folder).into_iter().filter_map(|path| {
        let bytes = std::fs::read(&path).ok()?;
        let found = hidden.found_in(&bytes);
        let path = path.strip_prefix(folder).unwrap().display().to_string();
        (!found.is_empty()).then(|| format!("{path}: {found:?}"))
    });
    found.collect()
}

/// Everything that GitLab shows.
fn at_gitlab(w: &World, iids: &[MergeRequestIid]) -> String {
    let notes: Vec<_> = iids.iter().map(|iid| w.gitlab.all_notes(w.project, *iid)).collect();
    let pipelines = w.gitlab.pipelines(w.project);
    let environments = w.gitlab.environments(w.project);
    let said: String = notes.iter().flatten().map(|note| note.body.as_str()).collect();
    format!("{said}\n{notes:?}\n{pipelines:?}\n{environments:?}")
}

/// What there is for the parts of addresses that vary.
struct Things {
    stacks: Vec<String>,
    modules: Vec<String>,
    runs: Vec<String>,
    events: Vec<String>,
}

impl Things {
    async fn of(w: &World) -> Self {
        let names = async |path: &str, list: &str, name: &str| -> Vec<String> {
            let found = w.api.get(path).await.good();
            array(&found, list).iter().map(|one| text(one, name)).collect()
        };
        let stacks = names("/stacks", "/stacks", "/slug").await;
        let modules = names("/modules", "/modules", "/slug").await;
        let mut runs = Vec::new();
        for stack in stacks.iter().chain(&modules) {
            runs.extend(names(&format!("/stacks/{stack}/runs?limit=100"), "/runs", "/id").await);
        }
        Self { stacks, modules, runs, events: names("/events", "/events", "/id").await }
    }

    /// The addresses that a route stands for. A new part that varies is to be named here.
    fn fill(&self, route: &str) -> Vec<String> {
        let ids = match route {
            // Terraform's, with tokens of its own, and what belongs to no record.
            _ if route.starts_with("/registry/") || route.starts_with("/assets/") => return vec![],
            "/api/v1/modules/{slug}/versions/{version}" => return vec![],
            // Nobody is notified here.
            _ if route.contains("/notifications/{target}") => return vec![],
            // For who has asked for it.
            "/api/v1/commands/{slug}/{request}" => return vec![],
            _ if route.contains("/modules/{slug}") => &self.modules,
            _ if route.contains("/stacks/{slug}") => &self.stacks,
            _ if route.contains("/runs/{id}") => &self.runs,
            _ if route.contains("/events/{id}") => &self.events,
            _ => &vec![String::new()],
        };
        let fill = |id: &String| route.replace("{slug}", id).replace("{id}", id);
        let filled: Vec<_> = ids.iter().map(fill).collect();
        assert!(filled.iter().all(|path| !path.contains('{')), "what is in {route}?");
        filled
    }
}

/// Questions that are refused where there is nothing to ask, lists for what was typed, what needs
/// a second run to compare with, and the way to GitLab and back where nobody signs in with it.
const MAY_BE_REFUSED: [&str; 14] = [
    "/sign-in/gitlab",
    "/sign-in/gitlab/callback",
    "/stacks/{slug}/catch-up",
    "/stacks/{slug}/restore",
    "/stacks/{slug}/unlock",
    "/account/end",
    "/people/end",
    "/keys/delete",
    "/operations/redrive",
    "/pick/projects",
    "/pick/branches",
    "/pick/root",
    "/runs/{id}/compare",
    "/api/v1/runs/{id}/compare",
];

/// All that the pages and the API show to an admin, and every run's page to who has its address.
async fn at_gantry(w: &World) -> String {
    let mut all = String::new();
    let things = Things::of(w).await;
    for run in &things.runs {
        all.push_str(&w.log(run).await);
    }
    let cookie = w.api.sign_in().await;
    let mut refused = Vec::new();
    for route in gantry_settings::addresses() {
        let (mut is_seen, mut last) = (false, None);
        for path in things.fill(route) {
            let answer = w.api.look(&path, &cookie).await;
            is_seen |= answer.status.is_success();
            all.push_str(&answer.body);
            last = Some(answer.status);
        }
        // A run that has failed has no change, but another has one.
        if !is_seen && !MAY_BE_REFUSED.contains(&route) {
            refused.extend(last.map(|status| (route, status)));
        }
    }
    assert!(refused.is_empty(), "not seen: {refused:?}");
    let jobs = w.gitlab.pipelines(w.project).into_iter().flat_map(|pipeline| pipeline.jobs);
    // The gate of several runs leads to what only those who are signed in see.
    let pages = jobs.filter_map(|job| job.target_url).filter(|page| page.contains("/runs/"));
    let pages: Vec<_> = pages.collect();
    assert!(pages.len() >= w.runs().await.len(), "{pages:?}");
    for page in pages {
        let page = w.api.page(&page).await;
        assert!(page.status.is_success(), "{page:?}");
        all.push_str(&page.body);
    }
    all
}

pub(crate) async fn shown(w: &World, hidden: &Hidden, iids: &[MergeRequestIid]) {
    hidden.are_not_in("GitLab", &at_gitlab(w, iids));
    hidden.are_not_in("the API or a page", &at_gantry(w).await);
    hidden.are_not_in("a log for operators", &w.operator_logs());
}

fn stack() -> Value {
    let shouts = "echo plain $TF_VAR_x; printf %s \"$TF_VAR_x\" | base64 -w0; echo; \
                  printf 'user:%s' \"$TF_VAR_x\" | base64 -w0; echo; printf %s \"$TF_VAR_x\" >&2";
    json!({
        "variables": [{ "name": "TF_VAR_x", "value": SECRET, "secret": true, "runs": "all" }],
        "hooks": { "before_plan": [shouts, ENVIRONMENTS], "before_apply": [shouts, ENVIRONMENTS] },
    })
}

on_each_tool! {
    async fn a_careless_secret_is_shown_nowhere(tool) {
        let w = World::on(tool, Kind::Program, &[("main.tf", "# Nothing yet.\n")]).await;
        let hidden = Hidden::of(&w.token);
        w.stack(stack()).await;
        w.webhook().await;
        let module = w.gitlab.create_project("acme/terraform-aws-net", ProjectOptions::default());
        let module = module.unwrap();
        w.gitlab.set_member(module, w.bot, 40);
        let variables = stack()["variables"].clone();
        let module = json!({ "project": module.0, "tool": tool, "variables": variables });
        w.api.post("/modules", &module).await.good();

        let good = w.push("topic", CARELESS);
        let first = w.open("topic");
        let run = w.run_is(&good, "finished").await;
        let bad = w.push("bad", &format!("{CARELESS}{ERROR}"));
        let second = w.open("bad");
        let failed = w.run_is(&bad, "failed").await;
        w.note(first, "address").await;
        w.note(second, "is refused").await;
        w.settle().await;
        // It was printed, and looked for: this is no empty test.
        for run in [&run, &failed] {
            let log = w.log(run).await;
            for line in ["TF_VAR_x=(secret)", "plain (secret)", "not allowed"] {
                assert!(log.lines().any(|said| said == line), "{line}\n{log}");
            }
        }
        let at_gitlab = at_gitlab(&w, &[first, second]);
        assert!(at_gitlab.contains("the password (secret) is refused"), "{at_gitlab}");
        shown(&w, &hidden, &[first, second]).await;
        let integration = ["secrets.json: [\"GitLab's token\"]"];
        assert_eq!(stored(&w, &hidden), integration);

        let head = w.merge(first);
        w.run_is(&head, "unconfirmed").await;
        w.settle().await;
        shown(&w, &hidden, &[first, second]).await;
        assert_eq!(stored(&w, &hidden), integration);

        w.apply(&head).await;
        w.settle().await;
        shown(&w, &hidden, &[first, second]).await;
        // Terraform's state holds what it manages, in the clear: only administrators read it.
        let elsewhere = |file: &String| !file.starts_with("objects/state/");
        let left: Vec<_> = stored(&w, &hidden).into_iter().filter(elsewhere).collect();
        assert_eq!(left, integration);
    }
}

/// What the secret is replaced by.
const NEXT: &str = "next-password-1";
/// A part of a document that is a secret.
const PART: &str = "correct-horse-7";

/// Previews get the default, and the state holds the secret.
const WITH_DEFAULT: &str = r#"variable "x" {
  type    = string
  default = "none"
}

variable "db" {
  type    = string
  default = "{}"
}

resource "terraform_data" "raw" {
  input = var.x
}

resource "terraform_data" "address" {
  input = {
    json = jsonencode({ password = var.x })
    url  = "https://u:${urlencode(var.x)}@host"
    db   = "postgres://app:${try(jsondecode(var.db).password, "none")}@db"
  }
}

output "encoded" {
  value = base64encode("user:${var.x}")
}
"#;

/// The state holds what it was made with, whatever is applied later.
const IGNORING: &str = r#"
resource "terraform_data" "ignoring" {
  input = "as ${var.x}"
  lifecycle {
    ignore_changes = [input]
  }
}
"#;

gantry_terraform::on_each_tool! {
    /// The runner of a preview does not know the secret that the state holds, and nobody but
    /// Gantry knows the one that was there before.
    async fn a_preview_shows_no_secret_of_the_state(tool) {
        let w = World::new(Kind::Program, &[("main.tf", "# Nothing yet.\n")]).await;
        let mut hidden = Hidden::of(&w.token);
        hidden.add("the next secret", NEXT);
        hidden.add("a part of a document", PART);
        let variables = |x: &str| {
            let db = json!({ "user": "app", "password": PART }).to_string();
            json!([
                { "name": "TF_VAR_x", "value": x, "secret": true, "runs": "tracked" },
                { "name": "TF_VAR_db", "value": db, "secret": true, "runs": "tracked" },
            ])
        };
        w.stack(json!({ "tool": tool, "variables": variables(SECRET) })).await;
        w.webhook().await;
        let code = format!("{WITH_DEFAULT}{IGNORING}");
        w.push("topic", &code);
        let first = w.open("topic");
        let head = w.merge(first);
        w.run_is(&head, "unconfirmed").await;
        w.apply(&head).await;

        let seen = w.push("preview", &format!("{code}# The same.\n"));
        let second = w.open("preview");
        let run = w.run_is(&seen, "finished").await;
        w.note(second, "address").await;
        w.settle().await;
        let log = w.log(&run).await;
        assert!(log.contains("https://u:(secret)@host"), "{log}");
        shown(&w, &hidden, &[first, second]).await;

        // The secret is replaced: the state still holds the one before.
        let changed = json!({ "variables": variables(NEXT) });
        w.api.put(&format!("/stacks/{SLUG}"), &changed).await.good();
        let seen = w.push("other", &format!("{code}# The same again.\n"));
        let third = w.open("other");
        w.run_is(&seen, "finished").await;
        w.note(third, "address").await;
        let head = w.merge(third);
        w.run_is(&head, "unconfirmed").await;
        w.apply(&head).await;
        w.settle().await;
        shown(&w, &hidden, &[first, second, third]).await;

        // It was applied away, but for what ignores that.
        w.api.put(&format!("/stacks/{SLUG}"), &changed).await.good();
        let seen = w.push("last", WITH_DEFAULT);
        let fourth = w.open("last");
        let run = w.run_is(&seen, "finished").await;
        w.note(fourth, "ignoring").await;
        w.settle().await;
        let log = w.log(&run).await;
        assert!(log.contains("\"as (secret)\""), "{log}");
        shown(&w, &hidden, &[first, second, third, fourth]).await;
    }
}
