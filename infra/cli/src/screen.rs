//! What is written: results to standard output, everything else to standard error, and one line of
//! progress that is rewritten where a person looks at it.

use crate::{error::Error, log_text::LogText, safe, surroundings::Stream};
use std::io::{self, Write as _};

/// The cursor to the begin of the line, and the line emptied.
const CLEAR: &str = "\r\u{1b}[2K";
/// A longer line would go on in the next one, and could not be rewritten.
const WIDTH: usize = 79;

/// Both streams.
#[derive(Debug)]
pub(crate) struct Screen {
    out: Stream,
    err: Stream,
    log: LogText,
    /// What was written of the log does not end with a line break.
    is_in_line: bool,
    /// A line of progress is there.
    has_progress: bool,
    /// What was said last of the progress, without how long.
    progress: String,
    /// Logs are written.
    pub(crate) shows_log: bool,
}

impl Screen {
    pub(crate) fn new(out: Stream, err: Stream, no_color: bool) -> Self {
        let log = LogText::new(out.is_terminal && !no_color);
        Self {
            out,
            err,
            log,
            is_in_line: false,
            has_progress: false,
            progress: String::new(),
            shows_log: true,
        }
    }

    /// A person looks at the results.
    pub(crate) fn is_terminal(&self) -> bool {
        self.out.is_terminal
    }

    /// A result: one or several lines, which are safe.
    pub(crate) fn result(&mut self, text: &str) -> Result<(), Error> {
        self.end_log()?;
        self.bytes(text.as_bytes())?;
        self.bytes(b"\n")?;
        self.flush()
    }

    /// A result as it is.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        written(self.out.write.write_all(bytes))
    }

    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        written(self.out.write.flush())
    }

    /// The next piece of a log.
    pub(crate) fn log(&mut self, piece: &str) -> Result<(), Error> {
        let text = self.log.read(piece);
        if text.is_empty() || !self.shows_log {
            return Ok(());
        }
        self.clear();
        self.is_in_line = !text.ends_with('\n');
        self.bytes(text.as_bytes())?;
        self.flush()
    }

    /// What comes next is no log: it has its own line and no color.
    pub(crate) fn end_log(&mut self) -> Result<(), Error> {
        self.clear();
        let mut end = self.log.end().to_owned();
        if std::mem::take(&mut self.is_in_line) {
            end.push('\n');
        }
        self.bytes(end.as_bytes())
    }

    /// Something besides the result.
    pub(crate) fn note(&mut self, text: &str) {
        self.clear();
        self.err(&format!("{}\n", safe::lines(text)));
    }

    /// A question, whose answer is typed behind it.
    pub(crate) fn ask(&mut self, question: &str) {
        self.clear();
        self.err(&format!("{} ", safe::line(question)));
    }

    /// What is being waited for, and how long already. Where nobody looks, only what changes is
    /// said.
    pub(crate) fn progress(&mut self, what: &str, how_long: &str) {
        if !self.err.is_terminal {
            if self.progress != what {
                self.progress = what.to_owned();
                self.err(&format!("{}\n", safe::line(what)));
            }
            return;
        }
        // It would overwrite the beginning of the log's last line.
        if self.is_in_line && self.out.is_terminal {
            return;
        }
        let line = safe::cut(&safe::line(&format!("{what}, {how_long}")), WIDTH);
        self.err(&format!("{CLEAR}{line}"));
        self.has_progress = true;
    }

    /// Takes the line of progress away.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.has_progress) {
            self.err(CLEAR);
        }
    }

    /// What cannot be said cannot be said.
    fn err(&mut self, text: &str) {
        let _ = self.err.write.write_all(text.as_bytes());
        let _ = self.err.write.flush();
    }
}

fn written(result: io::Result<()>) -> Result<(), Error> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Error::OutputClosed,
        _ => Error::Failed(format!("Could not write to standard output: {error}.")),
    })
}

/// Lines whose columns are aligned. What is in them becomes safe.
pub(crate) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let safe = |row: &Vec<String>| row.iter().map(|cell| safe::line(cell)).collect::<Vec<_>>();
    let heading = heading.iter().map(|&name| name.to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(heading).chain(rows.iter().map(safe)).collect();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let line = |row: &Vec<String>| {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            format!("{cell:<width$}", width = width(column).unwrap_or_default())
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::RefCell, io::Write, rc::Rc};

    #[derive(Clone, Default)]
    struct Both(Rc<RefCell<String>>);

    impl Write for Both {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().push_str(&String::from_utf8_lossy(bytes));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn screen(is_terminal: bool) -> (Screen, Both) {
        let both = Both::default();
        let stream = || Stream { write: Box::new(both.clone()), is_terminal };
        (Screen::new(stream(), stream(), false), both)
    }

    #[test]
    fn progress_is_one_line_that_never_mixes_with_the_log() {
        let (mut screen, seen) = screen(true);
        screen.progress("network#6 planning", "1 s");
        screen.log("\u{1b}[31mhalf a").unwrap();
        screen.progress("network#6 planning", "2 s");
        screen.log(" line\n").unwrap();
        screen.progress("network#6 planning", "3 s");
        screen.result("done").unwrap();
        assert_eq!(
            *seen.0.borrow(),
            "\r\u{1b}[2Knetwork#6 planning, 1 s\r\u{1b}[2K\u{1b}[31mhalf a line\n\
             \r\u{1b}[2Knetwork#6 planning, 3 s\r\u{1b}[2K\u{1b}[0mdone\n"
        );
    }

    #[test]
    fn where_nobody_looks_there_are_only_plain_lines() {
        let (mut screen, seen) = screen(false);
        screen.progress("network#6 planning", "1 s");
        screen.progress("network#6 planning", "2 s");
        screen.log("\u{1b}[31mred").unwrap();
        screen.note("a \u{1b}[2J note");
        screen.result("done").unwrap();
        assert_eq!(*seen.0.borrow(), "network#6 planning\nreda \\u001b[2J note\n\ndone\n");
    }

    #[test]
    fn columns_are_aligned_and_safe() {
        let rows =
            [vec!["a\u{1b}".to_owned(), "é".to_owned()], vec![String::new(), "xy".to_owned()]];
        assert_eq!(table(&["NAME", "X"], &rows), "NAME     X\na\\u001b  é\n         xy");
    }
}
