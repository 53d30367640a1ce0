//! Logs: read on, read backwards, searched; through the API and on the page of the run.

use crate::{
    browser::Browser,
    support::{World, connected, signer},
};
use gantry_domain::run::{Phase, Run, RunState, Step};
use gantry_secrets::links::read_link;
use gantry_store::{keys, runner::LogPiece};
use serde_json::{Value, json};

async fn put_log(w: &World, run: &Run, attempt: u32, offset: u64, text: &str) {
    let text = text.to_owned();
    let phase = if attempt == 1 { Phase::Plan } else { Phase::Apply };
    // As an earlier release wrote it.
    let piece = LogPiece { phase, attempt, offset, lines: None, at: None, text };
    w.put(keys::log(&run.id, attempt, offset), &piece).await;
}

/// Writes an attempt's log in pieces of this many bytes, which cut lines and colours anywhere.
async fn put_pieces(w: &World, run: &Run, attempt: u32, text: &str, size: usize) {
    let phase = if attempt == 1 { Phase::Plan } else { Phase::Apply };
    let mut begin = 0;
    while begin < text.len() {
        let end = text.floor_char_boundary(begin + size);
        let (offset, lines) = (begin as u64, Some(text[..begin].matches('\n').count() as u64));
        let (at, text) = (Some(w.clock.now()), text[begin..end].to_owned());
        let piece = LogPiece { phase, attempt, offset, lines, at, text };
        w.put(keys::log(&run.id, attempt, offset), &piece).await;
        begin = end;
    }
}

/// The address that a line's number leads to, below `/runs/`.
#[track_caller]
fn link_of(html: &str, number: &str) -> String {
    let data = format!("data-n=\"{number}\"");
    let (before, _) = html.split_once(&data).unwrap_or_else(|| panic!("no line {number}: {html}"));
    let (_, link) = before.rsplit_once("href=\"").unwrap();
    let link = link.split('"').next().unwrap().replace("&amp;", "&");
    link.strip_suffix("#at").unwrap().to_owned()
}

#[track_caller]
fn marked(page: &str) -> &str {
    let (_, rest) = page.split_once("<mark id=\"at\">").unwrap_or_else(|| panic!("{page}"));
    rest.split("</mark>").next().unwrap()
}

fn text_of(part: &Value) -> String {
    let pieces = part["pieces"].as_array().unwrap();
    pieces.iter().map(|piece| piece["text"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_log_is_read_on_from_where_one_was() {
    let w = connected().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Planning).await;
    let path = format!("/api/v1/runs/{}/log", run.id);
    let empty = w.get(&path).await.expect(200).body;
    assert_eq!(empty, json!({ "pieces": [], "next": null, "more": false, "ended": false }));
    put_log(&w, &run, 1, 0, "one\n").await;
    put_log(&w, &run, 1, 4, "two\n").await;
    let got = w.get(&path).await.expect(200).body;
    let texts = |got: &serde_json::Value| -> String {
        got["pieces"].as_array().unwrap().iter().map(|p| p["text"].as_str().unwrap()).collect()
    };
    assert_eq!(texts(&got), "one\ntwo\n");
    let on = format!("{path}?after={}", got["next"].as_str().unwrap());
    let nothing = w.get(&on).await.expect(200).body;
    assert_eq!((texts(&nothing), &nothing["next"]), (String::new(), &got["next"]));
    put_log(&w, &run, 2, 0, "three\n").await;
    assert_eq!(texts(&w.get(&on).await.expect(200).body), "three\n");
    for piece in 0..3 {
        put_log(&w, &run, 3, piece * 600_000, &"x".repeat(60_000)).await;
    }
    w.save_run(&Run { state: RunState::Finished, ..run }).await;
    let got = w.get(&on).await.expect(200).body;
    assert_eq!(got["ended"], true);
}

#[tokio::test]
async fn a_long_log_comes_in_parts() {
    let w = connected().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Planning).await;
    for piece in 0..8 {
        put_log(&w, &run, 1, piece * 300_000, &"x".repeat(300_000)).await;
    }
    let path = format!("/api/v1/runs/{}/log", run.id);
    let mut pieces = 0;
    let mut after = String::new();
    loop {
        let got = w.get(&format!("{path}{after}")).await.expect(200);
        assert!(got.text.len() < 2_000_000);
        pieces += got.body["pieces"].as_array().unwrap().len();
        after = format!("?after={}", got.body["next"].as_str().unwrap());
        if got.body["more"] == false {
            break;
        }
    }
    assert_eq!(pieces, 8);
}

#[tokio::test]
async fn a_log_is_read_backwards_from_its_end_to_its_beginning() {
    let w = connected().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Finished).await;
    let plan: String = (1..=2500).map(|i| format!("plan {i} é{}\n", "x".repeat(i % 70))).collect();
    let apply: String = (1..=1500).map(|i| format!("apply {i}\n")).collect();
    put_pieces(&w, &run, 1, &plan, 7_001).await;
    put_pieces(&w, &run, 2, &format!("{apply}the end"), 333).await;
    let path = format!("/api/v1/runs/{}/log", run.id);
    let mut before = "end".to_owned();
    let mut whole = String::new();
    let mut parts = 0;
    loop {
        let part = w.get(&format!("{path}?before={before}")).await.expect(200).body;
        let text = text_of(&part);
        assert!(text.starts_with("plan ") || text.starts_with("apply "), "{:.20}", text);
        assert_eq!(text.lines().count(), 1000, "part {parts}");
        whole.insert_str(0, &text);
        parts += 1;
        let Some(previous) = part["previous"].as_str() else { break };
        before = previous.to_owned();
        if whole.lines().count() == 4000 {
            let first = w.get(&format!("{path}?before={before}")).await.expect(200).body;
            assert_eq!(text_of(&first), "plan 1 éx\n");
            assert_eq!(first.get("previous"), None);
            whole.insert_str(0, &text_of(&first));
            break;
        }
    }
    assert!(whole == format!("{plan}{apply}the end"), "parts overlap or leave something out");
    w.get(&format!("{path}?before=x")).await.expect(422);
    w.get(&format!("{path}?before=end&after={before}")).await.expect(422);
}

#[tokio::test]
async fn what_a_log_has_is_found_with_its_line_and_place() {
    let w = connected().await;
    let stack = w.stack().await;
    let wide = format!("{} needle at the end of a wide line\n", "wide ".repeat(60_000));
    let log: String = (1..=900)
        .map(|i| match i {
            7 | 450 => format!("{i}: a \u{1b}[31mNEE\u{1b}[0mdle <{i}>\n"),
            600 => wide.clone(),
            _ => format!("{i}: hay\n"),
        })
        .collect();
    let run = w.run(&stack, "b", RunState::Finished).await;
    put_pieces(&w, &run, 1, &log, 1_009).await;
    put_pieces(&w, &run, 2, "one\nand a needle without an end", 5).await;
    let path = format!("/api/v1/runs/{}/log", run.id);
    let got = w.get(&format!("{path}?find=%20Needle")).await.expect(200).body;
    let matches = got["matches"].as_array().unwrap();
    let lines: Vec<_> = matches.iter().map(|found| found["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [7, 450, 600, 902], "{got:#}");
    assert_eq!(matches[0]["text"], "7: a NEEdle <7>");
    assert!(matches[2]["text"].as_str().unwrap().starts_with('…'));
    assert!(matches[2]["text"].as_str().unwrap().ends_with("needle at the end of a wide line"));
    assert_eq!((&matches[3]["phase"], &matches[3]["attempt"]), (&json!("apply"), &json!(2)));
    assert_eq!((&got["next"], &got["more"]), (&Value::Null, &json!(false)));

    let browser = Browser::sign_in(&w, &w.admin).await;
    for (at, line) in [(0, "7: a NEEdle &lt;7&gt;"), (1, "450: a NEEdle &lt;450&gt;")] {
        let at = matches[at]["at"].as_str().unwrap();
        let page = browser.get(&format!("/runs/{}?at={at}", run.id)).await.expect(200).text;
        let marked =
            page.split("<mark id=\"at\">").nth(1).unwrap().split("</mark>").next().unwrap();
        assert_eq!(marked.replace("<span class=\"t-red\">NEE</span>", "NEE"), line);
    }
    let nothing = w.get(&format!("{path}?find=nail")).await.expect(200).body;
    assert_eq!(nothing["matches"], json!([]));
    for wrong in ["", "%20", &"x".repeat(201)] {
        w.get(&format!("{path}?find={wrong}")).await.expect(422);
    }
}

#[tokio::test]
async fn a_log_of_32_mib_is_searched_to_its_end_in_parts_that_are_small() {
    let w = connected().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Finished).await;
    let hay = "terraform_data.many[12345]: Still creating... [10s elapsed]\n".repeat(5_000);
    let mut offset = 0;
    for piece in 0..112 {
        let mut text = hay.clone();
        if piece % 50 == 49 {
            text.push_str("Error: the needle\n".repeat(75).as_str());
        }
        put_log(&w, &run, 1, offset, &text).await;
        offset += text.len() as u64;
    }
    assert!(offset > 32 << 20);
    let path = format!("/api/v1/runs/{}/log?find=error:%20the%20needle", run.id);
    let got = w.get(&path).await.expect(200);
    assert!(got.text.len() < 100_000, "{} bytes", got.text.len());
    let matches = got.body["matches"].as_array().unwrap();
    assert_eq!((matches.len(), &got.body["more"]), (100, &json!(true)));
    assert_eq!(matches[0]["line"], 250_001);
    let next = got.body["next"].as_str().unwrap();
    let rest = w.get(&format!("{path}&after={next}")).await.expect(200).body;
    let matches = rest["matches"].as_array().unwrap();
    assert_eq!((matches.len(), &rest["next"]), (50, &Value::Null));
    assert_eq!(matches[49]["line"], 500_150);
}

#[tokio::test]
async fn the_page_shows_the_end_of_a_log_and_the_way_to_the_rest_of_it() {
    let w = connected().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Finished).await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let page = format!("/runs/{}", run.id);
    put_pieces(&w, &run, 1, "only this\n", 100).await;
    let short = browser.get(&page).await.expect(200).text;
    assert!(short.contains("only this") && !short.contains("Earlier lines"), "{short}");
    let log: String = (1..=5000).map(|i| format!("line {i}.\n")).collect();
    put_pieces(&w, &run, 1, &log, 5_000).await;
    let long = browser.get(&page).await.expect(200).text;
    assert!(long.contains("line 4601.") && !long.contains("line 4600."), "the last 400 lines");
    assert!(long.contains("The log begins before these lines."));
    // Without scripts: by links, to the first line and back.
    let mut seen = long;
    let mut looks = 0;
    while let Some(link) = seen.split("Earlier lines").next().and_then(|before| {
        let link = before.rsplit_once("href=\"")?.1.split_once('"')?.0;
        (seen.contains("Earlier lines")).then(|| link.replace("&amp;", "&"))
    }) {
        let link = link.trim_end_matches("#at").trim_start_matches('.').to_owned();
        let link = &link[link.find("/runs/").unwrap()..];
        seen = browser.get(link).await.expect(200).text;
        looks += 1;
        assert!(looks < 60, "{link}");
    }
    assert!(seen.contains("line 1.") && seen.contains("Later lines"));
    assert!(seen.contains("Newest lines"));

    let found = browser.get(&format!("{page}?find=line%204%3C")).await.expect(200).text;
    assert!(found.contains("No matching lines."), "{found}");
    let found = browser.get(&format!("{page}?find=LINE%20123")).await.expect(200).text;
    assert!(found.contains("Found in 11 lines."), "{found}");
    assert!(found.contains("<code>line 123.</code>") && found.contains("<code>line 1239.</code>"));
    let many = browser.get(&format!("{page}?find=line")).await.expect(200).text;
    assert!(many.contains("Found in 100 lines of this part.") && many.contains("Search further"));
}

#[tokio::test]
async fn every_line_of_a_log_has_an_address() {
    let w = connected().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Applying).await;
    let plan: String = (1..=1000).map(|i| format!("plan {i}.\n")).collect();
    let apply: String = (1..=50).map(|i| format!("apply {i}.\n")).collect();
    put_pieces(&w, &run, 1, &plan, 997).await;
    put_pieces(&w, &run, 2, &apply, 97).await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let address = format!("/runs/{}", run.id);
    let page = browser.get(&address).await.expect(200).text;
    // The numbers go on where the apply begins.
    for (number, line) in [("651", "plan 651."), ("1000", "plan 1000."), ("1050", "apply 50.")] {
        let there = browser.get(&format!("{address}{}", link_of(&page, number))).await;
        let there = there.expect(200).text;
        assert_eq!(marked(&there), line);
        assert!(there.contains(&format!("data-n=\"{number}\"")), "{there}");
    }
    assert!(!page.contains("data-n=\"650\""), "only what is shown is numbered");
    // Before, and after: what a script adds.
    let (_, previous) = page.split_once("data-previous=\"").unwrap();
    let previous = previous.split('"').next().unwrap();
    let before = browser.get(&format!("{address}/log?before={previous}")).await.expect(200).body;
    let before = before["html"].as_str().unwrap();
    let there = browser.get(&format!("{address}{}", link_of(before, "650"))).await.expect(200).text;
    assert_eq!(marked(&there), "plan 650.");
    let (_, next) = page.split_once("data-next=\"").unwrap();
    let next = next.split('"').next().unwrap();
    let put = async |offset: usize, text: &str| {
        let (phase, offset, text) = (Phase::Apply, offset as u64, text.to_owned());
        let piece = LogPiece { phase, attempt: 2, offset, lines: Some(50), at: None, text };
        w.put(keys::log(&run.id, 2, offset), &piece).await;
    };
    let half = "a line that is not at its";
    put(apply.len(), half).await;
    let after = browser.get(&format!("{address}/log?after={next}")).await.expect(200).body;
    assert_eq!(after["html"].as_str().unwrap().matches("data-n=\"1051\"").count(), 1, "{after}");
    let next = after["next"].as_str().unwrap();
    put(apply.len() + half.len(), " end yet\nanother\n").await;
    let rest = browser.get(&format!("{address}/log?after={next}")).await.expect(200).body;
    let rest = rest["html"].as_str().unwrap();
    assert!(rest.starts_with(" end yet\n<a "), "the line has its number already: {rest}");
    assert!(rest.contains("data-n=\"1052\""), "{rest}");

    // Who came by a link to one run stays there.
    let link = read_link(&signer(), "", &run.id);
    let page = w.ask("GET", &link, None, &[], "").await.expect(200).text;
    let there = format!("{address}{}", link_of(&page, "700"));
    let there = w.ask("GET", &there, None, &[], "").await.expect(200).text;
    assert_eq!(marked(&there), "plan 700.");
}

#[tokio::test]
async fn a_log_of_an_earlier_release_is_shown_without_what_it_lacks() {
    let w = connected().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Finished).await;
    put_log(&w, &run, 1, 0, "one\n").await;
    put_log(&w, &run, 1, 4, "two\n").await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let address = format!("/runs/{}", run.id);
    // Its beginning is known: so are its lines.
    let page = browser.get(&format!("{address}?times=1")).await.expect(200).text;
    let there = browser.get(&format!("{address}{}", link_of(&page, "2"))).await.expect(200).text;
    assert_eq!(marked(&there), "two");
    let text = browser.get(&format!("{address}/log.txt?times=1")).await.expect(200).text;
    assert_eq!(text, "one\ntwo\n");
    put_log(&w, &run, 2, 0, "three\n").await;
    let rest = browser.get(&format!("{address}/log?before=end")).await.expect(200).body;
    assert!(rest["html"].as_str().unwrap().contains("three"), "{rest}");
}

#[tokio::test]
async fn times_are_shown_where_they_are_asked_for() {
    let w = connected().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Finished).await;
    put_pieces(&w, &run, 1, "one\ntwo\n", 6).await;
    let at = w.clock.now();
    let browser = Browser::sign_in(&w, &w.admin).await;
    let address = format!("/runs/{}", run.id);
    let page = browser.get(&address).await.expect(200).text;
    assert!(page.contains("data-n=\"2\"") && page.contains("Show times"), "{page}");
    let page = browser.get(&format!("{address}?times=1")).await.expect(200).text;
    let two = format!("{} 2", at.strftime("%H:%M:%S"));
    let there = browser.get(&format!("{address}{}", link_of(&page, &two))).await.expect(200).text;
    assert!(there.contains("Hide times"), "they stay: {there}");
    let text = browser.get(&format!("{address}/log.txt?times=1")).await.expect(200).text;
    let time = at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    assert_eq!(text, format!("{time} one\n{time} two\n"));
    let api = w.get(&format!("/api/v1/runs/{}/log", run.id)).await.expect(200).body;
    assert_eq!(api["pieces"][0]["at"], json!(at));
}

#[tokio::test]
async fn the_parts_of_a_log_are_found_by_their_names() {
    let w = connected().await;
    let stack = w.stack().await;
    let mut run = w.run(&stack, "a", RunState::Unconfirmed).await;
    let at = w.clock.now();
    let step = |state| Step { state, at, by: None, comment: None };
    run.history = [RunState::Initializing, RunState::Planning].map(step).into();
    w.save_run(&run).await;
    let says = |line: &str| format!("\u{1b}[36mgantry:\u{1b}[0m {line}\n");
    let init = says("$ terraform init -input=false") + "Initializing <b>\n";
    let plan = says("$ terraform plan -input=false") + "No changes.\n";
    put_pieces(&w, &run, 1, &format!("{init}{plan}"), 5_000).await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let address = format!("/runs/{}", run.id);
    let page = browser.get(&address).await.expect(200).text;
    for (title, anchor) in [("Init", "log-init-1"), ("Plan", "log-plan-1")] {
        assert!(page.contains(&format!("href=\"#{anchor}\">{title}</a>")), "{page}");
        assert!(
            page.contains(&format!("aria-level=\"3\" id=\"{anchor}\">{title}</span>")),
            "{page}"
        );
    }
    put_pieces(&w, &run, 2, &init, 5_000).await;
    let page = browser.get(&address).await.expect(200).text;
    let title = "Init for the apply";
    assert!(page.contains(&format!("href=\"#log-apply_init-2\">{title}</a>")), "{page}");
    assert!(page.contains(&format!("id=\"log-apply_init-2\">{title}</span>")), "{page}");
    let run = w.run(&stack, "b", RunState::Unconfirmed).await;
    let run = Run { history: [RunState::Initializing, RunState::Planning].map(step).into(), ..run };
    w.save_run(&run).await;
    let address = format!("/runs/{}", run.id);
    let rest: String = (0..1000).map(|i| format!("reading {i}\n")).collect();
    put_pieces(&w, &run, 1, &format!("{init}{rest}{plan}{rest}"), 5_000).await;
    let page = browser.get(&address).await.expect(200).text;
    let link = format!("/runs/{}?section=plan#at\">Plan</a>", run.id);
    assert!(page.contains(&link), "{page}");
    let there = browser.get(&format!("{address}?section=plan")).await.expect(200).text;
    assert!(marked(&there).ends_with("$ terraform plan -input=false"), "{}", marked(&there));
    let none = browser.get(&format!("{address}?section=apply")).await.expect(200).text;
    assert!(none.contains("The log has no section Apply yet."), "{none}");
    browser.get(&format!("{address}?section=x")).await.expect(422);

    let states = [RunState::Initializing, RunState::Planning, RunState::Applying];
    let run = Run { history: states.map(step).into(), phase: Phase::Apply, ..run };
    w.save_run(&run).await;
    put_pieces(&w, &run, 2, &format!("{init}{rest}"), 5_000).await;
    let page = browser.get(&address).await.expect(200).text;
    assert!(page.contains(&format!("?section=apply_init#at\">{title}</a>")), "{page}");
    let there = browser.get(&format!("{address}?section=apply_init")).await.expect(200).text;
    assert!(marked(&there).ends_with("$ terraform init -input=false"), "{}", marked(&there));
    assert!(there.contains(&format!("id=\"log-apply_init-2\">{title}</span>")), "{there}");
}

#[tokio::test]
async fn who_looks_for_something_goes_from_line_to_line() {
    let w = connected().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Finished).await;
    put_pieces(&w, &run, 1, "needle one\nhay\nneedle two\nneedle three\n", 9).await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let address = format!("/runs/{}", run.id);
    let follow = async |page: &str, rel: &str| {
        let (_, rest) = page.split_once(&format!("rel=\"{rel}\" href=\"")).unwrap();
        let link = rest.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&");
        let link = link[link.find("/runs/").unwrap()..].trim_end_matches("#at").to_owned();
        browser.get(&link).await.expect(200).text
    };
    let page = browser.get(&format!("{address}?find=needle")).await.expect(200).text;
    assert!(page.contains("Found in 3 lines.") && !page.contains("rel=\"prev\""), "{page}");
    let mut page = follow(&page, "next").await;
    for (said, line) in [
        ("1 of 3 lines", "needle one"),
        ("2 of 3 lines", "needle two"),
        ("3 of 3 lines", "needle three"),
        ("1 of 3 lines", "needle one"),
    ] {
        assert!(page.contains(said), "{said}: {page}");
        assert_eq!(marked(&page), line);
        page = follow(&page, "next").await;
    }
    page = follow(&follow(&page, "prev").await, "prev").await;
    assert_eq!(marked(&page), "needle three");
}
