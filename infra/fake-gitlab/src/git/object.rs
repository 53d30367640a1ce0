//! Commits, tags and the content of files.

use std::sync::Arc;

use gix::actor::SignatureRef;
use gix::objs::{self, Kind, WriteTo};
use jiff::Timestamp;

use super::{Oid, Repo, Signature};

/// A commit.
#[derive(Clone, Debug)]
pub(crate) struct Commit {
    pub(crate) id: Oid,
    pub(crate) tree: Oid,
    pub(crate) parents: Vec<Oid>,
    /// The name of its author.
    pub(crate) author: String,
    /// When it was made, by the committer's clock.
    pub(crate) time: Timestamp,
    pub(crate) message: String,
}

impl Commit {
    /// The first line of the message.
    pub(crate) fn title(&self) -> &str {
        self.message.lines().next().unwrap_or("")
    }
}

fn time(signature: SignatureRef<'_>) -> Option<Timestamp> {
    Timestamp::from_second(signature.seconds()).ok()
}

impl Repo {
    /// The commit with this id; `None` when there is none or it is another kind of object.
    pub(crate) fn commit(&self, id: Oid) -> Option<Arc<Commit>> {
        if let Some(known) = self.commits.borrow().get(&id) {
            return Some(Arc::clone(known));
        }
        let object = self.git.try_find_object(id).ok()??.try_into_commit().ok()?;
        let read = object.decode().ok()?;
        let commit = Arc::new(Commit {
            id,
            tree: read.tree(),
            parents: read.parents().collect(),
            author: read.author().ok()?.name.to_string(),
            time: time(read.committer().ok()?)?,
            message: read.message.to_string(),
        });
        self.commits.borrow_mut().insert(id, Arc::clone(&commit));
        Some(commit)
    }

    /// The commits that were read so far.
    pub(crate) fn known_commits(&self) -> Vec<Arc<Commit>> {
        self.commits.borrow().values().cloned().collect()
    }

    /// The commit that an object is or points to.
    pub(crate) fn peel(&self, id: Oid) -> Option<Oid> {
        if self.commit(id).is_some() {
            return Some(id);
        }
        Some(self.git.try_find_object(id).ok()??.peel_to_commit().ok()?.id)
    }

    /// When an annotated tag was made; `None` for other objects.
    pub(crate) fn tagged_at(&self, id: Oid) -> Option<Timestamp> {
        let tag = self.git.try_find_object(id).ok()??.try_into_tag().ok()?;
        time(tag.tagger().ok()??)
    }

    /// What was written with an annotated tag; `None` for other objects.
    pub(crate) fn tag_message(&self, id: Oid) -> Option<String> {
        let tag = self.git.try_find_object(id).ok()??.try_into_tag().ok()?;
        Some(tag.decode().ok()?.message.to_string().trim_end().to_owned())
    }

    /// The content of a file.
    pub(crate) fn blob(&self, id: Oid) -> Option<Vec<u8>> {
        Some(self.git.try_find_object(id).ok()??.try_into_blob().ok()?.take_data())
    }

    fn write(&self, object: impl WriteTo) -> Oid {
        self.git.write_object(object).expect("the data directory can be written").detach()
    }

    /// Writes a commit.
    pub(crate) fn write_commit(
        &self,
        tree: Oid,
        parents: &[Oid],
        author: &Signature,
        message: &str,
    ) -> Oid {
        self.write(objs::Commit {
            tree,
            parents: parents.into(),
            author: author.clone(),
            committer: author.clone(),
            encoding: None,
            message: message.into(),
            extra_headers: Vec::new(),
        })
    }

    /// Writes an annotated tag of a commit.
    pub(crate) fn write_tag(
        &self,
        name: &str,
        target: Oid,
        tagger: &Signature,
        message: &str,
    ) -> Oid {
        self.write(objs::Tag {
            target,
            target_kind: Kind::Commit,
            name: name.into(),
            tagger: Some(tagger.clone()),
            message: message.into(),
            signature: None,
        })
    }
}
