//! The demo as a program that somebody ends before it has told its story.

use crate::support::{free_address, program, runners_of, write_runner};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

const PATIENCE: Duration = Duration::from_secs(30);

fn demo(folder: &Path) -> Command {
    let mut demo = program(folder, "demo", free_address());
    demo.env("GANTRY_DEMO_GITLAB_ADDR", free_address().to_string());
    demo.stdout(Stdio::piped()).stderr(Stdio::piped());
    demo
}

/// A process that has ended and was not waited for has no arguments any more.
fn lives(pid: u32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|arguments| !arguments.is_empty())
}

async fn until(what: &str, is_there: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_there() {
        assert!(began.elapsed() < PATIENCE, "never seen: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_leaves_no_process_when_it_is_asked_to_end_in_the_middle() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let folder = tempfile::tempdir().unwrap();
        write_runner(folder.path());
        let data = folder.path().join("data/demo");
        let first = demo(folder.path()).spawn().unwrap();
        let first_process = first.id().unwrap();
        let lock = data.join("lock");
        until("the first demo", || std::fs::read(&lock).is_ok_and(|text| !text.is_empty())).await;

        let second = demo(folder.path()).spawn().unwrap().wait_with_output();
        let second = tokio::time::timeout(PATIENCE, second).await;
        let second = second.expect("the second demo stays up").unwrap();
        let said = String::from_utf8(second.stderr).unwrap();
        let expected = format!("another Gantry (process {first_process}) uses the folder ");
        assert!(!second.status.success() && said.contains(&expected), "{said}");

        until("a runner", || runners_of(&data).last().is_some_and(|pid| lives(*pid))).await;
        kill(Pid::from_raw(first_process.cast_signed()), signal).unwrap();
        let ended = tokio::time::timeout(PATIENCE, first.wait_with_output()).await.unwrap();
        let ended = ended.unwrap();
        let said = String::from_utf8(ended.stdout).unwrap();
        let left: Vec<_> = runners_of(&data).into_iter().filter(|pid| lives(*pid)).collect();
        assert!(left.is_empty(), "{signal}: {left:?} go on\n{said}");
        assert!(said.ends_with("Stopped before the end of the story.\n"), "{said}");
        assert_eq!(ended.status.code(), Some(1), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn its_steps_are_numbered_and_its_links_open() {
    let folder = tempfile::tempdir().unwrap();
    write_runner(folder.path());
    let mut demo = demo(folder.path()).spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let (mut said, mut steps, mut links) = (String::new(), Vec::new(), Vec::new());
    loop {
        let next = tokio::time::timeout(4 * PATIENCE, lines.next_line()).await;
        let Ok(next) = next else { panic!("nothing more is said after:\n{said}") };
        let Some(line) = next.unwrap() else { break };
        said += &format!("{line}\n");
        let number = line.split_once(". ").and_then(|(number, _)| number.parse::<usize>().ok());
        steps.extend(number);
        links.extend(line.strip_prefix("   open: ").map(str::to_owned));
        if line.starts_with("Open a merge request") {
            break;
        }
    }
    assert!(said.contains("Everything showed up in GitLab."), "{said}");
    assert_eq!(steps, (1..=steps.len()).collect::<Vec<_>>(), "{said}");
    assert_eq!(links.len(), steps.len(), "{said}");
    for part in [
        "applied once approved and confirmed; it waits for 1 approval, by @ada\n",
        "; 1 of 1 approval by @ada: \"Five are enough.\"\n",
        ", confirmed by You @you\n",
        "choose ada, press \"Authorize\", then \"Approve\"\n",
        "choose you, press \"Authorize\", then \"Confirm and apply\"\n",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    gantry_setup::crypto::install();
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
    let http = http.timeout(PATIENCE).build().unwrap();
    for link in links {
        let status = http.get(&link).send().await.unwrap().status();
        assert!(status.is_success(), "{link}: {status}\n{said}");
    }
    demo.kill().await.unwrap();
}
