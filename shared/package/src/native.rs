//! Values as they are written in Terraform's own syntax.

use crate::metadata::ProviderRequirement;
use gantry_domain::code::expression;
use hcl_edit::expr::{BinaryOperator, Expression, UnaryOperator};

/// Longer conditions are not worked out, nor are those that nest deeper: the library would take
/// long, and much of the stack.
const LONGEST: usize = 500;
const DEEPEST: usize = 12;

/// What a text says; as it is written where that takes more than reading.
pub(crate) fn text(written: &str) -> Option<String> {
    let plain = expression::without_parentheses(written);
    if plain == "null" {
        return None;
    }
    let quoted = plain.starts_with('"') && expression::end_of_text(plain, 1) == plain.len();
    let inside = plain.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    if let Some(inside) = inside.filter(|_| quoted) {
        return Some(unescaped(inside, true));
    }
    Some(heredoc(plain).unwrap_or_else(|| plain.to_owned()))
}

/// The text of a heredoc; nothing of another expression.
fn heredoc(written: &str) -> Option<String> {
    let marked = written.strip_prefix("<<")?;
    let (begins, rest) = marked.split_once('\n')?;
    let marker = begins.trim_end();
    // Nothing follows the marker that ends it.
    let (lines, end) = rest.rsplit_once('\n').unwrap_or(("", rest));
    if end.trim() != marker.strip_prefix('-').unwrap_or(marker) {
        return None;
    }
    let lines: Vec<_> = lines.lines().collect();
    let indentation = |line: &&str| line.chars().take_while(|c| c.is_whitespace()).count();
    let least = match marker.starts_with('-') {
        true => lines.iter().filter(|line| !line.trim().is_empty()).map(indentation).min(),
        false => None,
    };
    let cut = |line: &&str| {
        let least = least.unwrap_or_default().min(indentation(line));
        line.chars().skip(least).collect::<String>()
    };
    let text = lines.iter().map(cut).collect::<Vec<_>>().join("\n");
    Some(unescaped(&text, false).trim_end().to_owned())
}

/// A text without its escapes. Templates in it stay as they are written.
fn unescaped(written: &str, quoted: bool) -> String {
    let mut text = String::new();
    let mut at = 0;
    while let Some(next) = written.get(at..).and_then(|rest| rest.chars().next()) {
        let rest = &written[at + next.len_utf8()..];
        let mut length = next.len_utf8();
        match next {
            '$' | '%' if rest.starts_with('{') => {
                let end = expression::end_of_braces(written, at + 2);
                text.push_str(written.get(at..end).unwrap_or_default());
                length = end - at;
            }
            '$' | '%' if rest.strip_prefix(next).is_some_and(|rest| rest.starts_with('{')) => {
                text.push(next);
                text.push('{');
                length = 3;
            }
            '\\' if quoted => match escape(rest) {
                Some((meant, used)) => {
                    text.push(meant);
                    length += used;
                }
                None => text.push(next),
            },
            _ => text.push(next),
        }
        at += length;
    }
    text
}

/// The character that is meant by what follows a backslash, and how long that is.
fn escape(rest: &str) -> Option<(char, usize)> {
    let digits = match rest.chars().next()? {
        'n' => return Some(('\n', 1)),
        'r' => return Some(('\r', 1)),
        't' => return Some(('\t', 1)),
        same @ ('"' | '\\') => return Some((same, 1)),
        'u' => 4,
        'U' => 8,
        _ => return None,
    };
    let number = u32::from_str_radix(rest.get(1..=digits)?, 16).ok()?;
    Some((char::from_u32(number)?, digits + 1))
}

/// A type without needless space.
pub(crate) fn type_of(written: &str) -> String {
    let quoted = written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match quoted {
        // As it was before Terraform 0.12: `type = "string"`.
        Some(quoted) => quoted.to_owned(),
        None => tidy(written),
    }
}

pub(crate) fn default(written: &str) -> String {
    let written = written.replace("\r\n", "\n");
    // The indentation of a heredoc may be part of its text.
    if written.contains("<<") { written } else { dedent(&written).join("\n") }
}

/// What a module says in `required_providers` of one of them.
pub(crate) fn provider(name: &str, written: &str) -> ProviderRequirement {
    let mut provider = ProviderRequirement { name: name.to_owned(), ..Default::default() };
    let plain = expression::without_parentheses(written);
    if !plain.starts_with('{') {
        provider.version = text(plain);
    }
    for (key, value) in expression::items(plain) {
        match text(key).as_deref() {
            Some("source") => provider.source = text(value),
            Some("version") => provider.version = text(value),
            _ => {}
        }
    }
    provider
}

/// Whether a value is true; unknown where it takes more than a short constant expression.
pub(crate) fn is_true(written: &str) -> Option<bool> {
    let nests = |c: &char| matches!(c, '(' | '[' | '{' | '!' | '?' | '-' | '<');
    if written.len() > LONGEST || written.chars().filter(nests).count() > DEEPEST {
        return None;
    }
    truth(&written.parse().ok()?)
}

fn truth(expression: &Expression) -> Option<bool> {
    match expression {
        Expression::Null(_) => Some(false),
        Expression::Bool(value) => Some(*value.value()),
        Expression::String(text) => text.value().parse().ok(),
        Expression::Parenthesis(inside) => truth(inside.inner()),
        Expression::UnaryOp(not) if *not.operator.value() == UnaryOperator::Not => {
            Some(!truth(&not.expr)?)
        }
        Expression::Conditional(choice) => match truth(&choice.cond_expr)? {
            true => truth(&choice.true_expr),
            false => truth(&choice.false_expr),
        },
        Expression::BinaryOp(both) => {
            let truths = || Some((truth(&both.lhs_expr)?, truth(&both.rhs_expr)?));
            match both.operator.value() {
                BinaryOperator::And => truths().map(|(one, other)| one && other),
                BinaryOperator::Or => truths().map(|(one, other)| one || other),
                BinaryOperator::Eq => truths().map(|(one, other)| one == other),
                BinaryOperator::NotEq => truths().map(|(one, other)| one != other),
                _ => None,
            }
        }
        _ => None,
    }
}

/// A type without needless space: the indentation that all lines have, what aligns columns, empty
/// lines. A heredoc in it is left as it is: its space is part of its text.
pub(crate) fn tidy(written: &str) -> String {
    let written = written.trim();
    if written.contains("<<") {
        return written.replace("\r\n", "\n");
    }
    let lines = dedent(written).into_iter().filter(|line| !line.is_empty());
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
