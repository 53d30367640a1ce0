//! The tests of what is decided and said, as one program.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod layers;
mod masked;
mod protocol;
