//! What "not found" means for each thing that is read.
//!
//! A 404 may say that the thing is not there, that its project is gone or hidden from the token, or
//! that something before GitLab's API does not know the address. Only the first is an answer, and
//! others act on it: they take runs back, or write a thing anew. So a 404 is believed where its
//! words name the thing; any other one only after a second look that names it. `docs/gitlab.md` has
//! the table for people.

use crate::{Client, Error, call::Call};
use gantry_domain::{GroupId, ProjectId};
use http::Method;
use serde_json::Value;

/// A kind of thing that a project may not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thing {
    Branch,
    Tag,
    Commit,
    Comparison,
    MergeBase,
    Folder,
    File,
    Archive,
    MergeRequest,
    Deployment,
    Environment,
    Issue,
    Webhook,
    Member,
    GroupMember,
    ProtectedEnvironments,
}

/// What is asked before a 404 is believed that does not name the thing.
enum SecondLook {
    /// A list below the project, narrowed by this parameter: where an entry's field has the name,
    /// the thing is there after all.
    List { path: &'static [&'static str], narrowed_by: &'static str, field: &'static str },
    /// The project, then the thing once more.
    Project,
    /// The group, then the thing once more.
    Group,
}

/// What is known of a kind of thing.
struct Row {
    thing: Thing,
    /// GitLab's words for it in "404 … Not Found". None where GitLab names nothing.
    words: &'static [&'static str],
    second_look: SecondLook,
    #[cfg_attr(not(test), expect(dead_code, reason = "read by whoever reads the table"))]
    means: &'static str,
}

const TABLE: [Row; 16] = [
    Row {
        thing: Thing::Branch,
        words: &["Branch"],
        second_look: SecondLook::List {
            path: &["repository", "branches"],
            narrowed_by: "search",
            field: "name",
        },
        means: "it was deleted: its previews are taken back, a tracked branch is shown as missing",
    },
    Row {
        thing: Thing::Tag,
        words: &["Tag"],
        second_look: SecondLook::List {
            path: &["repository", "tags"],
            narrowed_by: "search",
            field: "name",
        },
        means: "it was deleted: its previews are taken back",
    },
    Row {
        thing: Thing::Commit,
        words: &["Commit"],
        second_look: SecondLook::Project,
        means: "it was rewritten away, or never was: nothing is started for it",
    },
    Row {
        thing: Thing::Comparison,
        words: &["Ref", "Commit"],
        second_look: SecondLook::Project,
        means: "one side is gone: folders are compared instead, and what stays open counts as affected",
    },
    Row {
        thing: Thing::MergeBase,
        words: &["Merge Base"],
        second_look: SecondLook::Project,
        means: "both have no commit in common: what changed cannot be told, and counts as affected",
    },
    Row {
        thing: Thing::Folder,
        words: &["Tree", "invalid revision or path"],
        second_look: SecondLook::Project,
        means: "neither commit nor folder says anything: what it was asked for counts as affected",
    },
    Row {
        thing: Thing::File,
        words: &["File", "Commit"],
        second_look: SecondLook::Project,
        means: "the commit has no such file",
    },
    Row {
        thing: Thing::Archive,
        words: &["File", "Commit"],
        second_look: SecondLook::Project,
        means: "the commit is gone: the runs that need it fail",
    },
    Row {
        thing: Thing::MergeRequest,
        words: &["Merge Request"],
        second_look: SecondLook::List {
            path: &["merge_requests"],
            narrowed_by: "iids[]",
            field: "iid",
        },
        means: "it was deleted: its previews are taken back",
    },
    Row {
        thing: Thing::Deployment,
        words: &["Deployment"],
        second_look: SecondLook::Project,
        means: "somebody deleted it: nothing is left to end",
    },
    Row {
        thing: Thing::Environment,
        words: &["Environment"],
        second_look: SecondLook::Project,
        means: "somebody deleted it: nothing is left to stop",
    },
    Row {
        thing: Thing::Issue,
        words: &["Issue"],
        second_look: SecondLook::Project,
        means: "somebody deleted it: another one is opened only for something else that drifts",
    },
    Row {
        thing: Thing::Webhook,
        words: &["Hook"],
        second_look: SecondLook::Project,
        means: "somebody deleted it: nothing is left to delete",
    },
    Row {
        thing: Thing::Member,
        words: &["Member"],
        second_look: SecondLook::Project,
        means: "the user is no member of the project",
    },
    Row {
        thing: Thing::GroupMember,
        words: &["Member"],
        second_look: SecondLook::Group,
        means: "the user is no member of the group",
    },
    Row {
        thing: Thing::ProtectedEnvironments,
        words: &[],
        second_look: SecondLook::Project,
        means: "the server's edition has no protected environments: none is protected",
    },
];

/// A thing that may not be there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) thing: Thing,
    pub(crate) within: Within,
    /// What the list of the second look calls it.
    pub(crate) name: &'a str,
}

/// Where a thing belongs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Within {
    Project(ProjectId),
    Group(GroupId),
}

impl Within {
    /// A read below it.
    fn call(self, path: &[&str]) -> Call {
        match self {
            Self::Project(project) => Call::project(Method::GET, project, path),
            Self::Group(group) => Call::group(group, path),
        }
    }
}

impl Thing {
    fn row(self) -> &'static Row {
        // Each kind has its row: a test looks.
        TABLE.iter().find(|row| row.thing == self).unwrap_or(&TABLE[0])
    }

    pub(crate) fn of(self, project: ProjectId) -> Named<'static> {
        self.named(project, "")
    }

    pub(crate) fn named(self, project: ProjectId, name: &str) -> Named<'_> {
        Named { thing: self, within: Within::Project(project), name }
    }

    pub(crate) fn of_group(self, group: GroupId) -> Named<'static> {
        Named { thing: self, within: Within::Group(group), name: "" }
    }

    fn is_named_by(self, message: &str) -> bool {
        self.row().words.iter().any(|words| message == format!("404 {words} Not Found"))
    }
}

impl Client {
    /// What was asked for, or none where GitLab does not have it. `again` asks once more, and is
    /// only begun where the second look needs it.
    pub(crate) async fn unless_absent<T>(
        &self,
        what: Named<'_>,
        asked: impl Future<Output = Result<T, Error>>,
        again: impl Future<Output = Result<T, Error>>,
    ) -> Result<Option<T>, Error> {
        let message = match asked.await {
            Ok(found) => return Ok(Some(found)),
            Err(Error::NotFound { message }) => message,
            Err(error) => return Err(error),
        };
        if what.thing.is_named_by(&message) {
            return Ok(None);
        }
        match &what.thing.row().second_look {
            SecondLook::List { path, narrowed_by, field } => {
                let name = match *narrowed_by {
                    "search" => format!("^{}", what.name),
                    _ => what.name.to_owned(),
                };
                let call = what.within.call(path).query(narrowed_by, name);
                let is_it = |entry: &Value| match entry.get(field) {
                    Some(Value::String(name)) => name == what.name,
                    Some(Value::Number(id)) => id.as_u64() == what.name.parse().ok(),
                    _ => false,
                };
                let listed = self.list_until(call, usize::MAX, is_it).await?;
                if !listed.last().is_some_and(is_it) {
                    return Ok(None);
                }
                match again.await {
                    // It is on the list: whoever says that it is not there is wrong.
                    Err(Error::NotFound { message }) => Err(Error::not_gitlabs(format!(
                        "{} says \"{message}\" of what it lists",
                        self.host().authority()
                    ))),
                    found => found.map(Some),
                }
            }
            SecondLook::Project | SecondLook::Group => {
                match what.within {
                    Within::Project(project) => drop(self.project(project).await?),
                    Within::Group(group) => drop(self.group(group).await?),
                }
                match again.await {
                    Err(Error::NotFound { .. }) => Ok(None),
                    found => found.map(Some),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_words(row: &Row) -> String {
        let thing: String = format!("{:?}", row.thing)
            .chars()
            .flat_map(|c| c.is_uppercase().then_some(' ').into_iter().chain(c.to_lowercase()))
            .collect();
        let words: Vec<String> =
            row.words.iter().map(|words| format!("`404 {words} Not Found`")).collect();
        let words = if words.is_empty() { "none".to_owned() } else { words.join(", ") };
        let second = match row.second_look {
            SecondLook::List { path, narrowed_by, .. } => {
                format!("`GET …/{}?{narrowed_by}=…` lists it", path.join("/"))
            }
            SecondLook::Project => "`GET /projects/:id`, then the same once more".to_owned(),
            SecondLook::Group => "`GET /groups/:id`, then the same once more".to_owned(),
        };
        format!("| {} | {words} | {second} | {} |", thing.trim(), row.means)
    }

    #[test]
    fn the_documentation_has_the_table() {
        let documentation = include_str!("../../../docs/gitlab.md");
        for row in &TABLE {
            let line = in_words(row);
            assert!(documentation.contains(&line), "docs/gitlab.md lacks\n{line}");
            assert_eq!(row.thing.row().thing, row.thing);
        }
    }

    #[test]
    fn only_words_that_name_the_thing_are_believed_at_once() {
        assert!(Thing::Branch.is_named_by("404 Branch Not Found"));
        for other in
            ["404 Project Not Found", "404 Not Found", "404 Not found", "404 Tag Not Found"]
        {
            assert!(!Thing::Branch.is_named_by(other), "{other}");
        }
        assert!(Thing::Folder.is_named_by("404 invalid revision or path Not Found"));
    }
}
