//! How every value gets into a page: as text, without what moves or hides text.

use askama::filters::{Escaper, Html};
use gantry_domain::text;
use std::fmt;

/// HTML's escaping, over texts without terminal escapes, control characters and marks that turn
/// the direction of writing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Clean;

impl Escaper for Clean {
    fn write_escaped_str<W: fmt::Write>(&self, dest: W, string: &str) -> fmt::Result {
        let is_plain = |b: u8| (b' '..0x7f).contains(&b) || matches!(b, b'\n' | b'\t');
        if string.bytes().all(is_plain) {
            return Html.write_escaped_str(dest, string);
        }
        Html.write_escaped_str(dest, &text::clean(string))
    }
}
