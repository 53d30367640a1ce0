//! What of its repository a stack does not get, or watches in vain: looked at in the tracked branch
//! when the stack is saved, and on its check.

use super::check::Finding;
use futures::{StreamExt as _, stream};
use gantry_domain::{
    CommitSha, ProjectId,
    decision::globs,
    module::{self, config},
    stack::Stack,
};
use gantry_gitlab::{Client, Error, TreeKind};

/// More globs than this are not looked for.
const MOST_GLOBS: usize = 20;
/// More files than this are not looked at for one glob.
const MOST_FILES: usize = 1000;
/// How many questions are asked at once.
const AT_ONCE: usize = 4;

/// The repository at a commit.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) client: &'a Client,
    pub(super) project: ProjectId,
    pub(super) sha: &'a CommitSha,
}

impl At<'_> {
    async fn kind(&self, path: &str) -> Result<Option<TreeKind>, Error> {
        self.client.tree_kind(self.project, self.sha, path).await
    }

    async fn text(&self, path: &str) -> Result<String, Error> {
        let body = self.client.file(self.project, self.sha.as_str(), path).await?;
        Ok(String::from_utf8_lossy(&body.unwrap_or_default()).into_owned())
    }
}

/// The project root, which is not the repository itself: whether it is there, and what it is.
pub(super) async fn root(at: At<'_>, stack: &Stack) -> (bool, Finding) {
    let root = &stack.settings.project_root;
    let kind = match at.kind(root).await {
        Ok(kind) => kind,
        Err(error) => return (false, Finding::unknown(&format!("folder {root}"), &error)),
    };
    let link = match kind {
        Some(TreeKind::Folder) => {
            let meaning = "It is the working directory of runs.";
            return (true, Finding::ok(format!("Folder {root} exists"), meaning));
        }
        Some(TreeKind::File) => {
            let what = format!("{root} is a file");
            let meaning = "Runs will fail, because the project root must be a folder.";
            return (false, Finding::warning(what, meaning));
        }
        Some(TreeKind::Submodule) => {
            let what = format!("{root} is a submodule");
            let meaning = "Runs will fail, because GitLab's archives do not include submodules.";
            return (false, Finding::warning(what, meaning));
        }
        Some(TreeKind::Link) => Some(root.as_str()),
        None => link_above(at, root).await,
    };
    let Some(link) = link else {
        let what = format!("Folder {root} does not exist in {}", stack.branch);
        return (false, Finding::warning(what, "Runs will fail until it does."));
    };
    let what = format!("{link} is a symbolic link");
    let meaning = "Runs use the folder that it points to, but changes there start nothing. Set \
                   that folder itself as project root, or add it to project_globs.";
    (false, Finding::warning(what, meaning))
}

/// The nearest folder above a path that is a link.
async fn link_above<'a>(at: At<'_>, path: &'a str) -> Option<&'a str> {
    let mut path = path;
    while let Some((above, _)) = path.rsplit_once('/') {
        path = above;
        match at.kind(path).await {
            Ok(None) => {}
            Ok(Some(TreeKind::Link)) => return Some(path),
            _ => return None,
        }
    }
    None
}

/// Globs that match no file of the branch.
pub(super) async fn idle_globs(at: At<'_>, stack: &Stack) -> Vec<Finding> {
    let all: Vec<String> = stack.settings.project_globs.iter().take(MOST_GLOBS).cloned().collect();
    let asked = stream::iter(all).map(|glob| async move {
        let set = globs::over_paths(std::slice::from_ref(&glob));
        let is_it = |path: &str| set.is_match(path);
        let folder = globs::folder_of(&glob);
        let found = at.client.has_file(at.project, at.sha, &folder, MOST_FILES, is_it).await;
        let what = format!("glob {glob}");
        match found {
            Ok(Some(false)) => Some(Finding::warning(
                format!("Glob {glob} matches no file in {}", stack.branch),
                "It starts no run until there is such a file. Globs match whole paths from the \
                 repository's root, and ** stands for any number of folders.",
            )),
            Ok(Some(true) | None) => None,
            Err(error) => Some(Finding::unknown(&what, &error)),
        }
    });
    asked.buffered(AT_ONCE).filter_map(std::future::ready).collect().await
}

/// What `.gitattributes` keep out of GitLab's archives, which runs and modules are made of.
pub(super) async fn not_in_archives(at: At<'_>, stack: &Stack) -> Vec<Finding> {
    let mut folders = vec![String::new()];
    let mut path = String::new();
    for part in stack.settings.project_root.split('/').filter(|part| !part.is_empty()) {
        path = format!("{path}{part}/");
        folders.push(path.clone());
    }
    let asked = stream::iter(folders).map(|folder| async move {
        let file = format!("{folder}.gitattributes");
        match at.text(&file).await {
            Ok(text) => of_attributes(&file, &text),
            Err(error) => vec![Finding::unknown(&file, &error)],
        }
    });
    asked.buffered(AT_ONCE).flat_map(stream::iter).collect().await
}

fn of_attributes(file: &str, text: &str) -> Vec<Finding> {
    let marked = |attribute: &str| {
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        let patterns: Vec<&str> = lines
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                let pattern = words.next()?;
                words.any(|word| word == attribute).then_some(pattern)
            })
            .take(10)
            .collect();
        patterns.join(" ")
    };
    let mut findings = Vec::new();
    let (left_out, filled_in) = (marked("export-ignore"), marked("export-subst"));
    if !left_out.is_empty() {
        findings.push(Finding::warning(
            format!("{file} excludes from archives: {left_out}"),
            "Runs and modules are created from GitLab's archives, so they do not get what is \
             marked export-ignore. Remove the mark from what they need.",
        ));
    }
    if !filled_in.is_empty() {
        findings.push(Finding::warning(
            format!("{file} substitutes text in archives: {filled_in}"),
            "Runs and modules are created from GitLab's archives, in which $Format:…$ in these \
             files is replaced (export-subst).",
        ));
    }
    findings
}

/// A module's configuration file, which says what is tested.
pub(super) async fn module_config(at: At<'_>, stack: &Stack) -> Option<Finding> {
    let path = |name: &str| match stack.settings.project_root.as_str() {
        "" => name.to_owned(),
        root => format!("{root}/{name}"),
    };
    let (folder, _) = config::PATH.rsplit_once('/')?;
    let named = path(config::PATH);
    let names = match at.client.files_in(at.project, at.sha, &path(folder)).await {
        Ok(names) => names,
        Err(error) => return Some(Finding::unknown(&named, &error)),
    };
    if names.iter().any(|name| config::PATH.ends_with(&format!("/{name}"))) {
        return None;
    }
    Some(match module::misnamed(&names) {
        Some(name) => Finding::warning(
            format!("{} is not read", path(&format!("{folder}/{name}"))),
            format!("Rename it to {named}, the file that defines the tests."),
        ),
        None => Finding::warning(
            format!("{named} does not exist in {}", stack.branch),
            "It defines the tests. Runs will fail until it exists.",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_in_attributes_are_told() {
        let said = |text: &str| -> Vec<String> {
            of_attributes(".gitattributes", text).into_iter().map(|found| found.what).collect()
        };
        assert_eq!(
            said(
                "* text=auto\n# x export-ignore\n/tests export-ignore\n*.md  text export-ignore\n"
            ),
            [".gitattributes excludes from archives: /tests *.md"]
        );
        assert_eq!(
            said("v.txt export-subst"),
            [".gitattributes substitutes text in archives: v.txt"]
        );
        assert!(
            said("a -export-ignore\nb !export-ignore\nc export-ignored\nexport-ignore\n")
                .is_empty()
        );
    }
}
