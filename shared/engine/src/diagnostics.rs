//! What went wrong, read from Terraform's output for people.
//!
//! The log is for people, so Terraform writes its own text, with colours; its `-json` output
//! would have to be rendered again, and loses the change as Terraform shows it. With colours on,
//! each diagnostic stands in a box (`╷ │ ╵`) of its own, which output of the code that runs does
//! not begin with: Terraform puts the resource's address before that. Without (`-no-color` in
//! `TF_CLI_ARGS`), a diagnostic begins with `Error: ` at the start of a line.

/// An error that Terraform reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Its first paragraph as one line, without `Error: `.
    pub summary: String,
    /// The whole text, without colours and box.
    pub text: String,
}

/// Collects errors from lines.
#[derive(Debug, Default)]
pub struct Diagnostics {
    errors: Vec<Diagnostic>,
    open: Option<Vec<String>>,
    boxed: bool,
}

/// More errors than this help nobody.
const MOST_ERRORS: usize = 50;
/// Lines kept of one error.
const MOST_LINES: usize = 100;

impl Diagnostics {
    /// Takes the next line of output.
    pub fn feed(&mut self, line: &str) {
        let line = strip_ansi(line);
        let line = line.trim_end();
        match line.chars().next() {
            Some('╷') => {
                self.close();
                self.boxed = true;
                self.open = Some(Vec::new());
            }
            Some('╵') => self.close(),
            Some('│') if self.boxed => {
                let text = line.trim_start_matches('│');
                self.push(text.strip_prefix(' ').unwrap_or(text));
            }
            _ if !self.boxed && (is_error(line) || line.starts_with("Warning: ")) => {
                self.close();
                self.open = Some(vec![line.to_owned()]);
            }
            _ if self.boxed => self.close(),
            _ => self.push(line),
        }
    }

    /// The errors so far, in order.
    pub fn finish(mut self) -> Vec<Diagnostic> {
        self.close();
        self.errors
    }

    fn push(&mut self, line: &str) {
        if let Some(lines) = &mut self.open
            && lines.len() < MOST_LINES
        {
            lines.push(line.to_owned());
        }
    }

    fn close(&mut self) {
        self.boxed = false;
        let Some(lines) = self.open.take() else { return };
        let text = lines.join("\n").trim().to_owned();
        if let Some(rest) = text.strip_prefix("Error: ")
            && self.errors.len() < MOST_ERRORS
        {
            let paragraph: Vec<_> =
                rest.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
            let summary = paragraph.join(" ");
            let summary = without_a_lock(&summary, &text).unwrap_or(summary);
            self.errors.push(Diagnostic { summary, text });
        }
    }
}

/// How the tools begin whatever goes wrong between the wish for a lock and the state, also where
/// nobody holds one.
const LOCKING: &str = "Error acquiring the state lock";

/// What such an error is about if it names no lock.
fn without_a_lock(summary: &str, text: &str) -> Option<String> {
    if summary != LOCKING || text.contains("Lock Info:") {
        return None;
    }
    let (_, said) = text.split_once("Error message: ")?;
    let said: Vec<_> = said.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    Some(format!("The state cannot be read: {}", said.join(" ")))
}

fn is_error(line: &str) -> bool {
    line.starts_with("Error: ")
}

/// The error that says most: the first that is more than the echo of an interruption or the
/// announcement of another error.
pub fn main_error(errors: &[Diagnostic]) -> Option<&Diagnostic> {
    let says_something = |error: &&Diagnostic| {
        error.summary != "execution halted"
            && !error.summary.contains("encountered problems during initiali")
    };
    errors.iter().find(says_something).or(errors.first())
}

/// `line` without colours, links and other control characters.
pub fn strip_ansi(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '\x1b' {
            if c == '\t' || !c.is_control() {
                text.push(c);
            }
            continue;
        }
        match rest.next() {
            // A control sequence ends with the first of `@` to `~`.
            Some('[') => while rest.next().is_some_and(|c| !('@'..='~').contains(&c)) {},
            // An operating system command ends with BEL or ESC \.
            Some(']') => while rest.next().is_some_and(|c| c != '\x07' && c != '\\') {},
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn errors(output: &str) -> Vec<Diagnostic> {
        let mut diagnostics = Diagnostics::default();
        output.lines().for_each(|line| diagnostics.feed(line));
        diagnostics.finish()
    }

    const BOXED: &str = "\u{1b}[31m╷\u{1b}[0m\u{1b}[0m
\u{1b}[31m│\u{1b}[0m \u{1b}[0m\u{1b}[1m\u{1b}[31mError: \u{1b}[0m\u{1b}[0m\u{1b}[1mexecution halted\u{1b}[0m
\u{1b}[31m│\u{1b}[0m \u{1b}[0m
\u{1b}[31m╵\u{1b}[0m\u{1b}[0m
╷
│ Warning: Deprecated
╵
\u{1b}[31m╷\u{1b}[0m\u{1b}[0m
\u{1b}[31m│\u{1b}[0m \u{1b}[0m\u{1b}[1m\u{1b}[31mError: \u{1b}[0m\u{1b}[0m\u{1b}[1mlocal-exec provisioner error\u{1b}[0m
\u{1b}[31m│\u{1b}[0m \u{1b}[0m
\u{1b}[31m│\u{1b}[0m \u{1b}[0m\u{1b}[0m  with terraform_data.z,
\u{1b}[31m│\u{1b}[0m \u{1b}[0m   4:  provisioner \"local-exec\" \u{1b}[4m{\u{1b}[0m \u{1b}[0m
\u{1b}[31m╵\u{1b}[0m\u{1b}[0m
Error: not in a box";

    #[test]
    fn boxes_are_read() {
        let errors = errors(BOXED);
        assert_eq!(errors.len(), 3);
        let main = main_error(&errors).unwrap();
        assert_eq!(main.summary, "local-exec provisioner error");
        insta::assert_snapshot!(main.text, @r#"
        Error: local-exec provisioner error

          with terraform_data.z,
           4:  provisioner "local-exec" {
        "#);
    }

    #[test]
    fn without_colours_an_error_begins_a_line() {
        let errors = errors("\nError: Bad thing\n\n  on main.tf line 1:\n\nError: Other\n\nWhy.\n");
        let summaries: Vec<_> = errors.iter().map(|e| e.summary.as_str()).collect();
        assert_eq!(summaries, ["Bad thing", "Other"]);
        assert_eq!(errors[0].text, "Error: Bad thing\n\n  on main.tf line 1:");
    }

    #[test]
    fn a_lock_is_known_from_the_lock() {
        let unread = "Error: Error acquiring the state lock\n\nError message: Unsupported state file \
                      format: This\nstate file is encrypted\n\nOpenTofu acquires a state lock to protect\n";
        let summary =
            "The state cannot be read: Unsupported state file format: This state file is encrypted";
        assert_eq!(errors(unread)[0].summary, summary);
        let held = "Error: Error acquiring the state lock\n\nError message: HTTP remote state already \
                    locked: ID=x\nLock Info:\n  ID: x\n";
        assert_eq!(errors(held)[0].summary, "Error acquiring the state lock");
    }

    #[test]
    fn what_the_code_prints_is_no_error_of_terraform() {
        let printed = "\u{1b}[1mnull.x (local-exec):\u{1b}[0m ╷\nnull.x (local-exec): │ Error: no";
        assert_eq!(errors(printed), []);
    }

    proptest! {
        #[test]
        fn any_output_is_survived(output in "(\\PC|\u{1b}\\[|╷|│|╵|\n|Error: ){0,60}") {
            for error in errors(&output) {
                let escapes = error.text.contains('\u{1b}');
                prop_assert!(!escapes);
            }
        }
    }
}
