//! The blocks of a configuration file, read without understanding what they say.
//!
//! It follows HCL's own scanner where braces and quotes do not count: in comments, in texts, in
//! heredocs. What is no HCL never stops it: it goes on behind that, since leaving a block out is
//! what must not happen.
//! <https://github.com/hashicorp/hcl/blob/main/hclsyntax/spec.md>

use super::expression;

/// A block with what it holds directly.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Block {
    /// Its first word.
    pub kind: String,
    /// The words behind it.
    pub labels: Vec<String>,
    /// Where it begins, from 1.
    pub line: usize,
    /// What it holds.
    pub body: Body,
}

/// What a file, or a block, holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Body {
    /// Names and what is written as their values, in the syntax of the file, without the comment
    /// behind it.
    pub attributes: Vec<(String, String)>,
    /// The blocks in it.
    pub blocks: Vec<Block>,
}

impl Body {
    /// The blocks of one kind.
    pub fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Block> {
        self.blocks.iter().filter(move |block| block.kind == kind)
    }

    /// What is written as the value of an attribute.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(known, _)| known == name);
        found.map(|(_, written)| written.as_str())
    }

    /// Whether an attribute is there and not plainly `other`.
    pub fn is_not(&self, name: &str, other: &str) -> bool {
        self.attributes.iter().any(|(known, value)| known == name && plain(value) != other)
    }
}

/// A value without the parentheses and quotes that change nothing.
fn plain(value: &str) -> &str {
    let value = expression::without_parentheses(value);
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
}

/// Why a tool refuses a file, or would; what else it holds was read all the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where it is, from 1.
    pub line: usize,
    /// What it is, for people.
    pub message: String,
}

/// Blocks within blocks are read this deep; what is below is passed over.
const DEPTH: usize = 3;

/// How many attributes of a block are looked through for one that stands twice.
const LOOKED_THROUGH: usize = 200;

/// What a file in HCL's native syntax holds, and the first thing that is wrong with it.
pub(super) fn read(text: &str) -> (Body, Option<Problem>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { text, at: 0, counted: 0, line: 1, fault: None };
    let body = reader.body(0);
    let problem = reader.fault.map(|(at, message)| Problem {
        line: 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count(),
        message,
    });
    (body, problem)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// Up to where lines were counted, and how many.
    counted: usize,
    line: usize,
    /// The first place where something is wrong, and what.
    fault: Option<(usize, String)>,
}

impl Reader<'_> {
    fn body(&mut self, depth: usize) -> Body {
        let mut body = Body::default();
        while let Some(byte) = self.peek() {
            let begins = self.at;
            if byte == b'}' {
                if depth > 0 {
                    break;
                }
                self.wrong(begins, "unmatched closing brace");
                self.at += 1;
            } else if let Some(name) = self.name() {
                self.item(name, depth, &mut body);
            } else if !self.comment() {
                if !byte.is_ascii_whitespace() {
                    self.wrong(begins, "expected a block or an attribute");
                }
                self.at += 1;
            }
        }
        body
    }

    fn wrong(&mut self, at: usize, message: impl Into<String>) {
        if self.fault.is_none() {
            self.fault = Some((at, message.into()));
        }
    }

    /// An attribute or a block, behind its name.
    fn item(&mut self, name: String, depth: usize, body: &mut Body) {
        let (line, begins) = (self.line(), self.at);
        let mut labels = Vec::new();
        loop {
            self.blanks();
            match self.peek() {
                Some(b'=') => {
                    let known = body.attributes.iter().take(LOOKED_THROUGH);
                    if known.into_iter().any(|(known, _)| *known == name) {
                        self.wrong(begins, format!("{name} is already set in this block"));
                    }
                    let value = expression::scan(self.text, self.at + 1);
                    let written = self.text.get(self.at + 1..value.code).unwrap_or_default();
                    match value.fault {
                        Some((at, what)) => self.wrong(at, what),
                        None if written.trim().is_empty() => {
                            self.wrong(self.at, format!("{name} has no value"));
                        }
                        None => {}
                    }
                    body.attributes.push((name, written.trim().to_owned()));
                    self.at = value.end;
                    return;
                }
                Some(b'{') => {
                    self.at += 1;
                    if depth >= DEPTH {
                        self.at = expression::end_of_braces(self.text, self.at);
                        return;
                    }
                    let inside = self.body(depth + 1);
                    if self.peek().is_none() {
                        self.wrong(begins, format!("the block {name} is not closed"));
                    }
                    // The brace that closes it.
                    self.at += usize::from(self.peek().is_some());
                    body.blocks.push(Block { kind: name, labels, line, body: inside });
                    return;
                }
                Some(b'"') => {
                    let label = expression::scan_text(self.text, self.at + 1);
                    let written = self.text.get(self.at + 1..label.end).unwrap_or_default();
                    labels.push(written.strip_suffix('"').unwrap_or(written).to_owned());
                    self.at = label.end;
                }
                _ => match self.name() {
                    Some(label) => labels.push(label),
                    None => {
                        let what = format!("{name} must be followed by a value or a body");
                        return self.wrong(begins, what);
                    }
                },
            }
        }
    }

    /// Passes over blanks and comments that do not end the line.
    fn blanks(&mut self) {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\r') => self.at += 1,
                Some(b'/') if self.rest().starts_with("/*") => {
                    self.comment();
                }
                _ => return,
            }
        }
    }

    fn comment(&mut self) -> bool {
        let end = expression::end_of_comment(self.text, self.at);
        let is_one = end > self.at;
        self.at = end;
        is_one
    }

    fn name(&mut self) -> Option<String> {
        let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-".contains(byte) || *byte > 127;
        let length = self.rest().bytes().take_while(fits).count();
        let name = self.rest().get(..length).filter(|name| !name.is_empty())?.to_owned();
        self.at += length;
        Some(name)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn line(&mut self) -> usize {
        let passed = self.text.as_bytes().get(self.counted..self.at).unwrap_or_default();
        self.line += passed.iter().filter(|byte| **byte == b'\n').count();
        self.counted = self.at;
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the file holds, as `kind.label:line{…}`.
    fn shape(body: &Body) -> String {
        let attributes = body.attributes.iter().map(|(name, value)| format!("{name}={value}"));
        let blocks = body.blocks.iter().map(|block| {
            let labels: Vec<_> = block.labels.iter().map(|label| format!(".{label}")).collect();
            format!("{}{}:{}{{{}}}", block.kind, labels.concat(), block.line, shape(&block.body))
        });
        attributes.chain(blocks).collect::<Vec<_>>().join(" ")
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(shape(&read(text).0), expected, "{text}");
        let windows = text.replace('\n', "\r\n");
        assert_eq!(shape(&read(&windows).0).replace('\r', ""), expected, "CRLF: {text}");
    }

    #[test]
    fn blocks_are_found_whatever_stands_around_them() {
        check("terraform {\n  backend \"s3\" {}\n}\n", "terraform:1{backend.s3:2{}}");
        check("terraform { backend s3 {\n a = 1\n} }", "terraform:1{backend.s3:1{a=1}}");
        check("# {\n// \"\n/* } \" */ terraform /* { */ {\n}", "terraform:3{}");
        check("a = \"}{\\\"${\"${b}}\"}\"\nx {}", r#"a="}{\"${"${b}}"}" x:2{}"#);
        check("a = [\n  {},\n]\nb = { c = 1 }\nx {}", "a=[\n  {},\n] b={ c = 1 } x:5{}");
        check("x { y { z { w { v = 1 } } } }\nend {}", "x:1{y:1{z:1{}}} end:2{}");
    }

    #[test]
    fn nothing_is_hidden_behind_a_heredoc() {
        let end = "terraform {\n}\n";
        check(&format!("a = <<E\n{{ \"\nE\n{end}"), "a=<<E\n{ \"\nE terraform:4{}");
        check(&format!("a = <<E\nE\n{end}b = <<E\nE\n"), "a=<<E\nE b=<<E\nE terraform:3{}");
        check(&format!("a = <<-E\n  E.\n  E\n{end}"), "a=<<-E\n  E.\n  E terraform:4{}");
        check(&format!("a = <<E\n${{[\nE\n]}}\nE\n{end}"), "a=<<E\n${[\nE\n]}\nE terraform:6{}");
        check(&format!("a = <<E\n$${{\n%%{{\nE\n{end}"), "a=<<E\n$${\n%%{\nE terraform:5{}");
        check(&format!("a = f(<<E\n)\nE\n)\n{end}"), "a=f(<<E\n)\nE\n) terraform:5{}");
        check("a = <<E\nterraform {}\nE\n", "a=<<E\nterraform {}\nE");
        check("a = \"$${\"\nterraform {}\n", "a=\"$${\" terraform:2{}");
    }

    #[test]
    fn what_is_no_hcl_does_not_stop_it() {
        check("} ) = 3 \"\nterraform {}", "terraform:2{}");
        check("a \nterraform {}", "terraform:2{}");
        check("\u{feff}terraform {}", "terraform:1{}");
        check("terraform {", "terraform:1{}");
    }

    #[test]
    fn the_first_thing_that_is_wrong_is_told_with_its_line() {
        let problem = |text| {
            let problem = read(text).1?;
            Some(format!("{} {}", problem.line, problem.message))
        };
        for (text, expected) in [
            ("a {\n  b = [1,\n}\n}\n", "3 mismatched closing bracket"),
            ("a {\n  b = (\n", "2 what starts here is not closed"),
            ("\na {\n  b = 1\n", "2 the block a is not closed"),
            ("a {}\n}\n", "2 unmatched closing brace"),
            ("a {\n  b = \"x\n}\n", "2 unterminated string"),
            ("a {\n  b\n}\n", "2 b must be followed by a value or a body"),
            ("a {\n  b =\n}\n", "2 b has no value"),
            ("a {\n  b = 1\n  b = 2\n}\n", "3 b is already set in this block"),
            ("a {\n  = 1\n}\n", "2 expected a block or an attribute"),
        ] {
            assert_eq!(problem(text).as_deref(), Some(expected), "{text}");
        }
        let fine = "a {\n  b = [\n1, # )\n]\n  c = <<E\n}\nE\n  d {}\n} /* x */ # y\n";
        assert_eq!(problem(fine), None);
        assert_eq!(problem("\u{feff}a { b = \"${f(\"}\")}\" }\r\n"), None);
    }

    #[test]
    fn a_comment_behind_a_value_is_no_part_of_it() {
        check("a = 1 # b\nc = /* d */ 2 /* e */ // f\n", "a=1 c=/* d */ 2");
        check("a = [ # b\n 1 ]\n", "a=[ # b\n 1 ]");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in "([a-c{}\"=\n #$<~(\\[\\]) ]|<<E\n|E\n|\\$\\{|/\\*|\\*/|ü){0,60}") {
            read(&text);
        }

        #[test]
        fn no_text_hides_a_block(text in "[^\"\\\\$%\n\r]{0,30}", line in "[^$%\n\r]{0,30}") {
            proptest::prop_assume!(line.trim() != "E");
            let code = format!("a = \"{text}\" # {text}\nb = <<E\n{line}\nE\nterraform {{\n}}\n");
            let (body, _) = read(&code);
            proptest::prop_assert_eq!(body.of("terraform").count(), 1, "{}", code);
        }
    }
}
