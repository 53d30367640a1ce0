//! Help for reading GitLab's answers, whose fields may be null, empty or missing.

use gantry_domain::CommitSha;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

/// A commit id where GitLab may say null, nothing, or zeros.
pub(crate) fn sha<'de, D: Deserializer<'de>>(from: D) -> Result<Option<CommitSha>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.and_then(|text| text.parse().ok()))
}

/// A value where null means the usual one.
pub(crate) fn or_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// A text where empty means none.
pub(crate) fn filled<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.filter(|text| !text.is_empty()))
}

/// A time where one that cannot be read means none: its form differs between versions.
pub(crate) fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.and_then(|text| text.parse().ok()))
}
