//! Against a real Git server: the one of the fake GitLab, whose public projects everybody reads.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use gantry_domain::{CommitSha, GitUrl};
use gantry_fake_gitlab::{Config, FakeGitlab, Person, ProjectId, ProjectOptions, Visibility};
use gantry_git::{Git, GitError};
use std::{collections::BTreeMap, io::Read as _, path::Path};

const LARGEST: u64 = 10_000_000;

struct World {
    gitlab: FakeGitlab,
    project: ProjectId,
    dev: Person,
}

impl World {
    async fn new(visibility: Visibility) -> Self {
        let gitlab = FakeGitlab::start(Config::default()).await.unwrap();
        let files = [("main.tf", "# main\n"), ("modules/a/main.tf", "# a\n")];
        let files = files.map(|(path, text)| (path.to_owned(), text.to_owned())).into();
        let options = ProjectOptions { files, visibility, ..ProjectOptions::default() };
        let project = gitlab.create_project("acme/open", options).unwrap();
        let dev = gitlab.person("dev");
        gitlab.set_member(project, dev.id(), 40);
        Self { gitlab, project, dev }
    }

    fn url(&self) -> GitUrl {
        format!("{}/acme/open.git", self.gitlab.base_url()).parse().unwrap()
    }

    async fn archive(&self, commit: &str, largest: u64, file: &Path) -> Result<(), GitError> {
        let commit = commit.parse::<CommitSha>().unwrap();
        Git::default().archive(&self.url(), &commit, largest, file.to_owned()).await
    }
}

fn unpacked(file: &Path) -> BTreeMap<String, String> {
    let file = flate2::read::GzDecoder::new(std::fs::File::open(file).unwrap());
    let mut archive = tar::Archive::new(file);
    let mut files = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        files.insert(path, text);
    }
    files
}

#[tokio::test]
async fn branches_are_seen_with_their_heads() {
    let w = World::new(Visibility::Public).await;
    let main = w.gitlab.head(w.project, "main").unwrap();
    let topic = w.dev.push(w.project, "topic/x", "main.tf", "# topic\n").unwrap();
    let seen = Git::default().branches(&w.url()).await.unwrap();
    assert_eq!(seen.default.as_deref(), Some("main"));
    assert_eq!(seen.head("main").unwrap().as_str(), main);
    assert_eq!(seen.head("topic/x").unwrap().as_str(), topic);
    assert_eq!(seen.all.len(), 2);
}

#[tokio::test]
async fn a_commits_files_are_read_also_when_the_branch_has_moved() {
    let w = World::new(Visibility::Public).await;
    let old = w.gitlab.head(w.project, "main").unwrap();
    w.dev.push(w.project, "main", "main.tf", "# newer\n").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("source.tar.gz");
    w.archive(&old, LARGEST, &file).await.unwrap();
    let files = unpacked(&file);
    assert_eq!(files["repository/main.tf"], "# main\n");
    assert_eq!(files["repository/modules/a/main.tf"], "# a\n");
    assert!(files.keys().all(|path| path.starts_with("repository/")), "{files:?}");
}

#[tokio::test]
async fn what_cannot_be_read_says_why() {
    let w = World::new(Visibility::Private).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("source.tar.gz");
    let main = w.gitlab.head(w.project, "main").unwrap();
    let hidden = w.archive(&main, LARGEST, &file).await.unwrap_err();
    assert!(matches!(hidden, GitError::NotPublic(_)), "{hidden}");
    let nobody: GitUrl = "http://127.0.0.1:1/a/b.git".parse().unwrap();
    let away = Git::default().branches(&nobody).await.unwrap_err();
    assert!(away.is_temporary(), "{away}");

    let w = World::new(Visibility::Public).await;
    let unknown = w.archive(&"1".repeat(40), LARGEST, &file).await.unwrap_err();
    assert!(matches!(unknown, GitError::Unusable(_)), "{unknown}");
}

#[tokio::test]
async fn what_is_too_large_is_given_up() {
    let w = World::new(Visibility::Public).await;
    // Does not get smaller.
    let noise: String =
        (0..400_000u64).map(|i| format!("{:x}", i.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let large = w.dev.push(w.project, "main", "noise.txt", &noise).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("source.tar.gz");
    let refused = w.archive(&large, 100_000, &file).await;
    assert!(matches!(refused, Err(GitError::TooLarge)), "{refused:?}");
}
