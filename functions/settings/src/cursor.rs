//! Where a list goes on: sort keys of the table, in a form that needs no encoding in addresses.

use crate::refusal::{Answer, Refusal};

/// The cursor for a sort key, whose parts `#` joins.
pub(crate) fn from_key(sort_key: &str) -> String {
    sort_key.replace('#', "~")
}

/// The sort key that a cursor stands for. Ids hold no `~`, so nothing is mistaken.
pub(crate) fn to_key(cursor: &str, field: &str) -> Answer<String> {
    let valid = !cursor.is_empty()
        && cursor.len() <= 300
        && cursor.bytes().all(|b| b.is_ascii_alphanumeric() || b"~-_.:".contains(&b));
    if !valid {
        return Err(Refusal::field(field, "is not what an answer gave to go on with"));
    }
    Ok(cursor.replace('~', "#"))
}
