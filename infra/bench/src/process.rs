//! What processes take: processor time and memory, from `/proc`.

use anyhow::Context as _;
use nix::unistd::{SysconfVar, sysconf};
use std::{collections::HashMap, fs};

/// Seconds of a processor that a process has used, and everything below it, those that have ended
/// and were waited for among them.
pub(crate) fn processor(root: u32) -> anyhow::Result<f64> {
    let ticks_a_second =
        sysconf(SysconfVar::CLK_TCK)?.context("nobody knows how long a tick is")?;
    let mut all: HashMap<u32, (u32, u64)> = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // None when it has ended just now.
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok();
        all.extend(stat.as_deref().and_then(parent_and_ticks).map(|found| (id, found)));
    }
    anyhow::ensure!(all.contains_key(&root), "the program has ended");
    let is_below = |mut id: u32| {
        while id != root {
            match all.get(&id) {
                Some((parent, _)) => id = *parent,
                None => return false,
            }
        }
        true
    };
    let below = all.iter().filter(|(id, _)| is_below(**id));
    let ticks: u64 = below.map(|(_, (_, ticks))| ticks).sum();
    Ok(ticks as f64 / ticks_a_second as f64)
}

/// Of a process: its parent, and the ticks that it and those of its children that it has waited for
/// have used.
fn parent_and_ticks(stat: &str) -> Option<(u32, u64)> {
    // A name can have anything in it, but ends here.
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = fields.get(11..15)?.iter().map(|ticks| ticks.parse::<u64>());
    Some((fields.get(1)?.parse().ok()?, ticks.sum::<Result<u64, _>>().ok()?))
}

/// Megabytes of memory that a process has (`VmRSS`), or had at most (`VmHWM`).
pub(crate) fn memory(id: u32, which: &str) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let found = status.lines().find_map(|line| line.strip_prefix(which)?.strip_prefix(':'));
    let kilobytes = found.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kilobytes.context("its memory is not in /proc")? * 1024.0 / 1e6)
}

/// The most megabytes that a process of this name has had which is there now; 0 where there is none.
pub(crate) fn most_memory_of(name: &str) -> f64 {
    let mut most = 0.0;
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let file_name = entry.file_name();
        let Some(id) = file_name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let is_it = fs::read_to_string(entry.path().join("comm"))
            .is_ok_and(|found| found.trim_end() == name);
        // It may have ended just now.
        if is_it && let Ok(memory) = memory(id, "VmHWM") {
            most = f64::max(most, memory);
        }
    }
    most
}
