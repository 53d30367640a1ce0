//! `archive.tar.gz`, as GitLab packs it: by `git archive`, which leaves out what `.gitattributes`
//! marks `export-ignore`, and makes empty folders of submodules.

use anyhow::{Result, ensure};

use super::Oid;
use super::backend::git;
use super::repo::Repo;

/// Packs a commit below the folder `top`.
pub(crate) fn tar_gz(repo: &Repo, commit: Oid, top: &str) -> Result<Vec<u8>> {
    let mut command = git();
    command
        .arg("--git-dir")
        .arg(&repo.folder)
        .args(["archive", "--format=tar.gz", "-1"])
        .arg(format!("--prefix={top}/"))
        .arg(commit.to_string());
    let output = command.output()?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "git archive failed: {words}");
    Ok(output.stdout)
}
