//! The folded part of a note that shows one stack.

use super::NoteStack;
use crate::{
    run::{RunState, RunType},
    text::{
        change::{self, Part},
        cut,
        markdown::{code_cell, fence_lines, link, plain},
        more,
        status::{RunView, of_run},
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
    heading: String,
    language: &'static str,
    parts: Vec<Part>,
    /// Where there is no room for all of the heads, the last are kept.
    keeps_end: bool,
}

/// The section of a stack; none when there is no more to show than its row does.
pub(super) fn of(stack: &NoteStack) -> Option<Section> {
    let run = &stack.run;
    let mut blocks = Vec::new();
    if run.state == RunState::Failed {
        let errors: Vec<Vec<String>> = stack.errors.iter().map(|e| clipped(e)).collect();
        blocks.push(Block::of("", errors.join(&String::new())));
        let tail = stack.log_tail.len().saturating_sub(LOG_LINES);
        let log: Vec<String> = stack.log_tail[tail..].iter().flat_map(|l| clipped(l)).collect();
        if let Some(warned) = run.warned() {
            blocks.push(Block::of(format!("{warned} before that:"), warnings(run)));
        }
        // Its last lines say most.
        blocks.push(Block { keeps_end: true, ..Block::of("End of the log:", log) });
    } else if let Some(warned) = run.warned() {
        blocks.push(Block::of(format!("{warned}:"), warnings(run)));
    }
    if let Some(change) = &stack.change {
        let clipped = |lines: &[String]| lines.iter().flat_map(|l| clipped(l)).collect();
        let parts = change::parts(change).into_iter();
        let parts = parts.map(|p| Part {
            head: clipped(&p.head),
            rest: clipped(&p.rest),
            is_apart: p.is_apart,
        });
        let parts = parts.collect();
        let heading = String::new();
        blocks.push(Block { heading, language: "diff", parts, keeps_end: false });
    }
    blocks.retain(|block| block.parts.iter().any(|part| !part.head.is_empty()));
    if blocks.is_empty() {
        return None;
    }
    let summary = match run.state {
        RunState::Failed => run.failure(),
        _ if run.run_type != RunType::Proposed => of_run(run).description,
        _ => run.delta.unwrap_or_default().to_string(),
    };
    Some(Section {
        summary: format!("{}: {}", code_cell(&run.name, 100), plain(&cut(&summary, 255))),
        blocks,
        run_link: link("see the run", &run.url),
    })
}

fn warnings(run: &RunView) -> Vec<String> {
    run.warnings.iter().flat_map(|warning| clipped(&warning.text())).collect()
}

/// Inert lines; an empty one stays, since it separates.
fn clipped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = fence_lines(text).map(|line| cut(&line, LINE_CHARS)).collect();
    if lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

impl Block {
    /// Lines that belong together as they are.
    fn of(heading: impl Into<String>, lines: Vec<String>) -> Self {
        Self {
            heading: heading.into(),
            language: "",
            parts: vec![Part { head: lines, ..Part::default() }],
            keeps_end: false,
        }
    }

    /// The lines in the order in which they are wanted: of all parts the heads first.
    fn lines(&self) -> impl Iterator<Item = PartLine> {
        let parts = || self.parts.iter().enumerate();
        let heads = parts().flat_map(|(part, Part { head, is_apart, .. })| {
            let wanted = (0..head.len()).map(|at| match self.keeps_end {
                true => &head[head.len() - 1 - at],
                false => &head[at],
            });
            wanted.enumerate().map(move |(at, line)| PartLine {
                part,
                in_rest: false,
                bytes: line.len() + if at == 0 && *is_apart { 2 } else { 1 },
            })
        });
        let rests = parts().flat_map(|(part, Part { rest, .. })| {
            rest.iter().enumerate().map(move |(at, line)| PartLine {
                part,
                in_rest: true,
                // What has something in it stands between empty lines.
                bytes: line.len() + if at == 0 { 3 } else { 1 },
            })
        });
        heads.chain(rests)
    }
}

/// A line, where it stands, and what it takes.
struct PartLine {
    part: usize,
    in_rest: bool,
    bytes: usize,
}

impl Section {
    /// Bytes that all lines would take.
    pub(super) fn wanted(&self) -> usize {
        self.blocks.iter().flat_map(Block::lines).map(|line| line.bytes).sum()
    }

    /// Lines that it has.
    pub(super) fn lines(&self) -> usize {
        self.blocks.iter().map(|block| block.lines().count()).sum()
    }

    /// Bytes that it takes without any line.
    pub(super) fn frame(&self) -> usize {
        let notice = self.notice(usize::MAX).len();
        let frames: usize = self.blocks.iter().map(|b| b.heading.len() + 32).sum();
        self.summary.len() + notice + frames + 96
    }

    /// The section with as many whole lines as fit in `bytes`, to be unfolded or not.
    pub(super) fn render(&self, bytes: usize, is_folded: bool) -> String {
        let mut out = match is_folded {
            true => format!("\n<details><summary>{}</summary>\n", self.summary),
            false => format!("\n{}\n", self.summary),
        };
        let (mut left, mut cut, mut is_full) = (bytes, 0, false);
        for block in &self.blocks {
            let mut kept = vec![(0, 0); block.parts.len()];
            for line in block.lines() {
                is_full |= line.bytes > left;
                if is_full {
                    cut += 1;
                    continue;
                }
                left -= line.bytes;
                let (head, rest) = &mut kept[line.part];
                *(if line.in_rest { rest } else { head }) += 1;
            }
            if kept.iter().all(|(head, _)| *head == 0) {
                continue;
            }
            if !block.heading.is_empty() {
                out += &format!("\n{}\n", block.heading);
            }
            out += &format!("\n```{}\n", block.language);
            let mut is_open = false;
            for (at, (part, (head, rest))) in block.parts.iter().zip(kept).enumerate() {
                if at > 0 && head > 0 && (is_open || rest > 0 || part.is_apart) {
                    out.push('\n');
                }
                is_open = rest > 0;
                let heads = match block.keeps_end {
                    true => &part.head[part.head.len() - head..],
                    false => &part.head[..head],
                };
                for line in heads.iter().chain(&part.rest[..rest]) {
                    out += line;
                    out.push('\n');
                }
            }
            out += "```\n";
        }
        if cut > 0 {
            out += &self.notice(cut);
        }
        if is_folded {
            out += "\n</details>\n";
        }
        out
    }

    fn notice(&self, cut: usize) -> String {
        format!("\n… {}, {}\n", more(cut, "line"), self.run_link)
    }
}
