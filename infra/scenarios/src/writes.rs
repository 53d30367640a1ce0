//! Every write to GitLab is read at a story's end: each must have been necessary.

use gantry_fake_gitlab::Write;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};

/// The most statuses that one run may write in one pipeline: pending, running, final.
const STATUSES_OF_A_RUN: usize = 3;

/// What is wrong with the writes: repeats, steps back, second notes, things that nobody expects.
/// `runs` says how many runs each commit had, of all stacks. Whoever takes over from one of the
/// `ended` processes may write once more what is there already, where that shows nothing new.
pub(crate) fn unnecessary(
    writes: &[Write],
    runs: &HashMap<String, usize>,
    ended: usize,
) -> Vec<String> {
    let mut reader = Reader { may_repeat: ended, ..Reader::default() };
    for write in writes {
        reader.read(write);
    }
    for ((pipeline, name), states) in &reader.statuses {
        let of_commit = states.first().map_or("", |(commit, _)| commit);
        let runs = runs.get(of_commit).copied().unwrap_or(0).max(1);
        // The gate sums up; a stack's status can be written once more for each of its runs.
        if states.len() > STATUSES_OF_A_RUN * runs {
            let count = states.len();
            reader
                .wrong
                .push(format!("{count} statuses {name} in pipeline {pipeline}: {states:?}"));
        }
    }
    reader.wrong
}

#[derive(Default)]
struct Reader {
    /// By pipeline and name: commit, and state with description and address, in order.
    statuses: BTreeMap<(u64, String), Vec<(String, String)>>,
    notes: HashMap<String, String>,
    with_a_note: HashSet<String>,
    environments: HashSet<String>,
    deployments: HashMap<String, String>,
    /// By project and title, how each was opened last; by project and number, what it says.
    opened: HashMap<String, String>,
    issues: HashMap<String, String>,
    may_repeat: usize,
    wrong: Vec<String>,
}

impl Reader {
    fn read(&mut self, write: &Write) {
        let segments: Vec<&str> = write.path.trim_start_matches('/').split('/').collect();
        match (write.method.as_str(), segments.as_slice()) {
            ("POST", ["projects", _, "statuses", commit]) => self.status(write, commit),
            ("POST", ["projects", project, "merge_requests", iid, "notes"]) => {
                // One that is kept up to date, and one that mentions the author.
                let is_mention = text(&write.answer, "body").starts_with("<!-- gantry-mention:");
                if !self.with_a_note.insert(format!("{project}!{iid} {is_mention}")) {
                    self.wrong.push(format!("a second note: {write}"));
                }
                self.note(write);
            }
            ("PUT", ["projects", _, "merge_requests", _, "notes", _]) => self.note(write),
            ("POST", ["projects", project, "environments"]) => {
                let name = format!("{project} {}", text(&write.answer, "name"));
                if !self.environments.insert(name) {
                    self.wrong.push(format!("made twice: {write}"));
                }
            }
            ("POST" | "PUT", ["projects", _, "environments", ..]) => {}
            ("POST" | "PUT", ["projects", _, "deployments", ..]) => self.deployment(write),
            ("POST", ["projects", project, "issues"]) => self.opened(write, project),
            ("PUT", ["projects", project, "issues", number]) => {
                self.issue(write, format!("{project}#{number}"));
            }
            // Settings keep the project's one webhook as it should be.
            ("POST" | "PUT", ["projects", _, "hooks", ..]) => {}
            _ => self
                .wrong
                .push(format!("nobody expects: {} {} ({write})", write.method, write.path)),
        }
    }

    fn status(&mut self, write: &Write, commit: &str) {
        let pipeline = write.answer.get("pipeline_id").and_then(Value::as_u64).unwrap_or(0);
        let name = text(&write.answer, "name");
        // The address is that of a run: another one may end in the same way. It may carry a key.
        let url = text(&write.answer, "target_url");
        let page = url.split('?').next().unwrap_or_default();
        let [status, description] = ["status", "description"].map(|name| text(&write.answer, name));
        let said = format!("{status}: {description} {page}");
        let before = self.statuses.entry((pipeline, name)).or_default();
        if before.last().is_some_and(|(_, last)| *last == said) {
            self.wrong.push(format!("said twice: {write}"));
        }
        before.push((commit.to_owned(), said));
    }

    fn note(&mut self, write: &Write) {
        let (id, body) =
            (write.answer.get("id").cloned().unwrap_or_default(), text(&write.answer, "body"));
        if self.notes.insert(id.to_string(), body.clone()) == Some(body) {
            self.repeated(format!("a note written as it was: {write}"));
        }
    }

    /// People may delete one, or move it. Another one is opened for something else only.
    fn opened(&mut self, write: &Write, project: &str) {
        let title = format!("{project} {}", text(&write.answer, "title"));
        let body = text(&write.answer, "description");
        if self.opened.insert(title, body.clone()) == Some(body) {
            self.wrong.push(format!("a second issue: {write}"));
        }
        let number = write.answer.get("iid").cloned().unwrap_or_default();
        self.issue(write, format!("{project}#{number}"));
    }

    fn issue(&mut self, write: &Write, issue: String) {
        let [state, body] = ["state", "description"].map(|name| text(&write.answer, name));
        let [labels, assignees] = ["labels", "assignees"]
            .map(|name| write.answer.get(name).map(Value::to_string).unwrap_or_default());
        let said = format!("{state} {labels} {assignees} {body}");
        if self.issues.insert(issue, said.clone()) == Some(said) {
            self.repeated(format!("an issue written as it was: {write}"));
        }
    }

    fn repeated(&mut self, what: String) {
        match self.may_repeat.checked_sub(1) {
            Some(left) => self.may_repeat = left,
            None => self.wrong.push(what),
        }
    }

    fn deployment(&mut self, write: &Write) {
        let id = write.answer.get("id").cloned().unwrap_or_default().to_string();
        let status = text(&write.answer, "status");
        match self.deployments.insert(id, status.clone()) {
            Some(before) if before == status => {
                self.repeated(format!("a deployment written as it was: {write}"));
            }
            Some(before) if matches!(before.as_str(), "success" | "failed" | "canceled") => {
                self.wrong.push(format!("a deployment that had ended: {write}"));
            }
            _ => {}
        }
    }
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn write(method: &str, path: &str, answer: Value) -> Write {
        Write { line: String::new(), method: method.to_owned(), path: path.to_owned(), answer }
    }

    fn wrong(writes: &[Write]) -> usize {
        unnecessary(writes, &HashMap::new(), 0).len()
    }

    #[test]
    fn what_was_written_in_vain_is_found() {
        let status = |state: &str| {
            let answer = json!({ "pipeline_id": 7, "name": "gantry", "status": state });
            write("POST", "/projects/1/statuses/abc", answer)
        };
        assert_eq!(wrong(&[status("pending"), status("running"), status("success")]), 0);
        assert_eq!(wrong(&[status("pending"), status("pending")]), 1);
        let many = ["pending", "running", "pending", "success"].map(status);
        assert_eq!(wrong(&many), 1, "one run says at most three things");

        let note = |body: &str| {
            let answer = json!({ "id": 3, "body": body });
            write("PUT", "/projects/1/merge_requests/2/notes/3", answer)
        };
        assert_eq!(wrong(&[note("a"), note("b")]), 0);
        assert_eq!(wrong(&[note("a"), note("a")]), 1);

        let deployment = |status: &str| {
            write("PUT", "/projects/1/deployments/4", json!({ "id": 4, "status": status }))
        };
        assert_eq!(wrong(&[deployment("running"), deployment("success")]), 0);
        assert_eq!(wrong(&[deployment("success"), deployment("failed")]), 1);

        let issue = |method: &str, path: &str, state: &str, body: &str| {
            let title = "Drift in network";
            let answer = json!({ "iid": 5, "title": title, "state": state, "description": body });
            write(method, path, answer)
        };
        let open = |body: &str| issue("POST", "/projects/1/issues", "opened", body);
        let edit = |state: &str, body: &str| issue("PUT", "/projects/1/issues/5", state, body);
        assert_eq!(wrong(&[open("a"), edit("opened", "b"), edit("closed", "b")]), 0);
        assert_eq!(wrong(&[open("a"), edit("opened", "a")]), 1);
        assert_eq!(wrong(&[open("a"), edit("closed", "a"), open("a")]), 1);

        assert_eq!(wrong(&[write("DELETE", "/projects/1", Value::Null)]), 1);
    }
}
