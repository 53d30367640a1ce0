//! The note of a merge request as GitLab shows it, with one resource, 30 and 400: the documentation's
//! pictures of it.

use crate::support::{Page, Screen};
use gantry_domain::{
    MergeRequestIid, ProjectId,
    masking::Masker,
    plan::{Change, Limits},
    run::{RunState, RunType},
    stack::{CommentLevel, Tool},
    text::{
        note::{self, AfterMerge, MergeRequestState, NoteInput, NoteStack},
        status::RunView,
    },
};
use serde_json::{Value, json};

/// GitLab's own look, as far as a note has one: its sizes, and its colours of a change.
const STYLE: &str = "
    body { margin: 0; padding: 24px; color: #28272d; background: #fff;
           font: 14px/1.5 'GitLab Sans', 'Noto Sans', 'Liberation Sans', sans-serif; }
    main { max-width: 960px; border: 1px solid #dcdcde; border-radius: 8px; }
    header { padding: 8px 16px; border-bottom: 1px solid #dcdcde; }
    header span { color: #626168; }
    article { padding: 4px 16px 16px; overflow-wrap: anywhere; }
    h3 { font-size: 1.25em; margin: 12px 0 8px; }
    p { margin: 0 0 12px; }
    a { color: #2f5ca0; text-decoration: none; }
    table { border-collapse: collapse; margin: 0 0 16px; }
    th, td { border: 1px solid #dcdcde; padding: 8px 12px; }
    th { border-bottom-width: 2px; }
    code, pre { font: 13px/1.6 'GitLab Mono', 'DejaVu Sans Mono', monospace; }
    td code, p code, summary code { background: #ececef; border-radius: 4px; padding: 1px 4px; }
    pre { background: #fbfafd; border: 1px solid #dcdcde; border-radius: 4px; padding: 8px 12px;
          margin: 8px 0 12px; white-space: pre-wrap; }
    summary { cursor: pointer; }
    .gi { background: #ddfbe6; } .gd { background: #f9d7dc; } .gs { font-weight: 600; }
    .gi, .gd, .gs { display: inline-block; min-width: 100%; }";

/// One of the plan's resources: of ten, each is another kind of change.
fn resource(at: usize) -> Value {
    let cidr = format!("10.{}.{}.0/24", at / 200, at % 200);
    let (kind, actions, before, after) = match at % 10 {
        0 => (
            "aws_security_group",
            json!(["update"]),
            json!({ "description": "Office", "ingress": [{ "cidr": "10.0.0.0/8", "port": 443 }] }),
            json!({ "description": "Office", "ingress": [{ "cidr": cidr, "port": 443 }] }),
        ),
        1 | 5 | 9 => (
            "aws_subnet",
            json!(["create"]),
            Value::Null,
            json!({ "cidr_block": cidr, "availability_zone": "eu-west-1a" }),
        ),
        2 => ("aws_route", json!(["create"]), Value::Null, json!({ "destination": cidr })),
        4 => ("aws_eip", json!(["delete"]), json!({ "public_ip": "192.0.2.7" }), Value::Null),
        6 => (
            "aws_instance",
            json!(["delete", "create"]),
            json!({ "ami": "ami-0a1b2c3d", "instance_type": "t3.small" }),
            json!({ "ami": "ami-9f8e7d6c", "instance_type": "t3.small" }),
        ),
        _ => (
            "aws_route_table",
            json!(["update"]),
            json!({ "tags": { "owner": "network" } }),
            json!({ "tags": { "owner": "platform" } }),
        ),
    };
    let name = format!("office[{at}]");
    json!({
        "address": format!("{kind}.{name}"), "mode": "managed", "type": kind, "name": "office",
        "change": {
            "actions": actions, "before": before, "after": after,
            "after_unknown": if actions[0] == "create" { json!({ "id": true }) } else { json!({}) },
            "replace_paths": if at % 10 == 6 { json!([["ami"]]) } else { json!([]) },
        },
    })
}

/// The note of a merge request whose stack changes so many resources.
fn note_of(resources: usize) -> String {
    let changes: Vec<Value> = (0..resources).map(resource).collect();
    let plan = json!({ "format_version": "1.2", "resource_changes": changes }).to_string();
    let limits = Limits::default();
    let read = Change::from_plan(plan.as_bytes(), Tool::Terraform, limits, &Masker::default());
    let change = read.unwrap().0;
    let run = RunView {
        id: "r1".parse().unwrap(),
        name: "network".to_owned(),
        run_type: RunType::Proposed,
        state: RunState::Finished,
        delta: Some(change.delta),
        applied: false,
        summary: None,
        in_terraform: true,
        ended_in: None,
        applied_in_part: false,
        by: None,
        number: 12,
        created_at: "2026-11-22T10:00:00Z".parse().unwrap(),
        since: "2026-11-22T10:00:02Z".parse().unwrap(),
        url: "https://gantry.example.com/runs/r1".to_owned(),
        module: false,
        suite: None,
        verdict: None,
        left_behind: false,
        warnings: Vec::new(),
        checks: 0,
        approval: None,
        held: false,
    };
    let stack = NoteStack {
        run,
        level: CommentLevel::Full,
        change: Some(change),
        errors: Vec::new(),
        log_tail: Vec::new(),
        applied_since: None,
        after_merge: AfterMerge::Confirm,
        mentions: false,
        blocks: false,
    };
    note::render(&NoteInput {
        installation: "i7".to_owned(),
        project: ProjectId(12),
        iid: MergeRequestIid(34),
        commit: "4f2a91c07d5e8b36a1f0c2d4e6879b3a5c1d0e2f".parse().unwrap(),
        target_branch: "main".to_owned(),
        behind: Some(0),
        state: MergeRequestState::Open,
        stacks: vec![stack],
        tracked: Vec::new(),
    })
}

/// What GitLab makes of Markdown: comrak with the extensions that GitLab turns on. A change gets
/// its colours by its lines' first characters.
fn rendered(markdown: &str) -> String {
    let mut options = comrak::Options::default();
    let extension = &mut options.extension;
    extension.autolink = true;
    extension.description_lists = true;
    extension.footnotes = true;
    extension.math_code = true;
    extension.math_dollars = true;
    extension.multiline_block_quotes = true;
    extension.strikethrough = true;
    extension.table = true;
    extension.tasklist = true;
    options.parse.relaxed_autolinks = true;
    options.render.r#unsafe = true;
    let html = comrak::markdown_to_html(markdown, &options);
    let mut parts = html.split("<code class=\"language-diff\">");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (change, rest) = part.split_once("</code>").unwrap();
        let lines: Vec<String> = change.lines().map(coloured).collect();
        out += &format!("<code>{}</code>{rest}", lines.join("\n"));
    }
    out
}

fn coloured(line: &str) -> String {
    match line.chars().next() {
        Some('+') => format!("<span class=\"gi\">{line}</span>"),
        Some('-') => format!("<span class=\"gd\">{line}</span>"),
        Some('!') => format!("<span class=\"gs\">{line}</span>"),
        _ => line.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_is_readable_with_one_resource_and_with_400() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("file://{}", folder.path().display());
    let page = Page::open(&address, Screen::default()).await;
    for (resources, counts, is_folded) in [
        (1, "0 to add, 1 to change, 0 to destroy", false),
        (30, "15 to add, 12 to change, 6 to destroy", true),
        (400, "200 to add, 160 to change, 80 to destroy", true),
    ] {
        let note = note_of(resources);
        assert!(note.len() <= note::BUDGET, "{} bytes", note.len());
        let html = format!(
            "<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\"><title>Note</title>\
             <style>{STYLE}</style><main><header><strong>gantry-bot</strong> \
             <span>@gantry-bot</span></header><article>{}</article></main></html>",
            rendered(&note)
        );
        std::fs::write(folder.path().join("note.html"), html).unwrap();
        page.go("/note.html").await;
        // As it comes, and with what is folded.
        let text = page.text().await;
        assert!(text.contains(counts), "{text}");
        let folded = page.run("return document.querySelectorAll('details').length").await;
        assert_eq!(folded == 0, !is_folded, "{resources} resources: {folded} parts are folded");
        page.picture(&format!("note-{resources}")).await;
        page.run("document.querySelectorAll('details').forEach((d) => { d.open = true })").await;
        let text = page.text().await;
        assert!(text.contains("aws_security_group.office[0]"), "{text}");
        let width = "return document.documentElement.scrollWidth - window.innerWidth";
        assert!(page.run(width).await.as_i64().unwrap() <= 0, "{resources}: it is too wide");
        if is_folded {
            page.picture(&format!("note-{resources}-open")).await;
        }
        assert_eq!(page.violations().await, Vec::<String>::new(), "{resources}");
    }
    page.close().await;
}
