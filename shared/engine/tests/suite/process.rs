//! Child processes: what they see, how their output comes, how they end.

use gantry_engine::{
    Ended, Environment, OnStop, Sink, Spec, StopKind, Terraform,
    kept::{KeptOutput, interrupt, is_being_written, pass_rest},
    process,
    stop::stop_channel,
};
use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::{Duration, Instant},
};

#[derive(Default, Clone)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn sink(&self) -> Sink {
        let lines = Arc::clone(&self.0);
        Arc::new(move |piece| lines.lock().unwrap().push(piece.text.to_owned()))
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    async fn has(&self, wanted: &str) {
        for _ in 0..200 {
            if self.all().iter().any(|line| line == wanted) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{wanted:?} is not in {:?}", self.all());
    }
}

fn shell(script: &str) -> Spec {
    let mut environment = Environment::default();
    environment.set("PATH", "/usr/bin:/bin");
    environment.set("ONLY", "this");
    Spec {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        folder: "/".into(),
        environment,
        user: None,
        confinement: None,
        processes: None,
    }
}

fn terraform() -> Terraform {
    let Spec { program, folder, environment, .. } = shell("");
    Terraform {
        program,
        folder,
        var_files: Vec::new(),
        environment,
        user: None,
        confinement: None,
        processes: None,
    }
}

async fn stop_after_ready(script: &str, on_stop: OnStop) -> (Ended, Lines) {
    stop_spec_after_ready(shell(script), on_stop).await
}

async fn stop_spec_after_ready(spec: Spec, on_stop: OnStop) -> (Ended, Lines) {
    let (stopper, mut stop) = stop_channel();
    let lines = Lines::default();
    let sink = lines.sink();
    let running = tokio::spawn(async move { process::run(&spec, &sink, &mut stop, on_stop).await });
    lines.has("ready").await;
    stopper.stop(StopKind::Asked, "Stopped by alice");
    stopper.stop(StopKind::Asked, "Stopped again");
    (running.await.unwrap().unwrap(), lines)
}

#[tokio::test]
async fn nothing_is_inherited_and_both_outputs_keep_their_order() {
    let (_stopper, mut stop) = stop_channel();
    let lines = Lines::default();
    let spec = shell("echo 1; echo 2 >&2; printf '3\\r\\n'; printf '\\377x'; env >&2; exit 7");
    let ended = process::run(&spec, &lines.sink(), &mut stop, OnStop::Interrupt).await.unwrap();
    assert_eq!(ended.status.code(), Some(7));
    let all = lines.all();
    assert_eq!(all[..3], ["1", "2", "3"]);
    let mut variables: Vec<_> = all[3..].iter().filter_map(|l| l.split('=').next()).collect();
    variables.retain(|name| !matches!(*name, "PWD" | "_" | "SHLVL" | "OLDPWD"));
    variables.sort_unstable();
    assert_eq!(variables.len(), 2, "{variables:?}");
}

#[tokio::test]
async fn abandoning_gives_a_grace_and_then_ends_the_whole_group() {
    let script = "trap 'echo caught' INT; sleep 300 & echo $!; echo ready; wait; wait; sleep 300";
    let started = Instant::now();
    let grace = Duration::from_millis(300);
    let (ended, lines) = stop_after_ready(script, OnStop::Abandon { grace }).await;
    assert!(ended.stopped);
    assert!(started.elapsed() < Duration::from_secs(20));
    assert!(lines.all().contains(&"caught".to_owned()), "{:?}", lines.all());
    let child: i32 = lines.all()[0].parse().unwrap();
    for _ in 0..100 {
        let status = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        if status.is_empty() || status.contains(") Z ") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{child} is still there");
}

#[tokio::test]
async fn a_hook_ends_with_what_it_started() {
    let started = Instant::now();
    let grace = Duration::from_secs(60);
    let (ended, _) =
        stop_after_ready("echo ready; sleep 300", OnStop::AbandonGroup { grace }).await;
    assert!(ended.stopped && !ended.status.success());
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn interrupting_is_one_signal_to_one_process_and_then_patience() {
    let script = "trap 'echo caught' INT; (trap 'echo plugin' INT; sleep 2) & echo ready; \
                  wait; wait; echo finished";
    let (ended, lines) = stop_after_ready(script, OnStop::Interrupt).await;
    assert!(ended.stopped && ended.status.success());
    assert_eq!(lines.all(), ["ready", "caught", "finished"]);
}

/// A task as [`Terraform::task`] starts it: what it has begun ends first, and nothing more begins.
#[tokio::test]
async fn a_task_ends_after_what_it_has_started() {
    let tool = "/bin/sh -c 'trap \"sleep 1; echo state written; exit 1\" INT; echo ready; \
                while :; do sleep 0.05; done'; echo never";
    let task = terraform().task(tool);
    let grace = Duration::from_secs(60);
    let (ended, lines) = stop_spec_after_ready(task, OnStop::InterruptGroup { grace }).await;
    assert_eq!((ended.stopped, ended.status.code()), (true, Some(130)));
    assert_eq!(lines.all(), ["ready", "state written"]);
}

#[tokio::test]
async fn a_task_that_does_not_end_is_ended_after_the_grace() {
    let tool = "/bin/sh -c 'trap \"\" INT; echo ready; while :; do sleep 0.05; done'";
    let started = Instant::now();
    let grace = Duration::from_millis(300);
    let task = terraform().task(tool);
    let (ended, _) = stop_spec_after_ready(task, OnStop::InterruptGroup { grace }).await;
    assert!(ended.stopped && ended.status.code().is_none(), "{ended:?}");
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn a_task_ends_as_its_command_does_whatever_stands_in_it() {
    let (_stopper, mut stop) = stop_channel();
    for (command, code, said) in [
        ("echo \"it's $ONLY\"; exit 3", 3, "it's this"),
        ("false\necho 'a  b' # and no more", 0, "a  b"),
        ("cat <<END\n$((1 + 1))\nEND", 0, "2"),
    ] {
        let lines = Lines::default();
        let (task, grace) = (terraform().task(command), Duration::from_secs(1));
        let on_stop = OnStop::InterruptGroup { grace };
        let ended = process::run(&task, &lines.sink(), &mut stop, on_stop).await.unwrap();
        assert_eq!(ended.status.code(), Some(code), "{command}");
        assert_eq!(lines.all(), [said], "{command}");
    }
}

#[tokio::test]
async fn what_outlives_the_process_does_not_hold_it_up() {
    let (_stopper, mut stop) = stop_channel();
    let lines = Lines::default();
    let started = Instant::now();
    let spec = shell("sleep 20 & echo done");
    process::run(&spec, &lines.sink(), &mut stop, OnStop::Interrupt).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(lines.all(), ["done"]);
}

/// Kept output is followed while it grows, and gone again when it was read.
#[tokio::test]
async fn kept_output_is_followed_and_takes_no_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("output");
    let (stopper, mut stop) = stop_channel();
    let lines = Lines::default();
    let script = "head -c 30000000 /dev/zero | tr '\\0' x; echo; echo ready; \
                  trap 'echo caught; exit 3' INT; sleep 300 & wait";
    let (spec, sink) = (shell(script), lines.sink());
    let output = KeptOutput::create(&path).unwrap();
    let taken = output.taken();
    let running = tokio::spawn(async move {
        let passed = move |bytes| taken.store(bytes, Ordering::Relaxed);
        process::run_kept(&spec, output, &sink, &passed, &mut stop, OnStop::Interrupt).await
    });
    lines.has("ready").await;
    assert!(is_being_written(&path).unwrap());
    assert!(KeptOutput::create(&path).is_err(), "two processes would write into it");
    let metadata = path.metadata().unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777, 0o600);
    let on_disk = std::os::unix::fs::MetadataExt::blocks(&metadata) * 512;
    assert!(metadata.len() > 30_000_000 && on_disk < 10_000_000, "{on_disk}");
    stopper.stop(StopKind::Asked, "Stopped by alice");
    let ended = running.await.unwrap().unwrap();
    assert!(ended.stopped && ended.status.code() == Some(3));
    assert_eq!(lines.all().last().unwrap(), "caught");
    assert_eq!(lines.all().concat().len(), 30_000_000 + "ready".len() + "caught".len());
}

/// The process goes on when whoever follows its output is gone, and who asks can tell.
#[tokio::test]
async fn kept_output_outlives_its_reader() {
    let folder = tempfile::tempdir().unwrap();
    let (path, go, done) =
        (folder.path().join("output"), folder.path().join("go"), folder.path().join("done"));
    let script = format!(
        "echo ready; until [ -e {} ]; do sleep 0.05; done; \
         seq 10000 && /bin/sh -c 'seq 10000' && touch {}",
        go.display(),
        done.display()
    );
    let (_stopper, mut stop) = stop_channel();
    let lines = Lines::default();
    let (spec, sink) = (shell(&script), lines.sink());
    let output = KeptOutput::create(&path).unwrap();
    let taken = output.taken();
    let running = tokio::spawn(async move {
        let passed = move |bytes| taken.store(bytes, Ordering::Relaxed);
        process::run_kept(&spec, output, &sink, &passed, &mut stop, OnStop::Interrupt).await
    });
    lines.has("ready").await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    assert!(is_being_written(&path).unwrap());
    std::fs::write(go, "").unwrap();
    for _ in 0..500 {
        if !is_being_written(&path).unwrap() {
            assert!(done.exists());
            // What nobody has taken is found, and nothing else.
            let (mut rest, mut lines) = (String::new(), 0);
            pass_rest(&path, |piece| {
                rest.push_str(piece.text);
                lines += u32::from(piece.ends);
            })
            .unwrap();
            assert!(lines == 20_000 && rest.starts_with("123") && rest.ends_with("10000"));
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it is still there");
}

/// Of a task all that it has started is asked, also where nobody who started it is there.
#[tokio::test]
async fn a_kept_group_is_interrupted_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("output");
    let (_stopper, mut stop) = stop_channel();
    let lines = Lines::default();
    let tool = "/bin/sh -c 'trap \"echo caught; exit 1\" INT; echo ready; \
                while :; do sleep 0.05; done'";
    let (task, sink, grace) = (terraform().task(tool), lines.sink(), Duration::from_secs(60));
    let output = KeptOutput::create(&path).unwrap();
    let running = tokio::spawn(async move {
        let on_stop = OnStop::InterruptGroup { grace };
        process::run_kept(&task, output, &sink, &|_| (), &mut stop, on_stop).await
    });
    lines.has("ready").await;
    assert!(interrupt(&path).unwrap());
    assert_eq!(running.await.unwrap().unwrap().status.code(), Some(130));
    assert_eq!(lines.all(), ["ready", "caught"]);
}

/// Whoever asks the process to end: it is asked once.
#[tokio::test]
async fn a_kept_process_is_interrupted_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("output");
    assert!(!interrupt(&path).unwrap(), "there is none");
    let (_stopper, mut stop) = stop_channel();
    let lines = Lines::default();
    let script = "trap 'echo caught' INT; echo ready; for i in 1 2 3; do sleep 0.3; done; exit 7";
    let (spec, sink) = (shell(script), lines.sink());
    let output = KeptOutput::create(&path).unwrap();
    let running = tokio::spawn(async move {
        process::run_kept(&spec, output, &sink, &|_| (), &mut stop, OnStop::Interrupt).await
    });
    lines.has("ready").await;
    assert!(interrupt(&path).unwrap());
    assert!(!interrupt(&path).unwrap(), "it was asked");
    assert_eq!(running.await.unwrap().unwrap().status.code(), Some(7));
    assert_eq!(lines.all(), ["ready", "caught"]);
}
