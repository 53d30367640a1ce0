//! The blocks of a configuration file, read without understanding what they say.
//!
//! It follows HCL's own scanner where braces and quotes do not count: in comments, in texts, in
//! heredocs. What is no HCL never stops it: it goes on behind that, since leaving a block out is
//! what must not happen.
//! <https://github.com/hashicorp/hcl/blob/main/hclsyntax/spec.md>

use super::expression;

/// A block with what it holds directly.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) kind: String,
    pub(super) labels: Vec<String>,
    /// Where it begins, from 1.
    pub(super) line: usize,
    pub(super) body: Body,
}

/// What a file, or a block, holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Body {
    /// Names and what is written behind the `=`.
    pub(super) attributes: Vec<(String, String)>,
    pub(super) blocks: Vec<Block>,
}

impl Body {
    /// The blocks of one kind.
    pub(super) fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Block> {
        self.blocks.iter().filter(move |block| block.kind == kind)
    }

    /// Whether an attribute is there and not plainly `other`.
    pub(super) fn is_not(&self, name: &str, other: &str) -> bool {
        self.attributes.iter().any(|(known, value)| known == name && plain(value) != other)
    }
}

/// A value without the parentheses that change nothing.
fn plain(value: &str) -> &str {
    let value = value.trim();
    match value.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        Some(inside) => plain(inside),
        None => value,
    }
}

/// Blocks within blocks are read this deep; what is below is passed over.
const DEPTH: usize = 3;

/// What a file in HCL's native syntax holds.
pub(super) fn read(text: &str) -> Body {
    let mut reader = Reader { text, at: 0, counted: 0, line: 1 };
    reader.body(0)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// Up to where lines were counted, and how many.
    counted: usize,
    line: usize,
}

impl Reader<'_> {
    fn body(&mut self, depth: usize) -> Body {
        let mut body = Body::default();
        while let Some(byte) = self.peek() {
            if byte == b'}' {
                if depth > 0 {
                    break;
                }
                self.at += 1;
            } else if let Some(name) = self.name() {
                self.item(name, depth, &mut body);
            } else if !self.comment() {
                self.at += 1;
            }
        }
        body
    }

    /// An attribute or a block, behind its name.
    fn item(&mut self, name: String, depth: usize, body: &mut Body) {
        let line = self.line();
        let mut labels = Vec::new();
        loop {
            self.blanks();
            match self.peek() {
                Some(b'=') => {
                    self.at += 1;
                    let value = self.text.get(self.at..expression::end(self.text, self.at));
                    let value = value.unwrap_or_default();
                    self.at += value.len();
                    body.attributes.push((name, value.trim().to_owned()));
                    return;
                }
                Some(b'{') => {
                    self.at += 1;
                    if depth >= DEPTH {
                        self.at = expression::end_of_braces(self.text, self.at);
                        return;
                    }
                    let inside = self.body(depth + 1);
                    // The brace that closes it.
                    self.at += usize::from(self.peek().is_some());
                    body.blocks.push(Block { kind: name, labels, line, body: inside });
                    return;
                }
                Some(b'"') => {
                    let end = expression::end_of_text(self.text, self.at + 1);
                    let label = self.text.get(self.at + 1..end).unwrap_or_default();
                    labels.push(label.strip_suffix('"').unwrap_or(label).to_owned());
                    self.at = end;
                }
                Some(_) => match self.name() {
                    Some(label) => labels.push(label),
                    None => return,
                },
                None => return,
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
        assert_eq!(shape(&read(text)), expected, "{text}");
        let windows = text.replace('\n', "\r\n");
        assert_eq!(shape(&read(&windows)).replace('\r', ""), expected, "CRLF: {text}");
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
        check("\u{feff}terraform {}", "\u{feff}terraform:1{}");
        check("terraform {", "terraform:1{}");
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
            let body = read(&code);
            proptest::prop_assert_eq!(body.of("terraform").count(), 1, "{}", code);
        }
    }
}
