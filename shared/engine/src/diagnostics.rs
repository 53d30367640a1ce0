//! What went wrong, or may, read from Terraform's output for people.
//!
//! The log is for people, so Terraform writes its own text, with colours; its `-json` output
//! would have to be rendered again, and loses the change as Terraform shows it. With colours on,
//! each diagnostic stands in a box (`╷ │ ╵`) of its own, which output of the code that runs does
//! not begin with: Terraform puts the resource's address before that. Without (`-no-color` in
//! `TF_CLI_ARGS`), a diagnostic begins with `Error: ` at the start of a line.

use gantry_domain::plan::{FAILED_CHECK, Warning};

/// An error that Terraform reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Its first paragraph as one line, without `Error: `.
    pub summary: String,
    /// The whole text, without colours and box.
    pub text: String,
}

/// What Terraform reported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reported {
    /// The errors, in order.
    pub errors: Vec<Diagnostic>,
    /// The warnings.
    pub warned: Warned,
    /// Checks that do not hold, which are warnings too. A plan's JSON has those of the plan.
    pub failed_checks: Warned,
}

/// What Terraform warned of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Warned {
    /// Each summary once.
    pub warnings: Vec<Warning>,
    /// Warnings with further summaries.
    pub cut: u32,
}

impl Warned {
    /// Adds what was warned of besides.
    pub fn add(&mut self, further: Self) {
        for Warning { summary, place, count } in further.warnings {
            if let Some(known) = self.warnings.iter_mut().find(|known| known.summary == summary) {
                known.count = known.count.saturating_add(count);
            } else if self.warnings.len() < MOST_WARNINGS {
                self.warnings.push(Warning { summary, place, count });
            } else {
                self.cut = self.cut.saturating_add(count);
            }
        }
        self.cut = self.cut.saturating_add(further.cut);
    }
}

/// Collects errors and warnings from lines.
#[derive(Debug, Default)]
pub struct Diagnostics {
    reported: Reported,
    open: Option<Vec<String>>,
    boxed: bool,
}

/// More errors than this help nobody.
const MOST_ERRORS: usize = 50;
/// Summaries of warnings that are told.
const MOST_WARNINGS: usize = 50;
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

    /// What was reported so far.
    pub fn finish(mut self) -> Reported {
        self.close();
        self.reported
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
        if let Some(rest) = text.strip_prefix("Warning: ") {
            self.warn(rest);
        }
        if let Some(rest) = text.strip_prefix("Error: ")
            && self.reported.errors.len() < MOST_ERRORS
        {
            let summary = paragraph(rest);
            let summary = without_a_lock(&summary, &text)
                .or_else(|| about_arguments(&summary, &text))
                .unwrap_or(summary);
            self.reported.errors.push(Diagnostic { summary, text });
        }
    }

    fn warn(&mut self, text: &str) {
        let mut summary = paragraph(text);
        let is_check = summary == FAILED_CHECK;
        if is_check {
            // All of them begin like this: the last paragraph is the code's own.
            let said = text.trim_end().rsplit("\n\n").next().unwrap_or_default();
            summary = format!("{FAILED_CHECK}: {}", paragraph(said));
        }
        let count = 1_u32.saturating_add(text.lines().find_map(elsewhere).unwrap_or_default());
        let warning = Warning { summary, place: place(text), count };
        let Reported { warned, failed_checks, .. } = &mut self.reported;
        let list = if is_check { failed_checks } else { warned };
        list.add(Warned { warnings: vec![warning], cut: 0 });
    }
}

/// The first paragraph as one line.
fn paragraph(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    lines.join(" ")
}

/// Where a diagnostic is: its second paragraph, where that is indented, has the object and the line
/// of its configuration, and then what stands there.
fn place(text: &str) -> Option<String> {
    let mut after = text.lines().skip_while(|line| !line.is_empty()).skip_while(|l| l.is_empty());
    let indented = std::iter::from_fn(|| after.next()?.strip_prefix("  "));
    let mut parts = Vec::new();
    for line in indented {
        match line.split_once(" line ") {
            Some((file, rest)) if file.starts_with("on ") => {
                let number = rest.split([',', ':']).next().unwrap_or_default();
                parts.push(format!("{file} line {number}"));
                break;
            }
            _ if line.starts_with("with ") => {
                parts.push(line.trim_end_matches([',', ':']).to_owned())
            }
            _ => break,
        }
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// How many warnings a line stands for that says that there are similar ones.
fn elsewhere(line: &str) -> Option<u32> {
    let said = line.trim().strip_prefix("(and ")?.strip_suffix(" elsewhere)")?;
    let (count, _) = said.split_once(" more similar warning")?;
    match count {
        "one" => Some(1),
        count => count.parse().ok(),
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

/// How the tools refuse arguments, and say which below.
const ARGUMENTS: [&str; 2] =
    ["Failed to parse command-line flags", "Too many command line arguments"];

/// Which arguments they are, and where they come from: Gantry's own are right.
fn about_arguments(summary: &str, text: &str) -> Option<String> {
    if !ARGUMENTS.contains(&summary) {
        return None;
    }
    let below = text.lines().map(str::trim).skip_while(|line| !line.is_empty());
    let said: Vec<_> =
        below.skip_while(|line| line.is_empty()).take_while(|line| !line.is_empty()).collect();
    let said = if said.is_empty() { String::new() } else { format!(": {}", said.join(" ")) };
    let said = said.trim_end_matches('.');
    Some(format!(
        "{summary}{said}. TF_CLI_ARGS is passed to every command, including init; TF_CLI_ARGS_plan \
         is passed to plan only"
    ))
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

    fn reported(output: &str) -> Reported {
        let mut diagnostics = Diagnostics::default();
        output.lines().for_each(|line| diagnostics.feed(line));
        diagnostics.finish()
    }

    fn errors(output: &str) -> Vec<Diagnostic> {
        reported(output).errors
    }

    #[test]
    fn a_warning_is_told_once_with_its_place_and_number() {
        let boxed = "╷
│ Warning: Argument is deprecated
│ 
│   with module.a.test_object.x[0],
│   on modules/a/main.tf line 3, in resource \"test_object\" \"x\":
│    3:   old_text = \"on b line 4\"
│ 
│ Use text instead.
│ 
│ (and 3 more similar warnings elsewhere)
╵
╷
│ Warning: Resource targeting is in effect
│ 
│ You are creating a plan with the -target option.
│   on purpose line 1
╵
╷
│ Warning: Argument is deprecated
│ 
│   on other.tf line 1:
│    1: x
│ 
│ (and one more similar warning elsewhere)
╵
╷
│ Warning: Check block assertion failed
│ 
│   on main.tf line 9, in check \"c\":
│   9:     condition = self.n > 1
│ 
│ There must be
│ two.
╵
";
        let reported = reported(boxed);
        let texts = |warned: &Warned| -> Vec<String> {
            warned.warnings.iter().map(Warning::text).collect()
        };
        let checks = texts(&reported.failed_checks);
        assert_eq!(checks, ["Check block assertion failed: There must be two, on main.tf line 9"]);
        let texts = texts(&reported.warned);
        let first = "Argument is deprecated (6×), with module.a.test_object.x[0], \
                     on modules/a/main.tf line 3";
        assert_eq!(texts, [first, "Resource targeting is in effect"]);
        assert_eq!((reported.errors, reported.warned.cut), (vec![], 0));
        let plain = "\nWarning: Old\n\n  on main.tf line 2, in variable \"x\":\n   2: x\n\nWhy.\n\nError: No\n";
        let reported = self::reported(plain);
        assert_eq!(reported.warned.warnings[0].text(), "Old, on main.tf line 2");
        assert_eq!(reported.errors.len(), 1);
        let many: String = (0..70).map(|i| format!("Warning: w{i}\n\nx\n\n")).collect();
        let reported = self::reported(&many);
        assert_eq!((reported.warned.warnings.len(), reported.warned.cut), (50, 20));
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
    fn arguments_that_a_command_refuses_are_named() {
        let refused = "Error: Failed to parse command-line flags\n\nflag provided but not \
                       defined: -target\n\nFor more help on using this command, run:\n";
        assert_eq!(
            errors(refused)[0].summary,
            "Failed to parse command-line flags: flag provided but not defined: -target. \
             TF_CLI_ARGS is passed to every command, including init; TF_CLI_ARGS_plan is passed to \
             plan only"
        );
    }

    #[test]
    fn what_the_code_prints_is_no_error_of_terraform() {
        let printed = "\u{1b}[1mnull.x (local-exec):\u{1b}[0m ╷\nnull.x (local-exec): │ Error: no";
        assert_eq!(errors(printed), []);
    }

    proptest! {
        #[test]
        fn any_output_is_survived(output in "(\\PC|\u{1b}\\[|╷|│|╵|\n|Error: |Warning: |  on ){0,60}") {
            let Reported { errors, warned, .. } = reported(&output);
            let errors = errors.into_iter().map(|error| error.text);
            for text in errors.chain(warned.warnings.iter().map(Warning::text)) {
                let escapes = text.contains('\u{1b}');
                prop_assert!(!escapes);
            }
        }
    }
}
