//! Measures what it takes to summarize plans of 20,000 resources: the JSON as `show -json` writes it,
//! made into the change that is kept and into a note. `make bench` runs it, and reads its lines: what,
//! how much, its unit, and how much it may be.

use gantry_domain::{
    masking::Masker,
    plan::{Change, LARGEST_CHANGE, Limits},
    stack::Tool,
    text::change,
};
use std::{fmt::Write as _, fs, hint::black_box, time::Duration};

const RESOURCES: usize = 20_000;

/// A plan, and what it may take.
struct Size {
    /// Characters of a text that each resource has, and that stays as it is.
    long: usize,
    /// Of a processor of today, where that is held.
    seconds: Option<u32>,
    /// Of memory, the JSON included.
    megabytes: u64,
}

/// The smaller one first: the most memory is that of the process until then.
const SIZES: [Size; 2] = [
    Size { long: 0, seconds: Some(3), megabytes: 200 },
    Size { long: 1_750, seconds: None, megabytes: 300 },
];

#[expect(clippy::print_stdout, reason = "its figures are what it is for")]
fn main() -> Result<(), String> {
    for Size { long, seconds, megabytes } in SIZES {
        let plan = plan(long);
        let begun = processor_time();
        let (limits, masker) = (Limits::default(), Masker::default());
        let read = Change::from_plan(plan.as_bytes(), Tool::Terraform, limits, &masker);
        let (mut change, _) = read.map_err(|error| error.to_string())?;
        let read = processor_time().saturating_sub(begun);
        change.fit(LARGEST_CHANGE);
        black_box(change::parts(&change));
        let took = processor_time().saturating_sub(begun);
        let (read, took, peak) = (read.as_secs_f64(), took.as_secs_f64(), peak());
        let name = format!("a plan of {RESOURCES} resources, {} MB", plan.len() / 1_000_000);
        let seconds = seconds.map(|seconds| seconds.to_string()).unwrap_or_default();
        println!("{name}, read, processor\t{read}\ts\t");
        println!("{name}, read and summarized, processor\t{took}\ts\t{seconds}");
        println!("{name}, read and summarized, peak memory\t{peak}\tMB\t{megabytes}");
    }
    Ok(())
}

/// As Terraform writes it: values before, after and planned, marks, and the code. Each resource also
/// has a text of so many characters.
fn plan(long: usize) -> String {
    let long = "x".repeat(long);
    let mut plan = String::with_capacity(RESOURCES * (4_000 + 4 * long.len()));
    plan += r#"{"format_version":"1.2","terraform_version":"1.11.4","planned_values":{"root_module":{"resources":["#;
    add_values(&mut plan, "two", &long);
    plan += r#"]}},"resource_changes":["#;
    add_changes(&mut plan, &long);
    plan += r#"],"prior_state":{"format_version":"1.0","terraform_version":"1.11.4","values":{"root_module":{"resources":["#;
    add_values(&mut plan, "one", &long);
    plan += r#"]}}},"configuration":{"root_module":{}},"applyable":true,"complete":true,"errored":false}"#;
    plan
}

const MARKS: &str =
    r#"{"endpoints":[{"token":true}],"pin":true,"rule":[{"secret":true}],"secret":true,"tags":{}}"#;

/// How each resource begins.
fn head(number: usize) -> String {
    let comma = if number == 0 { "" } else { "," };
    format!(
        r#"{comma}{{"address":"test_object.web[{number}]","mode":"managed","type":"test_object","name":"web","index":{number},"provider_name":"gantry.test/gantry/test""#
    )
}

fn add_values(plan: &mut String, text: &str, long: &str) {
    for number in 0..RESOURCES {
        let (head, values) = (head(number), values(number, text, long));
        // Writing into a text does not fail.
        let _written = write!(
            plan,
            r#"{head},"schema_version":0,"values":{values},"sensitive_values":{MARKS}}}"#
        );
    }
}

fn add_changes(plan: &mut String, long: &str) {
    for number in 0..RESOURCES {
        let head = head(number);
        let (before, after) = (values(number, "one", long), values(number, "two", long));
        let actions = match number % 10 {
            0 => r#""delete","create""#,
            1 => r#""no-op""#,
            _ => r#""update""#,
        };
        let after_or_same = if number % 10 == 1 { &before } else { &after };
        let _written = write!(
            plan,
            r#"{head},"change":{{"actions":[{actions}],"before":{before},"after":{after_or_same},"after_unknown":{{"endpoints":[{{}}],"label":[],"rule":[{{}}],"tags":{{}},"unwritten":[]}},"before_sensitive":{MARKS},"after_sensitive":{MARKS}}}}}"#
        );
    }
}

fn values(number: usize, text: &str, long: &str) -> String {
    format!(
        r#"{{"endpoints":[{{"token":"token-of-{number}","url":"https://{number}.example"}}],"fails_to":null,"id":"web-{number}","label":[{{"key":"team","value":"blue"}}],"long":"{long}","name":"web","number":{number},"old_text":null,"pin":48151{number},"revision":1,"rule":[{{"port":443,"secret":"rule-secret-{number}","text":{text:?}}}],"secret":"secret-of-{number}","settings":null,"tags":{{"Name":"web-{number}","environment":"production"}},"takes":null,"text":"{text} of {number}","unwritten":[],"warns_at":null,"write_only":null,"write_only_version":null}}"#
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
