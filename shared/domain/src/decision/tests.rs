//! Which stacks an event touches, case by case.

use super::*;
use crate::Repository;
use crate::stack::{OnTag, Settings};
use proptest::prelude::*;

pub(crate) fn stack() -> Stack {
    Stack {
        id: "s1".parse().unwrap(),
        slug: "network".parse().unwrap(),
        settings: Settings {
            name: "Network".to_owned(),
            project_root: "infra".to_owned(),
            manage_state: true,
            ..Settings::default()
        },
        repository: Repository::Gitlab(ProjectId(7)),
        project_path: "ops/infra".to_owned(),
        generation: 1,
        project_is_public: false,
        branch: "main".to_owned(),
        variables: Vec::new(),
        retired: vec![],
        created_at: jiff::Timestamp::UNIX_EPOCH,
        deleted_at: None,
        begins_at: None,
        state_kept_until: None,
        module: None,
    }
}

fn paths(paths: &[&str]) -> Changes {
    Changes::Paths(paths.iter().map(|p| (*p).to_owned()).collect())
}

fn unlisted(root: &str, change: TreeChange) -> Changes {
    let roots = BTreeMap::from([(root.to_owned(), change)]);
    Changes::Unlisted {
        why: "GitLab listed 3000 changed files, and there may be more".to_owned(),
        roots,
    }
}

fn head() -> CommitSha {
    "0123456789abcdef0123456789abcdef01234567".parse().unwrap()
}

fn merge_request_from(fork: Option<Fork>, target: &str, changes: Changes) -> Facts {
    Facts::MergeRequest { iid: MergeRequestIid(3), target_branch: target.to_owned(), fork, changes }
}

/// Each line: what happened, what was decided, why.
#[test]
fn the_reasons_people_read() {
    let plain = stack();
    let mut with_globs = stack();
    with_globs.settings.project_globs = vec!["modules/**/*.tf".to_owned()];
    let mut with_files = stack();
    with_files.settings.var_files = vec!["eu.tfvars".to_owned(), "../vars/eu.tfvars".to_owned()];
    let mut whole = stack();
    whole.settings.project_root = String::new();
    let mut previews = stack();
    previews.settings.on_push = OnPush::Proposed;
    let mut on_tag = stack();
    on_tag.settings.on_tag = Some(OnTag { pattern: "v*".to_owned(), run: OnPush::Tracked });
    let mut forks = stack();
    forks.settings.allow_forks = vec!["friends".to_owned()];

    let moved = |changes| Facts::TrackedBranch { head: head(), changes };
    let branch =
        |changes, is_tracked| Facts::Branch { branch: "feature/x".to_owned(), changes, is_tracked };
    let tag = |tag: &str, in_tracked_branch, is_protected| Facts::Tag {
        tag: tag.to_owned(),
        in_tracked_branch,
        is_protected,
    };
    let fork = |path: &str| Some(Fork { project: ProjectId(9), path: Some(path.to_owned()) });

    let cases = [
        ("a file of the root", &plain, moved(Some(paths(&["infra/a.tf", "README.md"])))),
        ("two files", &plain, moved(Some(paths(&["infra/a.tf", "infra/b/c.tf"])))),
        ("a folder with a similar name", &plain, moved(Some(paths(&["infrastructure/a.tf"])))),
        ("a glob", &with_globs, moved(Some(paths(&["modules/vpc/main.tf"])))),
        ("not a glob", &with_globs, moved(Some(paths(&["modules/vpc/README.md"])))),
        ("a variable file", &with_files, moved(Some(paths(&["vars/eu.tfvars"])))),
        ("not a variable file", &with_files, moved(Some(paths(&["vars/us.tfvars"])))),
        ("an empty root", &whole, moved(Some(paths(&["anything"])))),
        ("nothing", &whole, moved(Some(paths(&[])))),
        ("a new branch", &plain, moved(None)),
        ("truncated, root differs", &plain, moved(Some(unlisted("infra", TreeChange::Different)))),
        ("truncated, root the same", &plain, moved(Some(unlisted("infra", TreeChange::Same)))),
        ("truncated, but globs", &with_globs, moved(Some(unlisted("infra", TreeChange::Same)))),
        (
            "truncated, but variable files",
            &with_files,
            moved(Some(unlisted("infra", TreeChange::Same))),
        ),
        ("truncated, unknown", &plain, moved(Some(unlisted("other", TreeChange::Same)))),
        ("previews only", &previews, moved(Some(paths(&["infra/a.tf"])))),
        ("a branch", &plain, branch(paths(&["infra/a.tf"]), false)),
        ("a branch that is tracked", &plain, branch(paths(&["infra/a.tf"]), true)),
        ("a merge request", &plain, merge_request_from(None, "main", paths(&["infra/a.tf"]))),
        ("another target", &plain, merge_request_from(None, "dev", paths(&["infra/a.tf"]))),
        ("README only", &plain, merge_request_from(None, "main", paths(&["README.md"]))),
        ("a fork", &plain, merge_request_from(fork("evil/infra"), "main", paths(&["infra/a"]))),
        (
            "a friend",
            &forks,
            merge_request_from(fork("friends/infra"), "main", paths(&["infra/a"])),
        ),
        (
            "no friend",
            &forks,
            merge_request_from(fork("friendsx/infra"), "main", paths(&["infra/a"])),
        ),
        ("a tag", &plain, tag("v1", true, false)),
        ("a tag in the branch", &on_tag, tag("v1", true, false)),
        ("a protected tag", &on_tag, tag("v1", false, true)),
        ("a tag from elsewhere", &on_tag, tag("v1", false, false)),
        ("another tag", &on_tag, tag("release", true, false)),
    ];
    let lines: Vec<String> = cases
        .iter()
        .map(|(what, stack, facts)| match decide(facts, stack) {
            Decision::Run { run_type, interest, fork_of, reason, version: _ } => {
                format!("{what}\n  {run_type} {interest:?} {fork_of:?}\n  {reason}")
            }
            Decision::Nothing { reason, untouched } => {
                format!(
                    "{what}\n  nothing{}\n  {reason}",
                    if untouched { " (untouched)" } else { "" }
                )
            }
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

proptest! {
    #[test]
    fn whole_segments_decide(
        root in "[a-c]{1,2}(/[a-c]{1,2}){0,2}",
        path in "[a-c]{1,2}(/[a-c]{1,2}){0,3}",
    ) {
        let root_parts: Vec<_> = root.split('/').collect();
        let path_parts: Vec<_> = path.split('/').collect();
        prop_assert_eq!(is_below(&path, &root), path_parts.starts_with(&root_parts));
        prop_assert!(is_below(&path, ""));
    }
}

#[test]
fn a_tag_names_a_version_of_a_module() {
    let module = crate::stack::Module {
        namespace: "ops".to_owned(),
        terraform_provider: "aws".to_owned(),
        tag_prefix: "net/".to_owned(),
    };
    let module = Stack { module: Some(module), ..stack() };
    let said = |tag: &str, in_tracked_branch, is_protected| {
        let facts = Facts::Tag { tag: tag.to_owned(), in_tracked_branch, is_protected };
        match decide(&facts, &module) {
            Decision::Run { run_type, version, reason, .. } => {
                format!("{run_type} {}: {reason}", version.unwrap())
            }
            Decision::Nothing { reason, .. } => reason,
        }
    };
    let all = [
        said("net/v1.2.3", true, false),
        said("net/1.2.3-rc.1", false, true),
        said("net/v1.2.3", false, false),
        said("v1.2.3", true, true),
    ];
    insta::assert_snapshot!(all.join("\n"), @"
    tracked 1.2.3: tag net/v1.2.3 requests version 1.2.3
    tracked 1.2.3-rc.1: tag net/1.2.3-rc.1 requests version 1.2.3-rc.1
    the tag's commit is not on main and the tag is not protected, so no version is created
    the tag does not name a version of the module, such as net/1.2.3 or net/v1.2.3
    ");
}
