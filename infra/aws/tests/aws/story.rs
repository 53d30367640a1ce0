//! The demo's story, told to the Lambda functions.

use gantry_aws::{Cloud, policy};
use gantry_domain::stack::Tool;
use gantry_fake_gitlab::{Config, FakeGitlab};
use gantry_local::demo::World;
use std::collections::BTreeSet;

/// Statements that the story does not need, and who does.
const NOT_IN_THE_STORY: &[(&str, &str)] = &[
    ("Logs", "Lambda writes the logs, with the function's role"),
    ("Traces", "Lambda writes the traces, with the function's role"),
    ("Receive", "Lambda's event source mapping receives, with the function's role"),
    ("Unclaimed", "a run is handed out again only while nobody claimed it"),
    ("Settled", "a stack's project changes, or a stack is deleted, only while it is at rest"),
    ("Activity", "a state is imported, restored or unlocked by hand"),
    ("Missing", "a state or an archive that is not there"),
    ("Poison", "a message fails"),
    ("DeadLetters", "an operator looks at them, or sends them again"),
    ("Nudge", "an operator sends dead letters again, to the queue that they came from"),
];

/// Everything that the story shows, over API Gateway's events, SQS, Secrets Manager, S3 and
/// CodeBuild's variables; and no function does what its role does not allow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demos_story_passes_through_the_functions() {
    let cloud = Cloud::start("story").await.unwrap();
    let config = Config {
        anonymous_user: Some("you".to_owned()),
        data_dir: Some(cloud.folder.join("gitlab")),
        ..Config::default()
    };
    let gitlab = FakeGitlab::start(config).await.unwrap();
    let key = cloud.secret("admin-key").await.unwrap();
    let world = World::new(gitlab, cloud.address.clone(), key.into(), Tool::Terraform).unwrap();
    assert!(world.tell().await, "the logs are in {}", cloud.folder.display());
    let runs = world.look_at_runs().await.unwrap();
    assert!(runs.iter().any(|run| run["attempt"] == 2), "no run was applied: {runs:?}");

    assert_eq!(cloud.wire.problems(), [""; 0]);
    let forbidden = cloud.forbidden_calls().unwrap();
    assert!(forbidden.is_empty(), "roles do not allow what is done:\n{forbidden:#?}");

    let used = cloud.used_statements().unwrap();
    let mut unused = BTreeSet::new();
    for (name, function) in &cloud.deployed.functions {
        for statement in policy::statements(&function.role.policies).unwrap() {
            let sid = statement["Sid"].as_str().unwrap();
            let excused = NOT_IN_THE_STORY.iter().any(|(excused, _)| *excused == sid);
            if !excused && !used.contains(&(name.clone(), sid.to_owned())) {
                unused.insert((name, sid));
            }
        }
    }
    assert!(unused.is_empty(), "nobody needs these statements: {unused:?}");

    // What graphs show of it.
    let metrics = cloud.lambda.metrics().unwrap();
    let value = |name: &str| *metrics.get(name).unwrap_or(&-1.0);
    for name in ["WebhooksTaken", "Decisions", "RunsEnded", "FirstStatus", "GitlabCalls"] {
        assert!(value(name) > 0.0, "{name}: {metrics:?}");
    }
    for name in ["InRoom", "InLine", "OldestInLine", "IntegrationBroken"] {
        assert!(value(name) >= 0.0, "{name}: {metrics:?}");
    }
    for name in ["StartsRefused", "ClaimsRefused", "BlockedStacks", "GitlabTrouble"] {
        assert!(value(name) <= 0.0, "{name}: {metrics:?}");
    }

    // Previews and module tests got the plan role; what was to be applied, the apply role.
    let roles: BTreeSet<String> = cloud.codebuild.builds().into_iter().map(|b| b.role).collect();
    let both = [cloud.deployed.apply_role.clone(), cloud.deployed.project.role.clone()];
    assert_eq!(roles, both.into());
}
