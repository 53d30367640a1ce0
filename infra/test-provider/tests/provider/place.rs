//! A folder with code for a tool, and the folder outside where its objects lie.

use gantry_domain::stack::Tool;
use serde_json::{Value, json};
use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

pub(crate) struct Place {
    folder: tempfile::TempDir,
    tool: Tool,
}

impl Place {
    pub(crate) fn new(tool: Tool) -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap(), tool };
        for folder in ["code", "outside", "tmp"] {
            fs::create_dir(place.path(folder)).unwrap();
        }
        let config = gantry_terraform::mirror_config(gantry_terraform::test_provider());
        fs::write(place.path("rc"), config).unwrap();
        place.write("");
        let init = place.run(&["init", "-no-color"]);
        assert!(init.status.success(), "{init:?}");
        place
    }

    /// Writes the code; how the provider is found and configured is there.
    pub(crate) fn write(&self, code: &str) {
        let provider = gantry_terraform::test_provider_code(&self.path("outside"));
        fs::write(self.path("code/main.tf"), provider + code).unwrap();
    }

    /// What is planned, as the tool shows it in JSON.
    #[track_caller]
    pub(crate) fn plan(&self) -> Value {
        let plan = self.run(&["plan", "-no-color", "-out=plan"]);
        assert!(plan.status.success(), "{plan:?}");
        serde_json::from_str(&self.shown()).unwrap()
    }

    /// The plan's JSON as the tool wrote it.
    #[track_caller]
    pub(crate) fn shown(&self) -> String {
        let shown = self.run(&["show", "-json", "plan"]);
        assert!(shown.status.success(), "{shown:?}");
        String::from_utf8(shown.stdout).unwrap()
    }

    /// Applies what was planned.
    #[track_caller]
    pub(crate) fn apply(&self) {
        let apply = self.run(&["apply", "-no-color", "plan"]);
        assert!(apply.status.success(), "{apply:?}");
    }

    /// What the tool says when it cannot apply what was planned.
    #[track_caller]
    pub(crate) fn fails(&self) -> String {
        let apply = self.run(&["apply", "-no-color", "plan"]);
        assert!(!apply.status.success(), "{apply:?}");
        text(&apply)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.tool.command());
        command
            .args(arguments)
            .current_dir(self.path("code"))
            .env("PATH", gantry_terraform::path())
            .env("TF_CLI_CONFIG_FILE", self.path("rc"))
            .env("TMPDIR", self.path("tmp"))
            .env("CHECKPOINT_DISABLE", "1");
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// An object as it is outside.
    pub(crate) fn outside(&self, id: &str) -> Option<Value> {
        let text = fs::read_to_string(self.file(id)).ok()?;
        Some(serde_json::from_str(&text).unwrap())
    }

    /// What somebody does to an object by hand.
    pub(crate) fn edit(&self, id: &str, edit: impl FnOnce(&mut Value)) {
        let mut object = self.outside(id).unwrap();
        edit(&mut object);
        fs::write(self.file(id), object.to_string()).unwrap();
    }

    pub(crate) fn delete(&self, id: &str) {
        fs::remove_file(self.file(id)).unwrap();
    }

    /// How many providers run that this place's tool has started.
    pub(crate) fn providers(&self) -> usize {
        let tmp = format!("TMPDIR={}", self.path("tmp").display());
        let is_ours = |process: &fs::DirEntry| {
            let program = fs::read_link(process.path().join("exe")).unwrap_or_default();
            let environment = fs::read(process.path().join("environ")).unwrap_or_default();
            program.display().to_string().contains("terraform-provider-test")
                && environment.split(|byte| *byte == 0).any(|entry| entry == tmp.as_bytes())
        };
        fs::read_dir("/proc").unwrap().flatten().filter(is_ours).count()
    }

    pub(crate) fn left_in_tmp(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("tmp")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().display().to_string()).collect()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, id: &str) -> PathBuf {
        self.path("outside").join(format!("{id}.json"))
    }
}

/// A resource's block.
pub(crate) fn object(name: &str, has: &str) -> String {
    format!("resource \"test_object\" \"{name}\" {{\n{has}\n}}\n")
}

/// What a plan does to one address.
#[track_caller]
pub(crate) fn change(plan: &Value, address: &str) -> Value {
    let changes = plan["resource_changes"].as_array().cloned().unwrap_or_default();
    let found = changes.iter().find(|change| change["address"] == address);
    found.unwrap_or_else(|| panic!("nothing about {address}: {plan}"))["change"].clone()
}

/// All addresses with their actions.
pub(crate) fn changes(plan: &Value) -> Value {
    let changes = plan["resource_changes"].as_array().cloned().unwrap_or_default();
    changes.iter().map(|change| json!([change["address"], change["change"]["actions"]])).collect()
}

/// What a tool wrote, its frames and line breaks taken out.
pub(crate) fn text(output: &Output) -> String {
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said).replace(['│', '╷', '╵'], " ");
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The diagnostics among the messages of `-json`.
pub(crate) fn diagnostics(output: &Output) -> Vec<Value> {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let messages = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let found = messages.filter(|message| message["type"] == "diagnostic");
    found.map(|message| message["diagnostic"].clone()).collect()
}
