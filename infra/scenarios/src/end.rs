//! What there is to see at a story's end, in words that are the same for every telling of it.

use crate::World;
use reqwest::Method;
use serde_json::Value;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

impl World {
    /// What GitLab shows, and what became of each run. Without ids, addresses and times: they
    /// differ from one telling to the next.
    pub(crate) async fn end(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut names = Vec::new();
        for project in self.gitlab.projects() {
            let path = self.gitlab.project_path(project);
            for (id, title, files) in self.gitlab.commits(project) {
                // GitLab's own merges have the ids of what they merge in their titles, and files
                // the registry's address.
                let mut digest = DefaultHasher::new();
                files.replace(self.host(), "<host>").hash(&mut digest);
                let (title, files) = (without_ids(&title), digest.finish());
                let name = format!("<{title} {files:016x}>");
                names.push((id[..8].to_owned(), name.clone()));
                names.push((id, name));
            }
            for pipeline in self.gitlab.pipelines(project) {
                let (sha, of, source) = (&pipeline.sha, &pipeline.ref_name, &pipeline.source);
                for job in pipeline.jobs.iter().filter(|job| !job.retried) {
                    let text = job.description.as_deref().unwrap_or_default();
                    let (name, status) = (&job.name, &job.status);
                    lines.push(format!("{path} {sha} {of} {source} {name} {status}: {text}"));
                }
            }
            for iid in self.gitlab.merge_requests(project) {
                for note in self.gitlab.notes(project, iid) {
                    // Its marker names the installation.
                    let text = note.body.split_once("-->").map_or(&*note.body, |(_, text)| text);
                    let text = without_moments(text);
                    lines.push(format!("{path}!{} {}: {text}", iid.0, note.author));
                }
            }
            for issue in self.issues(project).await {
                let word = |name: &str| issue.get(name).and_then(Value::as_str).unwrap_or_default();
                let said = word("description");
                let text = said.split_once("-->").map_or(said, |(_, text)| text);
                let (title, state, text) = (word("title"), word("state"), without_since(text));
                lines.push(format!("{path} issue {title} {state}: {text}"));
            }
            for known in self.gitlab.environments(project) {
                lines.push(format!("{path} {} {}", known.name, known.state));
            }
            for known in self.gitlab.deployments(project) {
                let (name, sha, status) = (known.environment, known.sha, known.status);
                lines.push(format!("{path} {name} {sha} {} {status}", known.ref_name));
            }
        }
        for kind in ["stacks", "modules"] {
            let (_, answer) = self.api(Method::GET, &format!("/{kind}?limit=100"), None).await;
            let stacks = answer.get(kind).and_then(Value::as_array).cloned().unwrap_or_default();
            for stack in stacks {
                let slug = stack.get("slug").and_then(Value::as_str).unwrap_or_default().to_owned();
                for run in self.runs(&slug).await {
                    let text = |name| run.get(name).and_then(Value::as_str).unwrap_or_default();
                    let (commit, of, state) = (text("commit"), text("type"), text("state"));
                    lines.push(format!("{slug} {of} {state} {commit}"));
                    names.push((text("id").to_owned(), format!("<run {slug} {of} {commit}>")));
                }
            }
        }
        // Ids of commits are in the names of runs, and short ones in full ones.
        names.sort_by_key(|(id, _)| match id.len() {
            40 => 1,
            8 => 2,
            _ => 0,
        });
        let mut lines: Vec<String> =
            lines.iter().map(|line| named(&without_addresses(line), &names)).collect();
        lines.sort();
        lines
    }
}

/// Lines of one telling that another one has not.
pub(crate) fn differences(expected: &[String], found: &[String]) -> Vec<String> {
    let mut found = found.to_vec();
    let mut differ = Vec::new();
    for line in expected {
        match found.iter().position(|other| other == line) {
            Some(at) => drop(found.remove(at)),
            None => differ.push(format!("missing: {line}")),
        }
    }
    differ.extend(found.iter().map(|line| format!("instead: {line}")));
    differ
}

fn named(text: &str, names: &[(String, String)]) -> String {
    let text = names.iter().fold(text.to_owned(), |text, (id, name)| text.replace(id, name));
    // A commit that GitLab has forgotten meanwhile.
    without_ids(&text)
}

/// Without ids of commits, and without those that a tool gives to what it makes.
fn without_ids(text: &str) -> String {
    let is_id = |word: &&str| {
        let dashes = match word.len() {
            40 => 0,
            36 => 4,
            _ => return false,
        };
        let hex = word.bytes().filter(u8::is_ascii_hexdigit).count();
        hex == word.len() - dashes && word.bytes().filter(|b| *b == b'-').count() == dashes
    };
    let is_in_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let ids: Vec<&str> = text.split(|c| !is_in_word(c)).filter(is_id).collect();
    ids.iter().fold(text.to_owned(), |text, id| text.replace(id, "<an id>"))
}

/// Without what was so when a comment was written last, which says so: how far behind a branch was.
fn without_moments(text: &str) -> String {
    let said = text.split_once(" at the time.").and_then(|(before, rest)| {
        let (before, moment) = before.rsplit_once(", ")?;
        moment.contains(" behind ").then(|| format!("{before}.{rest}"))
    });
    said.unwrap_or_else(|| text.to_owned())
}

/// Without the time since when something differs.
fn without_since(text: &str) -> String {
    let moment = text.split_once(" since 20").and_then(|(before, rest)| {
        let (_, rest) = rest.split_once(" UTC")?;
        Some(format!("{before} since then{rest}"))
    });
    moment.unwrap_or_else(|| text.to_owned())
}

fn without_addresses(text: &str) -> String {
    let mut rest = text;
    let mut kept = String::new();
    while let Some(at) = rest.find("http") {
        kept.push_str(&rest[..at]);
        let address = &rest[at..];
        let end = address.find(|c: char| c.is_whitespace() || "\")>".contains(c));
        kept.push_str("<address>");
        rest = end.map_or("", |end| &address[end..]);
    }
    kept + rest
}
