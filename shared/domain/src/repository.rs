//! Where code lies.

use crate::{ProjectId, ids::InvalidId, ids::short_digest};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Where a stack's code lies.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repository {
    /// A project of the linked GitLab server.
    Gitlab(ProjectId),
    /// Any repository that can be read over HTTPS by everybody. Nobody tells when it changes, and
    /// nothing can be written to it: its runs are started by hand.
    Git(GitUrl),
}

impl Repository {
    /// The GitLab project; none elsewhere.
    pub fn project(&self) -> Option<ProjectId> {
        match self {
            Self::Gitlab(project) => Some(*project),
            Self::Git(_) => None,
        }
    }

    /// A short name of letters, digits and `-` for keys: different repositories have different
    /// ones.
    pub fn key(&self) -> String {
        match self {
            Self::Gitlab(project) => project.to_string(),
            Self::Git(url) => format!("git-{}", short_digest(&[url.as_str()])),
        }
    }
}

/// The address of a repository that everybody can read: `https://host/path`. `http` only on this
/// machine, for trying things out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GitUrl(String);

const KIND: &str = "repository address";
/// The longest address.
const LONGEST: usize = 500;

impl GitUrl {
    /// The address, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part after the host, for people: `group/project`.
    pub fn path(&self) -> &str {
        let rest = self.0.split_once("://").map_or(self.0.as_str(), |(_, rest)| rest);
        rest.split_once('/').map_or(rest, |(_, path)| path).trim_end_matches(".git")
    }
}

impl fmt::Display for GitUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for GitUrl {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = |rule| InvalidId::new(KIND, rule);
        let address = text.trim().trim_end_matches('/');
        if address.contains('@') {
            return Err(invalid(
                "leave out the user name and password; only public repositories can be read this \
                 way",
            ));
        }
        let rest = match address.split_once("://") {
            Some(("https", rest)) => rest,
            Some(("http", rest)) if is_this_machine(rest) => rest,
            _ => return Err(invalid("it must start with https://")),
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let is_plain = |c: char| c.is_ascii_graphic() && !"?#\\<>\"'`{}|^".contains(c);
        if host.is_empty() || path.is_empty() || !address.chars().all(is_plain) {
            return Err(invalid(
                "it must be a host and a path, such as https://host/group/project.git",
            ));
        }
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(invalid("its path cannot contain empty parts, . or .."));
        }
        if address.len() > LONGEST {
            return Err(invalid("use at most 500 characters"));
        }
        Ok(Self(address.to_owned()))
    }
}

fn is_this_machine(rest: &str) -> bool {
    let host = rest.split('/').next().unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(literal) => literal.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost"
        || name.parse::<core::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl TryFrom<String> for GitUrl {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<GitUrl> for String {
    fn from(url: GitUrl) -> Self {
        url.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_everybody_can_read() {
        for (text, path) in [
            ("https://git.example/group/sub/project.git", "group/sub/project"),
            (" https://git.example:8443/a/b/ ", "a/b"),
            ("http://127.0.0.1:8080/demo/x.git", "demo/x"),
            ("http://[::1]/a/b", "a/b"),
        ] {
            assert_eq!(text.parse::<GitUrl>().unwrap().path(), path);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_rule() {
        let refused = [
            "git.example/a/b",
            "http://git.example/a/b",
            "http://localhost.example/a/b",
            "ssh://git@git.example/a/b",
            "https://me:secret@git.example/a/b",
            "https://git.example",
            "https://git.example/a b",
            "https://git.example/a?x=1",
            "https://git.example/a/../b",
            "https://git.example/a//b",
        ];
        let said = refused.map(|text| text.parse::<GitUrl>().unwrap_err().to_string()).join("\n");
        insta::assert_snapshot!(said, @r#"
        not a valid repository address: it must start with https://
        not a valid repository address: it must start with https://
        not a valid repository address: it must start with https://
        not a valid repository address: leave out the user name and password; only public repositories can be read this way
        not a valid repository address: leave out the user name and password; only public repositories can be read this way
        not a valid repository address: it must be a host and a path, such as https://host/group/project.git
        not a valid repository address: it must be a host and a path, such as https://host/group/project.git
        not a valid repository address: it must be a host and a path, such as https://host/group/project.git
        not a valid repository address: its path cannot contain empty parts, . or ..
        not a valid repository address: its path cannot contain empty parts, . or ..
        "#);
    }

    #[test]
    fn different_repositories_have_different_keys() {
        let git = |text: &str| Repository::Git(text.parse().unwrap()).key();
        assert_eq!(Repository::Gitlab(ProjectId(7)).key(), "7");
        assert_ne!(git("https://git.example/a/b"), git("https://git.example/a/c"));
        assert!(git("https://git.example/a/b").starts_with("git-"));
    }

    #[test]
    fn it_is_kept_as_json() {
        let git = Repository::Git("https://git.example/a/b".parse().unwrap());
        for (repository, json) in [
            (Repository::Gitlab(ProjectId(7)), r#"{"gitlab":7}"#),
            (git, r#"{"git":"https://git.example/a/b"}"#),
        ] {
            assert_eq!(serde_json::to_string(&repository).unwrap(), json);
            assert_eq!(serde_json::from_str::<Repository>(json).unwrap(), repository);
        }
    }
}
