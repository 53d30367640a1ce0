//! Nudges: messages that say where to look, told apart by a number.

/// A number that is the same for the same cause and differs for others: it tells nudges apart.
pub(crate) fn distinct(cause: &impl std::hash::Hash) -> u64 {
    use std::hash::{DefaultHasher, Hasher as _};
    let mut hasher = DefaultHasher::new();
    cause.hash(&mut hasher);
    hasher.finish()
}
