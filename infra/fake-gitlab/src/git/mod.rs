//! A small git implementation over loose objects and loose refs.
//!
//! Reading and writing objects in process keeps the fake fast: scenarios create hundreds of
//! projects. The repositories are ordinary bare repositories, and git itself serves clone and
//! push from them ([`backend`]).

pub(crate) mod archive;
pub(crate) mod backend;
pub(crate) mod diff;
pub(crate) mod history;
pub(crate) mod merge;
pub(crate) mod object;
pub(crate) mod repo;
pub(crate) mod tree;

pub(crate) use object::{Commit, Oid, Signature};
pub(crate) use repo::Repo;
