//! Measures how long masking takes: 100 MB of log in lines of 100 bytes, and in lines of 3 MB,
//! with a key of several lines among the secrets. `make bench` runs it, and reads its lines: what,
//! how much, its unit, and how much it may be.

use gantry_domain::masking::Masker;
use std::{fs, hint::black_box, time::Duration};

/// Bytes of a log.
const LOG: usize = 100_000_000;
/// Seconds that it may take of a processor of today.
const LIMIT: u32 = 2;

#[expect(clippy::print_stdout, reason = "its figures are what it is for")]
fn main() {
    let key: String = (0..48).map(|line| format!("{}\n", noise(line, 64))).collect();
    let key = format!("-----BEGIN PRIVATE KEY-----\n{key}-----END PRIVATE KEY-----\n");
    let document = r#"{"user":"application","password":"correct-horse-1","pin":48151623}"#;
    let secrets = [key.as_str(), document, "hunter22", "aHVudGVyMjM=", "AKIAIOSFODNN7EXAMPLE"];
    let begun = processor_time();
    let masker = Masker::new(secrets);
    let took = processor_time().saturating_sub(begun).as_secs_f64() * 1000.0;
    println!("a masker of {} bytes of secrets, processor\t{took}\tms\t", secrets.concat().len());

    for (name, line) in [("100 bytes", 100), ("3 MB", 3_000_000)] {
        let line = log_line(line);
        let mut stream = masker.stream();
        let begun = processor_time();
        for _ in 0..LOG / line.len() {
            black_box(stream.push(&line));
        }
        black_box(stream.finish());
        let took = processor_time().saturating_sub(begun).as_secs_f64();
        println!("masking 100 MB in lines of {name}, processor\t{took}\ts\t{LIMIT}");
    }
}

/// What this process has taken of a processor. Others may be busy on the same machine.
fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanoseconds = stat.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

/// A line as Terraform prints it, again and again up to its length, with a secret in it.
fn log_line(length: usize) -> String {
    let mut line = "aws_instance.web: Still creating... [10s elapsed] hunter22 ".to_owned();
    let mut round = 0;
    while line.len() < length - 1 {
        line.push_str(&noise(round, 48));
        line.push(' ');
        round += 1;
    }
    line.truncate(length - 1);
    line + "\n"
}

/// Text that looks like base64 and is the same each time.
fn noise(seed: u64, length: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(ALPHABET[usize::try_from(state % 64).unwrap_or(0)])
    };
    (0..length).map(next).collect()
}
