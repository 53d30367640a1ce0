//! Texts that people read.
