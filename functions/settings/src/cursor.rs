//! Where a list goes on: sort keys of the table, in a form that needs no encoding in addresses.

use crate::refusal::{Answer, Refusal};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// The cursor for a sort key, whose parts `#` joins. It ends with what tells it from other texts:
/// in a list nothing comes after most of those, and that would look like its end.
pub(crate) fn from_key(sort_key: &str) -> String {
    format!("{}~{}", sort_key.replace('#', "~"), tag(sort_key))
}

/// The sort key that a cursor stands for. Ids hold no `~`, so nothing is mistaken.
pub(crate) fn to_key(cursor: &str, field: &str) -> Answer<String> {
    let key = cursor.rsplit_once('~').and_then(|(key, given)| {
        let key = key.replace('~', "#");
        (tag(&key) == given).then_some(key)
    });
    key.ok_or_else(|| strange(field))
}

/// Says that `field` is no cursor.
pub(crate) fn strange(field: &str) -> Refusal {
    Refusal::parameter(field, "Not a cursor from an earlier response")
}

/// Not a secret: who makes one up gets what that asks for.
fn tag(sort_key: &str) -> String {
    let mut hasher = DefaultHasher::new();
    sort_key.hash(&mut hasher);
    format!("{:04x}", hasher.finish() & 0xffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_an_answer_gave_is_a_cursor() {
        for key in ["network", "run#0017#r.1:2", ""] {
            let cursor = from_key(key);
            assert!(cursor.bytes().all(|b| b.is_ascii_alphanumeric() || b"~-_.:".contains(&b)));
            assert_eq!(to_key(&cursor, "after").unwrap(), key);
            assert!(to_key(&format!("{cursor}x"), "after").is_err());
        }
        for other in ["", "x", "~", "network", "network~0000", "a b", "\0"] {
            assert!(to_key(other, "after").is_err(), "{other}");
        }
    }
}
