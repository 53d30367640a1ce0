//! What is left to chance, and comes again for the same seed.

use rand::{SeedableRng as _, rngs::StdRng};
use std::{
    hash::{DefaultHasher, Hash, Hasher as _},
    sync::LazyLock,
};

/// `GANTRY_SEED`, or another number each time. Each telling prints it.
pub(crate) static SEED: LazyLock<u64> = LazyLock::new(|| {
    let given = asked("GANTRY_SEED");
    if given.is_empty() {
        return rand::random_range(0..1_000_000);
    }
    given.parse().expect("GANTRY_SEED is a number")
});

/// What whoever runs the tests asks for; empty for nothing.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the tests' environment")]
pub(crate) fn asked(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// Chance that depends on the seed and on what it is for.
pub(crate) fn random(what: impl Hash) -> StdRng {
    let mut hasher = DefaultHasher::new();
    (*SEED, what).hash(&mut hasher);
    StdRng::seed_from_u64(hasher.finish())
}
