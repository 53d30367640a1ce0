//! Terraform's own syntax.

use crate::metadata::{Declared, Input, Output, ProviderRequirement, Unparsable};
use hcl_edit::{
    Span,
    expr::{Expression, ObjectKey},
    parser,
    structure::{Block, Body},
    template::Element,
};

/// Reads what one file declares.
pub(crate) fn read(source: &str, declared: &mut Declared) -> Result<(), Unparsable> {
    let body = parser::parse_body(source).map_err(|error| Unparsable {
        line: error.location().line(),
        message: error.message().to_owned(),
    })?;
    let file = File { source };
    for block in body.blocks() {
        match (block.ident.as_str(), block.labels.as_slice()) {
            ("variable", [name]) => declared.input(file.input(name.as_str(), &block.body)),
            ("output", [name]) => declared.output(Output {
                name: name.as_str().to_owned(),
                description: file.string(&block.body, "description"),
                sensitive: flag(&block.body, "sensitive"),
            }),
            ("terraform", []) => file.terraform(block, declared),
            _ => {}
        }
    }
    Ok(())
}

struct File<'a> {
    source: &'a str,
}

impl File<'_> {
    fn input(&self, name: &str, body: &Body) -> Input {
        let type_ = body.get_attribute("type").map(|attribute| match &attribute.value {
            // As it was before Terraform 0.12: `type = "string"`.
            Expression::String(quoted) => quoted.value().clone(),
            written => tidy(self.written(written)),
        });
        let default = body.get_attribute("default");
        Input {
            name: name.to_owned(),
            type_,
            description: self.string(body, "description"),
            default: default.map(|attribute| self.default(&attribute.value)),
            sensitive: flag(body, "sensitive"),
            ..Input::default()
        }
    }

    fn terraform(&self, block: &Block, declared: &mut Declared) {
        if let Some(version) = self.string(&block.body, "required_version") {
            declared.required_version(version);
        }
        for required in block.body.get_blocks("required_providers") {
            for attribute in required.body.attributes() {
                declared.provider(self.provider(attribute.key.as_str(), &attribute.value));
            }
        }
    }

    fn provider(&self, name: &str, wanted: &Expression) -> ProviderRequirement {
        let mut provider =
            ProviderRequirement { name: name.to_owned(), ..ProviderRequirement::default() };
        let Some(object) = wanted.as_object() else {
            provider.version = self.text(wanted);
            return provider;
        };
        for (key, value) in object {
            let key = match key {
                ObjectKey::Ident(key) => Some(key.as_str()),
                ObjectKey::Expression(Expression::Variable(key)) => Some(key.as_str()),
                ObjectKey::Expression(key) => key.as_str(),
            };
            match key {
                Some("source") => provider.source = self.text(value.expr()),
                Some("version") => provider.version = self.text(value.expr()),
                _ => {}
            }
        }
        provider
    }

    fn string(&self, body: &Body, key: &str) -> Option<String> {
        self.text(&body.get_attribute(key)?.value)
    }

    /// What a text says; as it is written where that takes more than reading.
    fn text(&self, expression: &Expression) -> Option<String> {
        match expression {
            Expression::Null(_) => None,
            Expression::String(text) => Some(text.value().clone()),
            Expression::Parenthesis(inside) => self.text(inside.inner()),
            Expression::StringTemplate(quoted) => {
                Some(self.template(quoted.iter(), self.written(expression)))
            }
            Expression::HeredocTemplate(heredoc) => {
                // Of `<<-` the parser has taken the indentation away.
                let text = self.template(heredoc.template.iter(), self.written(expression));
                Some(text.trim_end().to_owned())
            }
            other => Some(self.written(other).to_owned()),
        }
    }

    fn template<'e>(&self, elements: impl Iterator<Item = &'e Element>, written: &str) -> String {
        let mut text = String::new();
        for element in elements {
            match element {
                Element::Literal(literal) => text.push_str(literal.value()),
                other => match other.span() {
                    Some(span) => text.push_str(self.source.get(span).unwrap_or_default()),
                    None => return written.to_owned(),
                },
            }
        }
        text
    }

    fn default(&self, expression: &Expression) -> String {
        let written = self.written(expression).replace("\r\n", "\n");
        // The indentation of a heredoc may be part of its text.
        if written.contains("<<") { written } else { dedent(&written).join("\n") }
    }

    fn written(&self, expression: &Expression) -> &str {
        let span = expression.span().unwrap_or_default();
        self.source.get(span).unwrap_or_default().trim()
    }
}

fn flag(body: &Body, key: &str) -> bool {
    body.get_attribute(key).is_some_and(|attribute| {
        attribute.value.as_bool() == Some(true) || attribute.value.as_str() == Some("true")
    })
}

/// A type without needless space: the indentation that all lines have, what aligns columns, empty
/// lines.
pub(crate) fn tidy(written: &str) -> String {
    let lines = dedent(written.trim()).into_iter().filter(|line| !line.is_empty());
    lines.map(|line| collapse(&line)).collect::<Vec<_>>().join("\n")
}

/// The lines without space at their ends, and without the indentation that all but the first
/// have: the first one follows an `=`.
fn dedent(text: &str) -> Vec<String> {
    let indentation = |line: &str| line.len() - line.trim_start_matches([' ', '\t']).len();
    let below = text.lines().skip(1).filter(|line| !line.trim().is_empty());
    let common = below.map(indentation).min().unwrap_or(0);
    let lines = text.lines().enumerate();
    let lines =
        lines.map(|(at, line)| if at == 0 { line } else { line.get(common..).unwrap_or("") });
    lines.map(|line| line.trim_end().to_owned()).collect()
}

/// One space where there are more, but for the indentation, quoted text and comments.
fn collapse(line: &str) -> String {
    let code = line.trim_start();
    let mut collapsed = line[..line.len() - code.len()].to_owned();
    let (mut quoted, mut escaped, mut comment) = (false, false, false);
    for (at, character) in code.char_indices() {
        let space = |character| character == ' ' || character == '\t';
        if !quoted && !comment && space(character) {
            if !collapsed.ends_with(' ') {
                collapsed.push(' ');
            }
            continue;
        }
        comment |= !quoted && (character == '#' || code[at..].starts_with("//"));
        quoted ^= character == '"' && !escaped && !comment;
        escaped = character == '\\' && !escaped;
        collapsed.push(character);
    }
    collapsed
}
