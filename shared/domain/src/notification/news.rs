//! What a notification says, and how each kind of target takes it. Counts, names, titles and addresses:
//! nothing else of a plan is in here, and no error of a tool.

use super::{Occasion, TargetKind};
use crate::{
    CommitSha, RunId, StackSlug,
    drift::Drift,
    plan::Delta,
    run::{Run, RunState, RunType},
    stack::Stack,
    text::{clean_line, notification::Words},
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

/// How long what others wrote may be, in characters.
const LONGEST: usize = 200;
/// Separates what must not stand together; nobody sees it.
const BREAK: char = '\u{200b}';

/// What is told.
#[derive(Debug, Clone, PartialEq)]
pub struct News {
    /// What it is about.
    pub about: Occasion,
    /// When it happened.
    pub at: Timestamp,
    /// In words.
    pub words: Words,
    /// The page that shows it.
    pub url: String,
    /// The stack or module that it is about.
    pub stack: Option<AboutStack>,
    /// The run that it is about.
    pub run: Option<AboutRun>,
    /// What is known of the stack's drift.
    pub drift: Option<AboutDrift>,
}

/// A stack or module, as a notification names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AboutStack {
    slug: StackSlug,
    name: String,
    labels: Vec<String>,
    url: String,
}

impl AboutStack {
    /// This one, with the address of its page.
    pub fn new(stack: &Stack, url: String) -> Self {
        Self {
            slug: stack.slug.clone(),
            name: clean_line(&stack.settings.name, LONGEST),
            labels: stack.settings.labels.clone(),
            url,
        }
    }
}

/// A run, as a notification names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AboutRun {
    id: RunId,
    number: u64,
    r#type: RunType,
    state: RunState,
    commit: CommitSha,
    commit_title: String,
    branch: String,
    started_by: Option<String>,
    delta: Option<Delta>,
}

impl AboutRun {
    /// This one.
    pub fn new(run: &Run) -> Self {
        Self {
            id: run.id.clone(),
            number: run.number,
            r#type: run.run_type,
            state: run.state,
            commit: run.commit.clone(),
            commit_title: clean_line(&run.commit_line.title, LONGEST),
            branch: clean_line(&run.git_ref, LONGEST),
            started_by: run.by.as_deref().map(|by| clean_line(by, LONGEST)),
            delta: run.delta,
        }
    }
}

/// What is known of a stack's drift.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AboutDrift {
    found: u32,
    tolerated: u32,
    since: Option<Timestamp>,
}

impl AboutDrift {
    /// This.
    pub fn new(drift: &Drift) -> Self {
        Self { found: drift.found, tolerated: drift.tolerated, since: drift.since }
    }
}

impl News {
    /// The body that a target of this kind takes.
    pub fn body(&self, kind: TargetKind) -> String {
        let body = match kind {
            TargetKind::Webhook => self.for_programs(),
            TargetKind::Slack => self.for_slack(),
            TargetKind::Teams => self.for_teams(),
        };
        body.to_string()
    }

    fn for_programs(&self) -> Value {
        json!({
            "type": self.about.word(),
            "timestamp": self.at,
            "data": {
                "title": self.words.title,
                "text": self.words.text,
                "url": self.url,
                "stack": self.stack,
                "run": self.run,
                "drift": self.drift,
            },
        })
    }

    fn for_slack(&self) -> Value {
        let Words { title, text } = &self.words;
        json!({ "text": format!("*<{}|{}>*\n{}", self.url, slack(title), slack(text)) })
    }

    fn for_teams(&self) -> Value {
        let Words { title, text } = &self.words;
        let block = |text: &str| json!({ "type": "TextBlock", "text": text, "wrap": true });
        let mut heading = block(&inert(title));
        heading["weight"] = "Bolder".into();
        // A line break alone joins lines.
        let text = block(&inert(text).replace('\n', "\n\n"));
        let open = json!({ "type": "Action.OpenUrl", "title": "Open in Gantry", "url": self.url });
        json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive",
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.4",
                    "body": [heading, text],
                    "actions": [open],
                },
            }],
        })
    }
}

/// Text for Slack: no tags, so no mentions and no links of others.
/// <https://docs.slack.dev/messaging/formatting-message-text>
fn slack(text: &str) -> String {
    inert(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Text that mentions nobody, and has no links that say something other than where they lead:
/// Mattermost and Teams read Markdown.
fn inert(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '(' && out.ends_with(']') {
            out.push(BREAK);
        }
        out.push(c);
        if c == '@' {
            out.push(BREAK);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CommitLine, text::notification};

    fn news() -> News {
        let golden = include_str!("../../../store/golden/v1/run.json");
        let run: Run = serde_json::from_str(golden).unwrap();
        let stack: Stack =
            serde_json::from_str(include_str!("../../../store/golden/v1/stack.json")).unwrap();
        let title = "Allow @all <!channel> [more](https://evil.example) & \u{202e}most";
        let run = Run {
            run_type: RunType::Tracked,
            test: None,
            module: false,
            unpushed: None,
            slug: "network".parse().unwrap(),
            number: 7,
            git_ref: "main".to_owned(),
            by: None,
            commit_line: CommitLine { title: title.to_owned(), author: "Eve".to_owned() },
            state: RunState::Unconfirmed,
            delta: Some(Delta { add: 1, destroy: 2, ..Delta::default() }),
            ..run
        };
        News {
            about: Occasion::WaitsForPerson("r-1".parse().unwrap()),
            at: "2026-03-02T09:00:00Z".parse().unwrap(),
            words: notification::needs_confirmation(&run),
            url: "https://gantry.example.com/runs/r-1".to_owned(),
            stack: Some(AboutStack::new(&stack, "https://gantry.example.com/stacks/a".to_owned())),
            run: Some(AboutRun::new(&run)),
            drift: None,
        }
    }

    fn body(kind: TargetKind) -> Value {
        serde_json::from_str(&news().body(kind)).unwrap()
    }

    #[test]
    fn programs_get_what_standard_webhooks_asks_for() {
        let body = body(TargetKind::Webhook);
        assert_eq!(body["type"], "waits_for_person");
        assert_eq!(body["timestamp"], "2026-03-02T09:00:00Z");
        let data = &body["data"];
        assert_eq!(data["title"], "network #7 needs confirmation");
        assert_eq!(data["url"], "https://gantry.example.com/runs/r-1");
        assert_eq!(data["run"]["type"], "tracked");
        assert_eq!(data["run"]["delta"]["destroy"], 2);
        assert_eq!(data["stack"]["url"], "https://gantry.example.com/stacks/a");
        assert_eq!(data["drift"], Value::Null);
        let names = data["run"].as_object().unwrap().keys();
        let mut names: Vec<&str> = names.map(String::as_str).collect();
        names.sort_unstable();
        let known = [
            "branch",
            "commit",
            "commit_title",
            "delta",
            "id",
            "number",
            "started_by",
            "state",
            "type",
        ];
        assert_eq!(names, known, "nothing of a plan but its counts, and no error");
    }

    #[test]
    fn nobody_is_mentioned_and_no_link_hides_where_it_leads() {
        let text = body(TargetKind::Slack)["text"].as_str().unwrap().to_owned();
        let url = "https://gantry.example.com/runs/r-1";
        let begins = format!("*<{url}|network #7 needs confirmation>*\n1 to add");
        assert!(text.starts_with(&begins), "{text}");
        let words = text.replacen(&format!("<{url}|network #7 needs confirmation>"), "", 1);
        for tag in ["<", ">", "@all", "](", "\u{202e}"] {
            assert!(!words.contains(tag), "{tag}: {words}");
        }
        assert!(words.contains("&lt;!channel&gt;") && words.contains("&amp;"), "{words}");
        let card = body(TargetKind::Teams);
        let content = &card["attachments"][0]["content"];
        assert_eq!(content["actions"][0]["url"], url);
        let text = content["body"][1]["text"].as_str().unwrap();
        assert!(text.contains("\n\nmain at "), "{text}");
        assert!(!text.contains("](") && !text.contains("@all"), "{text}");
    }
}
