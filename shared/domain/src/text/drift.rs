//! The issue of a stack that drifted: what differs from what was applied.
//!
//! Like a note, the text depends on nothing but what it is made of, so that nothing is written where
//! nothing has changed.

use super::{
    change, counted, cut,
    markdown::{fence_lines, inline_code, link},
    more,
};
use crate::{StackId, StackSlug, drift::Drift, plan::Change};

/// Bytes that the exact change may take. GitLab's limit for a description is ten times that.
const BUDGET: usize = 80_000;
/// Characters of one line.
const LINE_CHARS: usize = 1_000;

/// What an issue says.
#[derive(Debug, Clone)]
pub struct IssueInput {
    /// The installation's id, for the marker.
    pub installation: String,
    /// The stack.
    pub stack: StackId,
    /// What people call it.
    pub slug: StackSlug,
    /// What is known of its drift.
    pub drift: Drift,
    /// What the look found, masked, where that may be shown.
    pub change: Option<Change>,
    /// The page of the run that found it.
    pub found_by: String,
    /// The page of the last look, where that failed.
    pub failed: Option<String>,
    /// The page of the stack.
    pub page: String,
}

/// The first line of a stack's issue, by which it is found again. Only an issue of the bot's own user
/// whose description *starts* with it is the one.
pub fn marker(installation: &str, stack: &StackId) -> String {
    let key = |c: &char| c.is_ascii_alphanumeric() || *c == '_' || *c == '.';
    let installation: String = installation.chars().filter(key).collect();
    format!("<!-- gantry-drift:{installation}:{stack} -->")
}

/// The issue's title. It stays as it is: each change of it is told to people.
pub fn title(slug: &StackSlug) -> String {
    format!("Drift in {slug}")
}

impl IssueInput {
    /// The description.
    pub fn body(&self) -> String {
        let Drift { found, tolerated, since, .. } = &self.drift;
        let mut body = marker(&self.installation, &self.stack) + "\n";
        let since = since.map(|at| format!(" since {}", at.strftime("%Y-%m-%d %H:%M UTC")));
        body += &format!(
            "{} differs from what was applied: **{}**{} ({}).\n",
            inline_code(self.slug.as_str()),
            counted(*found as usize, "difference"),
            since.unwrap_or_default(),
            link("see the run", &self.found_by),
        );
        if *tolerated > 0 {
            let differ = if *tolerated == 1 { "differs" } else { "differ" };
            let resources = counted(*tolerated as usize, "resource");
            body += &format!("\n{resources} {differ} besides, which the stack tolerates.\n");
        }
        if let Some(failed) = &self.failed {
            body += &format!(
                "\n⚠️ The last look failed ({}), so it is not known whether this is still so.\n",
                link("see the run", failed)
            );
        }
        if let Some(change) = &self.change {
            body += &exact(change);
        }
        body += &format!(
            "\n**Next:** open {} in Gantry. *Bring back* plans a deploy that undoes the \
             differences, *Accept* takes them over into the state.\n\nGantry edits this issue when \
             something else differs, and closes it when nothing does. Closed by hand, it stays \
             closed until something else differs.\n",
            link("the stack", &self.page)
        );
        body
    }

    /// What is told, whichever runs tell it: the same is not written again.
    pub fn said(&self) -> String {
        let failed = self.failed.as_ref().map(|_| String::new());
        Self { found_by: String::new(), failed, ..self.clone() }.body()
    }

    /// What differs, whatever became of later looks: an issue that was closed by hand is opened again
    /// for something else.
    pub fn differs(&self) -> String {
        Self { found_by: String::new(), failed: None, ..self.clone() }.body()
    }
}

/// The exact change, as many whole lines of it as there is room for.
fn exact(change: &Change) -> String {
    let mut lines = Vec::new();
    for part in change::parts(change) {
        if part.is_apart && !lines.is_empty() {
            lines.push(String::new());
        }
        for line in part.head.iter().chain(&part.rest) {
            lines.extend(fence_lines(line).map(|line| cut(&line, LINE_CHARS)));
        }
    }
    let mut left = BUDGET;
    let fits = |line: &&String| {
        let fits = line.len() < left;
        left = left.saturating_sub(line.len() + 1);
        fits
    };
    let kept: Vec<&str> = lines.iter().take_while(fits).map(String::as_str).collect();
    if kept.is_empty() {
        return String::new();
    }
    let mut out = format!("\n```diff\n{}\n```\n", kept.join("\n"));
    if kept.len() < lines.len() {
        out += &format!("\n… {} (see the run)\n", more(lines.len() - kept.len(), "line"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        plan::{Action, AttributeChange, ResourceChange, Value},
        text::markdown::{
            oracle::{outside_new, outside_old, quick_action_lines},
            tests::untrusted,
        },
    };
    use jiff::Timestamp;
    use proptest::prelude::*;

    fn input(change: Option<Change>) -> IssueInput {
        let since: Timestamp = "2026-03-02T09:00:00Z".parse().unwrap();
        let run = "run-1".parse().unwrap();
        IssueInput {
            installation: "inst-1".to_owned(),
            stack: "network".parse().unwrap(),
            slug: "network-eu".parse().unwrap(),
            drift: Drift {
                run,
                at: since,
                found: 1,
                tolerated: 0,
                since: Some(since),
                failed: None,
            },
            change,
            found_by: "https://gantry.example/runs/run-1".to_owned(),
            failed: None,
            page: "https://gantry.example/stacks/network-eu".to_owned(),
        }
    }

    fn tagged(address: &str, value: &str) -> Change {
        let shown = |text: &str| Value::Known(format!("\"{text}\""));
        let attribute = AttributeChange {
            path: "tags.owner".to_owned(),
            before: shown("ada"),
            after: shown(value),
            forces_replacement: false,
            mark: None,
            lines: Vec::new(),
        };
        let resource = ResourceChange::of(Action::Update, address);
        let resources = vec![ResourceChange { attributes: vec![attribute], ..resource }];
        Change { resources, ..Change::default() }
    }

    #[test]
    fn an_issue_says_what_differs_since_when_and_what_to_do() {
        let body = input(Some(tagged("aws_vpc.main", "grace"))).body();
        let (said, rest) = body.split_once("\n```diff\n").unwrap();
        assert_eq!(
            said,
            "<!-- gantry-drift:inst1:network -->\n`network-eu` differs from what was applied: **1 \
             difference** since 2026-03-02 09:00 UTC ([see the \
             run](https://gantry.example/runs/run-1)).\n"
        );
        let (lines, rest) = rest.split_once("\n```\n").unwrap();
        assert!(lines.contains("aws_vpc.main") && lines.contains("grace"), "{lines}");
        assert!(rest.contains("*Bring back*") && rest.contains("*Accept*"), "{rest}");
        assert_eq!(title(&"network-eu".parse().unwrap()), "Drift in network-eu");

        let counts = input(None).body();
        assert!(!counts.contains("aws_vpc") && counts.contains("1 difference"), "{counts}");
        let drift = Drift { found: 1_200, tolerated: 2, ..input(None).drift };
        let many = IssueInput { drift, ..input(None) }.body();
        assert!(many.contains("**1,200 differences**"), "{many}");
        assert!(many.contains("2 resources differ besides, which the stack tolerates."), "{many}");
    }

    #[test]
    fn another_look_at_the_same_tells_nothing_new_and_a_failed_one_says_so() {
        let first = input(Some(tagged("aws_vpc.main", "grace")));
        let later =
            IssueInput { found_by: "https://gantry.example/runs/run-2".into(), ..first.clone() };
        assert_ne!(first.body(), later.body());
        assert_eq!(first.said(), later.said());

        let failed =
            IssueInput { failed: Some("https://gantry.example/runs/run-3".into()), ..later };
        assert!(failed.body().contains("The last look failed ([see the run]"), "{}", failed.body());
        assert_ne!(failed.said(), first.said());
        assert_eq!(failed.differs(), first.differs());

        let other = input(Some(tagged("aws_vpc.main", "joan")));
        assert_ne!(other.differs(), first.differs());
    }

    #[test]
    fn a_large_change_is_cut_at_a_line_and_what_is_left_out_is_counted() {
        let one = tagged("aws_vpc.main", &"x".repeat(500));
        let resource = |number| {
            let mut resource = one.resources[0].clone();
            resource.address = format!("aws_vpc.main[{number}]");
            // Alike, they would be told together.
            resource.attributes[0].path = format!("tags.owner-{number}");
            resource
        };
        let change = Change { resources: (0..1_000).map(resource).collect(), ..one.clone() };
        let body = input(Some(change)).body();
        assert!(body.len() < BUDGET + 2_000, "{}", body.len());
        assert!(body.contains(" more lines (see the run)"), "{}", &body[BUDGET..]);
    }

    proptest! {
        #[test]
        fn what_people_and_providers_write_stays_in_its_block(
            address in untrusted(), value in untrusted(),
        ) {
            let body = input(Some(tagged(&address, &value))).body();
            prop_assert_eq!(quick_action_lines(&body), Vec::<&str>::new());
            let marker = "<!-- gantry-drift:inst1:network -->\n";
            prop_assert!(body.starts_with(marker));
            prop_assert!(!body[marker.len()..].contains("<!--"), "{}", body);
            let without = input(None).body();
            for outside in [outside_new(&body), outside_old(&body)] {
                prop_assert_eq!(outside.replace("\n\n\n", "\n\n"), without.clone());
            }
        }
    }
}
