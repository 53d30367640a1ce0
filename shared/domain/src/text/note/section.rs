//! The folded part of a note that shows one stack.

use super::NoteStack;
use crate::{
    run::RunState,
    text::{
        change, cut,
        markdown::{code_cell, fence_lines, link, plain},
        more,
    },
};

/// Characters of one line.
const LINE_CHARS: usize = 1_000;
/// Lines of the log.
const LOG_LINES: usize = 30;

/// A stack's folded part: blocks of lines that may be cut.
pub(super) struct Section {
    summary: String,
    blocks: Vec<Block>,
    run_link: String,
}

struct Block {
    heading: &'static str,
    language: &'static str,
    lines: Vec<String>,
}

/// The section of a stack; none when there is no more to show than its row does.
pub(super) fn of(stack: &NoteStack) -> Option<Section> {
    let run = &stack.run;
    let mut blocks = Vec::new();
    if run.state == RunState::Failed {
        let errors: Vec<String> = stack.errors.iter().flat_map(|e| clipped(e)).collect();
        blocks.push(Block { heading: "", language: "", lines: errors });
        let tail = stack.log_tail.len().saturating_sub(LOG_LINES);
        let log: Vec<String> = stack.log_tail[tail..].iter().flat_map(|l| clipped(l)).collect();
        blocks.push(Block { heading: "The end of the log:", language: "", lines: log });
    }
    if let Some(change) = &stack.change {
        let lines = change::lines(change).iter().flat_map(|l| clipped(l)).collect();
        blocks.push(Block { heading: "", language: "diff", lines });
    }
    blocks.retain(|block| !block.lines.is_empty());
    if blocks.is_empty() {
        return None;
    }
    let summary = match run.state {
        RunState::Failed => run.failure(),
        _ => run.delta.unwrap_or_default().to_string(),
    };
    Some(Section {
        summary: format!("{}: {}", code_cell(&run.name, 100), plain(&cut(&summary, 255))),
        blocks,
        run_link: link("see the run", &run.url),
    })
}

/// Inert lines; an empty one stays, since it separates.
fn clipped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = fence_lines(text).map(|line| cut(&line, LINE_CHARS)).collect();
    if lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

impl Section {
    /// Bytes that all lines would take.
    pub(super) fn wanted(&self) -> usize {
        self.blocks.iter().flat_map(|b| &b.lines).map(|l| l.len() + 1).sum()
    }

    /// Bytes that it takes without any line.
    pub(super) fn frame(&self) -> usize {
        let notice = self.notice(usize::MAX).len();
        let frames: usize = self.blocks.iter().map(|b| b.heading.len() + 32).sum();
        self.summary.len() + notice + frames + 96
    }

    /// The section with as many whole lines as fit in `bytes`.
    pub(super) fn render(&self, bytes: usize) -> String {
        let mut out = format!("\n<details><summary>{}</summary>\n", self.summary);
        let (mut left, mut cut, mut is_full) = (bytes, 0, false);
        for block in &self.blocks {
            let mut kept = 0;
            for line in &block.lines {
                is_full |= line.len() + 1 > left;
                if is_full {
                    break;
                }
                left -= line.len() + 1;
                kept += 1;
            }
            cut += block.lines.len() - kept;
            if kept == 0 {
                continue;
            }
            if !block.heading.is_empty() {
                out += &format!("\n{}\n", block.heading);
            }
            out += &format!("\n```{}\n", block.language);
            for line in &block.lines[..kept] {
                out += line;
                out.push('\n');
            }
            out += "```\n";
        }
        if cut > 0 {
            out += &self.notice(cut);
        }
        out + "\n</details>\n"
    }

    fn notice(&self, cut: usize) -> String {
        format!("\n… {}: {}\n", more(cut, "line"), self.run_link)
    }
}
