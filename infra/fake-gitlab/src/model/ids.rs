//! The numbers that GitLab gives to things.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$name> for u64 {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

id!(
    /// A project's id; it stays when the project is renamed or moved.
    ProjectId
);
id!(
    /// A user's id.
    UserId
);
id!(
    /// A group's id.
    GroupId
);
id!(
    /// A merge request's number within its project.
    MergeRequestIid
);
id!(
    /// An issue's number within its project.
    IssueIid
);
id!(
    /// A pipeline's id, unique on the server.
    PipelineId
);
id!(
    /// A note's id, unique on the server.
    NoteId
);
