//! Random plans of both tools, made with the provider for tests: what the note, the page and the
//! API say of them is compared with what their JSON says, read once more and in another way.
//!
//! `GANTRY_PLANS` says how many of each kind (`make test-plans`), `GANTRY_SEED` which is the first;
//! with `GANTRY_SHOW` code and plans are printed.

mod generate;
mod reading;
mod shown;
mod value;

use crate::{
    browser::Browser,
    support::{World, connected},
};
use bytes::Bytes;
use gantry_domain::{
    MergeRequestIid, ProjectId,
    masking::Masker,
    plan::{Change, Limits},
    run::{Run, RunState, RunType},
    stack::{CommentLevel, Tool},
    text::{
        note::{AfterMerge, MergeRequestState, NoteInput, NoteStack, render},
        status::RunView,
    },
};
use gantry_terraform::{mirror_config, on_each_tool, test_provider, test_provider_code};
use generate::{Features, Generated, generate};
use reading::Reading;
use serde_json::{Value as Json, json};
use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Output},
};

/// Plans of each tool, where nobody asks for more.
const PLANS: u64 = 20;

on_each_tool! {
    async fn what_is_shown_is_what_the_plan_says(tool) {
        let features = Features { kept: tool == Tool::OpenTofu, ..Features::default() };
        compare_random(tool, None, features).await;
    }
}

/// On the Terraform that knows them.
#[tokio::test]
async fn what_is_shown_of_actions_is_what_the_plan_says() {
    let (first, _) = gantry_terraform::with_actions();
    let features = Features { actions: true, ..Features::default() };
    compare_random(Tool::Terraform, Some(first), features).await;
}

async fn compare_random(tool: Tool, first_on_path: Option<PathBuf>, features: Features) {
    let number = |name: &str| asked(name).parse().ok();
    let first = number("GANTRY_SEED").unwrap_or_else(|| rand::random_range(0..1_000_000_000));
    let place = Place::new(tool, first_on_path);
    let w = connected().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Unconfirmed).await;
    for seed in first..first + number("GANTRY_PLANS").unwrap_or(PLANS) {
        let what = format!("GANTRY_SEED={seed} GANTRY_PLANS=1, {}", tool.name());
        let generated = generate(seed, features);
        let Some((plan, is_changed)) = place.plan(&generated, &what) else { continue };
        if !asked("GANTRY_SHOW").is_empty() {
            print(&generated, &plan);
        }
        let change = compare(&w, run.clone(), tool, &generated, &plan, &what).await;
        // What only drifted is no change.
        let is_refresh = generated.arguments.iter().any(|argument| argument == "-refresh-only");
        assert!(is_changed != change.delta.is_empty() || is_refresh, "{what}: {}", change.delta);
    }
}

/// What whoever runs the tests asks for; empty for nothing.
#[expect(clippy::disallowed_methods, reason = "what the tests were started with, not a setting")]
pub(crate) fn asked(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// For whoever asks to see it.
fn print(Generated { root, module, arguments, .. }: &Generated, plan: &str) {
    let all = format!("{root}\n# m\n{module}\n{arguments:?}\n{plan}\n");
    std::io::stderr().write_all(all.as_bytes()).unwrap();
}

/// A folder with code for a tool, and the folder outside where its objects lie.
struct Place {
    folder: tempfile::TempDir,
    tool: Tool,
    path: String,
}

impl Place {
    fn new(tool: Tool, first_on_path: Option<PathBuf>) -> Self {
        let first = first_on_path.map(|folder| format!("{}:", folder.display()));
        let path = first.unwrap_or_default() + &gantry_terraform::path();
        let place = Self { folder: tempfile::tempdir().unwrap(), tool, path };
        fs::create_dir_all(place.path("code/m")).unwrap();
        fs::write(place.path("rc"), mirror_config(test_provider())).unwrap();
        let empty = Generated {
            root: "module \"m\" {\n  source = \"./m\"\n}\n".to_owned(),
            ..Generated::default()
        };
        place.write(&empty);
        let init = place.run(&["init", "-no-color"]);
        assert!(init.status.success(), "{init:?}");
        place
    }

    fn write(&self, generated: &Generated) {
        let _none_yet = fs::remove_dir_all(self.path("outside"));
        fs::create_dir(self.path("outside")).unwrap();
        for (id, object) in &generated.outside {
            fs::write(self.path("outside").join(format!("{id}.json")), object).unwrap();
        }
        let code = test_provider_code(&self.path("outside"));
        let (requires, _) = code.split_once("\nprovider").unwrap();
        fs::write(self.path("code/main.tf"), format!("{code}{}", generated.root)).unwrap();
        fs::write(self.path("code/m/main.tf"), format!("{requires}{}", generated.module)).unwrap();
        fs::write(self.path("code/terraform.tfstate"), &generated.state).unwrap();
    }

    /// The JSON of a plan, and whether the tool says that there is something to apply; none where
    /// it refuses to look at a part.
    fn plan(&self, generated: &Generated, what: &str) -> Option<(String, bool)> {
        self.write(generated);
        let arguments = generated.arguments.iter().map(String::as_str);
        let plan = ["plan", "-no-color", "-out=plan", "-detailed-exitcode"].into_iter();
        let planned = self.run(&plan.chain(arguments).collect::<Vec<_>>());
        let said = String::from_utf8_lossy(&planned.stderr);
        let code = planned.status.code();
        // What has got a `count` has moved by that alone.
        if said.contains("Moved resource instances excluded by targeting") {
            return None;
        }
        assert!(matches!(code, Some(0 | 2)), "{what}: {said}\n{}", generated.root);
        let shown = self.run(&["show", "-json", "plan"]);
        assert!(shown.status.success(), "{what}: {shown:?}");
        Some((String::from_utf8(shown.stdout).unwrap(), code == Some(2)))
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(self.tool.command())
            .args(arguments)
            .current_dir(self.path("code"))
            .env("PATH", &self.path)
            .env("TF_CLI_CONFIG_FILE", self.path("rc"))
            .env("CHECKPOINT_DISABLE", "1")
            .output()
            .unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

async fn compare(
    w: &World,
    mut run: Run,
    tool: Tool,
    generated: &Generated,
    plan: &str,
    what: &str,
) -> Change {
    let state: Json = serde_json::from_str(&generated.state).unwrap();
    let was_marked = |name: &str| state["outputs"][name]["sensitive"] == true;
    let reading = Reading::of(plan, was_marked);
    let read =
        |limits| Change::from_plan(plan.as_bytes(), tool, limits, &Masker::default()).unwrap().0;
    let change = read(Limits::default());
    run.delta = Some(change.delta);
    let body = Bytes::from(serde_json::to_vec(&change).unwrap());
    w.objects.put(&gantry_objects::keys::change(&run.id, run.attempt), body).await.unwrap();
    w.save_run(&run).await;

    let api = w.get(&format!("/api/v1/runs/{}/change", run.id)).await.expect(200).body;
    shown::in_the_api(&reading, &api, what);
    let page = Browser::sign_in(w, &w.admin).await.get(&format!("/runs/{}", run.id)).await;
    let (page, note) = (page.expect(200).text, note(&run, change.clone()));
    shown::on_the_page(&reading, &api, &page, what);
    shown::in_the_note(&reading, &api, &note, what);

    let some = Limits { resources: 2, attributes: 3, ..Limits::default() };
    let no_room = Limits { total_bytes: 0, ..Limits::default() };
    for limits in [some, no_room] {
        shown::counted(&json!(change), &json!(read(limits)), what);
    }
    change
}

fn note(run: &Run, change: Change) -> String {
    let run = Run { run_type: RunType::Proposed, state: RunState::Finished, ..run.clone() };
    let stack = NoteStack {
        run: RunView::of(&run, "https://gantry.example/runs/1".to_owned()),
        level: CommentLevel::Full,
        change: Some(change),
        errors: Vec::new(),
        log_tail: Vec::new(),
        applied_since: None,
        after_merge: AfterMerge::Nothing,
        mentions: false,
        blocks: false,
    };
    render(&NoteInput {
        installation: "i".to_owned(),
        project: ProjectId(1),
        iid: MergeRequestIid(1),
        commit: run.commit.clone(),
        target_branch: "main".to_owned(),
        behind: None,
        state: MergeRequestState::Open,
        stacks: vec![stack],
        tracked: Vec::new(),
    })
}
