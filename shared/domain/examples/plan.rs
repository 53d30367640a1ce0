//! Measures what it takes to summarize a plan of 20,000 resources: the JSON as `show -json` writes
//! it, made into the change that is kept and into a note. `make bench` runs it, and reads its lines:
//! what, how much, its unit, and how much it may be.

use gantry_domain::{
    masking::Masker,
    plan::{Change, LARGEST_CHANGE, Limits},
    stack::Tool,
    text::change,
};
use std::{fmt::Write as _, fs, hint::black_box, time::Duration};

const RESOURCES: usize = 20_000;
/// Seconds that it may take of a processor of today, and of memory, the JSON included.
const LIMIT: u32 = 3;
const MEGABYTES: u64 = 200;

#[expect(clippy::print_stdout, reason = "its figures are what it is for")]
fn main() -> Result<(), String> {
    let plan = plan();
    let begun = processor_time();
    let read =
        Change::from_plan(plan.as_bytes(), Tool::Terraform, Limits::default(), &Masker::default());
    let (mut change, _) = read.map_err(|error| error.to_string())?;
    let read = processor_time().saturating_sub(begun);
    change.fit(LARGEST_CHANGE);
    black_box(change::parts(&change));
    let took = processor_time().saturating_sub(begun);
    let (read, took, peak) = (read.as_secs_f64(), took.as_secs_f64(), peak());
    let name = format!("a plan of {RESOURCES} resources, {} MB", plan.len() / 1_000_000);
    println!("{name}, read, processor\t{read}\ts\t");
    println!("{name}, read and summarized, processor\t{took}\ts\t{LIMIT}");
    println!("{name}, read and summarized, peak memory\t{peak}\tMB\t{MEGABYTES}");
    Ok(())
}

/// As Terraform writes it: values before, after and planned, marks, and the code.
fn plan() -> String {
    let mut planned = String::new();
    let mut prior = String::new();
    let mut changes = String::new();
    for number in 0..RESOURCES {
        let head = format!(
            r#""address":"test_object.web[{number}]","mode":"managed","type":"test_object","name":"web","index":{number},"provider_name":"gantry.test/gantry/test""#
        );
        let (before, after) = (values(number, "one"), values(number, "two"));
        let marks = r#"{"endpoints":[{"token":true}],"pin":true,"rule":[{"secret":true}],"secret":true,"tags":{}}"#;
        let comma = if number == 0 { "" } else { "," };
        let actions = match number % 10 {
            0 => r#""delete","create""#,
            1 => r#""no-op""#,
            _ => r#""update""#,
        };
        let after_or_same = if number % 10 == 1 { &before } else { &after };
        // Writing into a text does not fail.
        let _written = write!(
            changes,
            r#"{comma}{{{head},"change":{{"actions":[{actions}],"before":{before},"after":{after_or_same},"after_unknown":{{"endpoints":[{{}}],"label":[],"rule":[{{}}],"tags":{{}},"unwritten":[]}},"before_sensitive":{marks},"after_sensitive":{marks}}}}}"#
        );
        for (list, values) in [(&mut planned, &after), (&mut prior, &before)] {
            let _written = write!(
                list,
                r#"{comma}{{{head},"schema_version":0,"values":{values},"sensitive_values":{marks}}}"#
            );
        }
    }
    format!(
        r#"{{"format_version":"1.2","terraform_version":"1.11.4","planned_values":{{"root_module":{{"resources":[{planned}]}}}},"resource_changes":[{changes}],"prior_state":{{"format_version":"1.0","terraform_version":"1.11.4","values":{{"root_module":{{"resources":[{prior}]}}}}}},"configuration":{{"root_module":{{}}}},"applyable":true,"complete":true,"errored":false}}"#
    )
}

fn values(number: usize, text: &str) -> String {
    format!(
        r#"{{"endpoints":[{{"token":"token-of-{number}","url":"https://{number}.example"}}],"fails_to":null,"id":"web-{number}","label":[{{"key":"team","value":"blue"}}],"name":"web","number":{number},"old_text":null,"pin":48151{number},"revision":1,"rule":[{{"port":443,"secret":"rule-secret-{number}","text":{text:?}}}],"secret":"secret-of-{number}","settings":null,"tags":{{"Name":"web-{number}","environment":"production"}},"takes":null,"text":"{text} of {number}","unwritten":[],"warns_at":null,"write_only":null,"write_only_version":null}}"#
    )
}

/// What this process has taken of a processor. Others may be busy on the same machine.
fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanoseconds = stat.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

/// The most memory that this process has had, in megabytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes: Option<u64> = peak.and_then(|kb| kb.trim().trim_end_matches(" kB").parse().ok());
    kilobytes.unwrap_or(0) / 1_000
}
