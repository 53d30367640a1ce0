//! The lines of a log as HTML: each with its number, which is a link to it, and with its time where
//! that is asked for. What a command of the tool wrote begins with a heading.

use crate::{
    pages::ansi::Painter,
    runs::{LogPlace, Piece, Section},
};
use gantry_domain::{RunId, run::Phase};
use jiff::Timestamp;

/// Lines of one answer that get a link: more of them would make an answer too large that is made of
/// empty lines.
const LINKED: usize = 10_000;

/// A line of a log, or the end of one that began before.
pub(super) struct Line {
    place: LogPlace,
    phase: Phase,
    at: Option<Timestamp>,
    text: String,
    /// It has its beginning.
    begins: bool,
}

impl Line {
    /// It has its end.
    pub(super) fn ends(&self) -> bool {
        self.text.ends_with('\n')
    }

    /// The section that it begins.
    pub(super) fn section(&self) -> Option<Section> {
        Section::begun_by(&self.text, self.phase).filter(|_| self.begins)
    }
}

/// The lines of pieces that follow each other; whether the first one has its beginning.
pub(super) fn lines(pieces: &[Piece], mut begins: bool) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for piece in pieces {
        let mut bytes = 0;
        for part in piece.text.split_inclusive('\n') {
            match lines.last_mut().filter(|line| !line.ends()) {
                Some(line) => line.text.push_str(part),
                None => {
                    let (place, text) = (piece.place(bytes), part.to_owned());
                    lines.push(Line { place, phase: piece.phase, at: piece.at, text, begins });
                    begins = true;
                }
            }
            bytes += part.len();
        }
    }
    lines
}

/// How lines are drawn.
pub(super) struct Drawing<'a> {
    pub(super) run: &'a RunId,
    /// What stands before a place in the address of a line: `?key=…&`.
    pub(super) link: String,
    /// With their times.
    pub(super) times: bool,
}

impl Drawing<'_> {
    /// Lines as HTML that is safe to put into a page: the number of the first one, and which one is
    /// marked.
    pub(super) fn draw(&self, lines: &[Line], first: Option<u64>, marked: Option<usize>) -> String {
        let mut html = String::new();
        let mut painter = Painter::default();
        let mut number = first;
        for (at, line) in lines.iter().enumerate() {
            if let Some(section) = line.section() {
                html.push_str(&heading(section, line));
            }
            if line.begins && at < LINKED {
                self.gutter(&mut html, line, number);
            }
            let text = line.text.strip_suffix('\n').unwrap_or(&line.text);
            let (begin, end) = match marked == Some(at) {
                true => ("<mark id=\"at\">", "</mark>"),
                false => ("", ""),
            };
            html.push_str(begin);
            painter.paint(&mut html, text);
            html.push_str(end);
            if line.ends() {
                html.push('\n');
                number = number.map(|number| number + 1);
            }
        }
        html
    }

    /// The number is no text of the log: who copies or hears the log does not get it.
    fn gutter(&self, html: &mut String, line: &Line, number: Option<u64>) {
        let time = line.at.filter(|_| self.times).map(|at| at.strftime("%H:%M:%S").to_string());
        let number = number.map(|number| number.to_string());
        let said: Vec<String> = [time, number].into_iter().flatten().collect();
        let said = if said.is_empty() { "·".to_owned() } else { said.join(" ") };
        html.push_str(&format!(
            "<a class=\"no\" href=\"{}at={}#at\" data-n=\"{said}\" tabindex=\"-1\" \
             aria-hidden=\"true\"></a>",
            self.link,
            line.place.cursor(self.run)
        ));
    }
}

fn heading(section: Section, line: &Line) -> String {
    format!(
        "<span class=\"section\" role=\"heading\" aria-level=\"3\" id=\"{}\">{}</span>",
        anchor(section, line.place),
        section.title()
    )
}

/// Where a section's heading is on the page.
fn anchor(section: Section, place: LogPlace) -> String {
    format!("log-{}-{}", section.name(), place.attempt())
}

/// The headings among lines, with where they are on the page.
pub(super) fn headings(lines: &[Line]) -> Vec<(&'static str, String)> {
    let headings = lines.iter().filter_map(|line| Some((line.section()?, line)));
    headings.map(|(section, line)| (section.title(), anchor(section, line.place))).collect()
}
