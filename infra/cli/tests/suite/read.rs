//! What is only looked at.

use crate::support::{Gantry, RUN, STATE, Script, Terminal, example};
use serde_json::{Value, json};

fn document(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test]
async fn stacks_of_all_pages_are_listed() {
    let gantry = Gantry::start(Script::default()).await;
    let said = gantry.says("gantry stacks").await;
    let slugs: Vec<_> = said.out.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(slugs, ["STACK", "dns", "mail", "network", "web"]);
    assert!(said.out.contains("\ndns      Failed "), "{said:?}");
    assert!(said.out.contains("\nmail     Idle "), "{said:?}");
    assert!(said.out.contains("\nnetwork  Needs confirmation (network#6)  "), "{said:?}");
    assert!(said.out.contains("\nweb      Drifted "), "{said:?}");
    let all = document(&gantry.says("gantry stacks --json").await.out);
    assert_eq!(all["stacks"].as_array().unwrap().len(), 4);
    gantry.says("gantry stacks --label live --state Drifted").await;
    gantry.change(|script| {
        let asked = script.seen.iter().map(|(line, ..)| line.as_str());
        let asked: Vec<_> = asked.filter(|line| line.contains("label=live")).collect();
        assert!(asked[0].contains("label=live&state=drifted"), "{asked:?}");
    });
    assert_eq!(all["next"], Value::Null);
    let none = gantry.says("gantry stacks --search none").await;
    assert_eq!((none.code, none.out.as_str()), (0, ""));
    assert!(none.err.contains("No stacks match"), "{none:?}");
}

#[tokio::test]
async fn as_many_runs_are_listed_as_asked_for() {
    let gantry = Gantry::start(Script::default()).await;
    let said = gantry.says("gantry runs network --limit 2").await;
    let lines: Vec<_> = said.out.lines().collect();
    assert_eq!(lines.len(), 3, "{said:?}");
    assert!(lines[1].starts_with("network#106  Needs confirmation  Deploy  4f1c2ab0  main"));
    assert!(lines[1].contains("1 to add, 0 to change, 0 to destroy"), "{said:?}");
    let many = document(&gantry.says("gantry runs network --limit 101 --json").await.out);
    assert_eq!(many["runs"].as_array().unwrap().len(), 101);
    let said = gantry.says("gantry runs nothing").await;
    assert_eq!(said.code, 1);
    assert_eq!(said.err, "gantry: Could not list the runs of nothing: There is no such thing.\n");
}

#[tokio::test]
async fn runs_of_all_stacks_are_listed_by_what_they_are() {
    let gantry = Gantry::start(Script::default()).await;
    let said = gantry.says("gantry runs --limit 1").await;
    assert!(said.out.contains("network#106"), "{said:?}");
    let said = gantry.says("gantry runs --state failed --type tracked --since 2026-11-30").await;
    assert!(said.code == 0 && said.out.contains("network#106"), "{said:?}");
    let said = gantry.says("gantry runs network --state Discarded --type Deploy").await;
    assert_eq!((said.code, said.err.as_str()), (0, "No runs match.\n"));
    gantry.change(|script| {
        let (line, ..) = script.seen.last().unwrap();
        assert!(line.contains("state=discarded&type=tracked&stack=network"), "{line}");
    });
    gantry.says("gantry runs --purpose Drift").await;
    gantry.change(|script| {
        let (line, ..) = script.seen.last().unwrap();
        assert!(line.contains("purpose=drift"), "{line}");
    });
    let said = gantry.says("gantry runs --state Applied").await;
    assert!(said.code == 0 && said.err.contains("All finished runs are listed"), "{said:?}");
    let said = gantry.says("gantry runs --state lost").await;
    assert_eq!((said.code, said.err.as_str()), (1, "gantry: Could not list runs: Check: state.\n"));
}

#[tokio::test]
async fn a_run_is_found_by_number_id_and_page() {
    let gantry = Gantry::start(Script::default()).await;
    let by_id = gantry.says(&format!("gantry show {RUN}")).await;
    assert!(by_id.out.starts_with("network#6: Needs confirmation ("), "{by_id:?}");
    assert!(by_id.out.contains("gantry confirm network#6, or gantry discard network#6"));
    for name in ["network#6", "https://gantry.example.com/runs/r-8c41d7"] {
        let said = gantry.says(&format!("gantry show {name}")).await;
        assert!(said.out.starts_with("network#6: "), "{said:?}");
    }
    let said = gantry.says("gantry show network#107").await;
    assert!(said.code == 1 && said.err.contains("network has no run #107"), "{said:?}");
    let said = gantry.says("gantry show network#5").await;
    assert!(said.code == 1 && said.err.contains("network has no run #5"), "{said:?}");
    let said = gantry.says("gantry show network").await;
    let why = "gantry: network is a stack, not a run: `gantry runs network` lists its runs, and \
               the newest is network#106.\n";
    assert_eq!((said.code, said.err.as_str()), (1, why));
    let said = gantry.says("gantry stop nothing#6 --yes").await;
    let why = "gantry: Could not stop nothing#6: There is no such thing.\n";
    assert_eq!((said.code, said.err.as_str()), (1, why));
    let said = gantry.says("gantry show nothing").await;
    assert!(said.code == 1 && said.err.contains("no stack, module or run nothing"), "{said:?}");
    let said = gantry.says("gantry show https://elsewhere.example/runs/r-1").await;
    assert!(said.err.contains("gantry login https://elsewhere.example"), "{said:?}");

    let run = document(&gantry.says("gantry show network#6 --json").await.out);
    assert_eq!(run, example("Run"));
    let said = gantry.says("gantry show network#6 --change").await;
    assert!(said.out.contains("+ aws_subnet.a will be created"), "{said:?}");
    let change = document(&gantry.says("gantry show network#6 --change --json").await.out);
    assert_eq!(change, example("Change"));
}

#[tokio::test]
async fn an_older_gantry_without_numbers_says_so() {
    let gantry = Gantry::start(Script { is_old: true, ..Script::default() }).await;
    let said = gantry.says("gantry show network#6").await;
    assert!(said.code == 1 && said.err.contains("older Gantry"), "{said:?}");
    let said = gantry.says(&format!("gantry show {RUN}")).await;
    assert!(said.out.starts_with("r-8c41d7: Needs confirmation"), "{said:?}");
}

#[tokio::test]
async fn a_log_is_read_to_its_end_and_is_safe() {
    let log = vec![(0, "\u{1b}[1mone"), (0, "\u{1b}[0m\ntwo\u{1b}[2J\n"), (0, "three\u{1b}[31m")];
    let gantry = Gantry::start(Script { log, ..Script::default() }).await;
    let said = gantry.says("gantry logs network#6").await;
    assert_eq!((said.code, said.out.as_str()), (0, "one\ntwo\nthree\n"));
    let said = gantry.says_to("", "gantry logs network#6").await;
    assert_eq!(said.out, "\u{1b}[1mone\u{1b}[0m\ntwo\nthree\u{1b}[31m\u{1b}[0m\n");
    let log = document(&gantry.says("gantry logs network#6 --json").await.out);
    assert_eq!(log["pieces"].as_array().unwrap().len(), 3);
    assert_eq!(log["pieces"][2]["text"], "three\u{1b}[31m");
}

#[tokio::test]
async fn a_log_is_followed_until_the_run_has_ended() {
    let looks = [
        json!({ "state": "planning" }),
        json!({ "state": "planning" }),
        json!({ "state": "unconfirmed" }),
        json!({ "state": "applying" }),
        json!({ "state": "stopped", "summary": "Stopped by ada" }),
    ];
    let log = vec![(0, "one\n"), (3, "two\n"), (4, "three\n")];
    let gantry = Gantry::start(Script { looks: looks.to_vec(), log, ..Script::default() }).await;
    let said = gantry.says(&format!("gantry logs -f {RUN}")).await;
    assert_eq!((said.code, said.out.as_str()), (4, "one\ntwo\nthree\n"));
    assert_eq!(
        said.err,
        "network#6: planning\n\
         network#6 needs confirmation: 1 to add, 0 to change, 0 to destroy. To apply it: gantry \
         confirm network#6. To discard it: gantry discard network#6.\n\
         network#6: needs confirmation\n\
         network#6: applying\n\
         network#6 was stopped: Stopped by ada.\n"
    );
}

#[tokio::test]
async fn a_state_is_printed_as_it_is_and_the_key_goes_to_no_other_host() {
    let elsewhere = Gantry::start(Script::default()).await;
    let gantry = Gantry::start(Script::default()).await;
    let said = gantry.says("gantry state pull network").await;
    assert_eq!((said.code, said.out.as_bytes()), (0, STATE));
    let at = format!("{}/signed", elsewhere.url);
    gantry.change(|script| script.state_at = Some(at));
    let said = gantry.says("gantry state pull network").await;
    assert_eq!((said.code, said.out.as_bytes()), (0, STATE), "{said:?}");
    elsewhere.change(|script| assert_eq!(script.seen.len(), 1));
}

#[tokio::test]
async fn a_page_is_opened_or_its_address_printed() {
    let gantry = Gantry::start(Script::default()).await;
    let stack = format!("{}/stacks/network", gantry.url);
    let said = gantry.says("gantry open network --print").await;
    assert_eq!(said.out, format!("{stack}\n"));
    let said = gantry.says("gantry open network").await;
    assert_eq!((said.out.as_str(), said.err), ("", format!("Opened {stack}\n")));
    let page = "https://gantry.example.com/runs/r-8c41d7\n";
    for run in ["network#6", RUN] {
        assert_eq!(gantry.says(&format!("gantry open {run} --print")).await.out, page);
    }
    let (url, key) = (Some(gantry.url.clone()), Some(crate::support::KEY.to_owned()));
    let terminal = Terminal { url, key, has_no_browser: true, ..Terminal::default() };
    let said = terminal.says("gantry open network").await;
    assert_eq!((said.code, said.out), (0, format!("{stack}\n")));
    let said = gantry.says("gantry open nothing").await;
    assert!(said.code == 1 && said.err.contains("no stack, module or run nothing"), "{said:?}");
    // What a browser may not open is not opened.
    gantry.change(|script| script.looks = vec![json!({ "page": "file:///etc/passwd" })]);
    let said = gantry.says("gantry open network#6 --print").await;
    assert_eq!(said.out, format!("{}/runs/{RUN}\n", gantry.url));
}

#[tokio::test]
async fn shells_complete_all_commands() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let said = Terminal::default().says(&format!("gantry completion {shell}")).await;
        assert!(said.code == 0 && said.out.contains("confirm") && said.err.is_empty(), "{shell}");
    }
}
