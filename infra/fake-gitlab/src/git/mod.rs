//! Repositories.
//!
//! gix reads and writes them in this process, which keeps the fake fast: scenarios create hundreds
//! of projects. They are ordinary bare repositories, and git itself serves clone and push from
//! them ([`backend`]).

pub(crate) mod archive;
pub(crate) mod backend;
pub(crate) mod diff;
mod history;
mod merge;
mod object;
pub(crate) mod repo;
pub(crate) mod tree;

pub(crate) use gix::ObjectId as Oid;
pub(crate) use gix::actor::Signature;
pub(crate) use object::Commit;
pub(crate) use repo::Repo;

/// What GitLab and git write where there is no object.
pub(crate) const NOTHING: Oid = Oid::null(gix::hash::Kind::Sha1);

/// A full id of 40 hexadecimal digits; short ones are not ids.
pub(crate) fn parse_id(text: &str) -> Option<Oid> {
    Oid::from_hex(text.as_bytes()).ok()
}
