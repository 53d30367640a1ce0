//! `make destroy`, on moto.

use gantry_aws::{Cloud, tools, wire::REGION};
use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

fn destroy(cloud: &Cloud, arguments: &[&str], typed: &str) -> Output {
    let mut child = Command::new(tools::folder().unwrap().join("python"))
        .arg(tools::repository().join("infra/aws/destroy.py"))
        .args(arguments)
        .env("AWS_ENDPOINT_URL", &cloud.moto)
        .env("AWS_DEFAULT_REGION", REGION)
        .env("AWS_ACCESS_KEY_ID", "operator")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_removed_only_on_request() {
    let cloud = Cloud::deploy("destroy").await.unwrap();
    let refused = destroy(&cloud, &[], "yes\n");
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(said.contains("Keeps: gantry, gantry-123456789012-eu-west-1"), "{said}");
    assert_eq!(String::from_utf8_lossy(&refused.stderr).trim(), "Nothing was removed.");
    assert!(
        cloud
            .sqs()
            .get_queue_attributes()
            .queue_url(cloud.queue("later").unwrap())
            .send()
            .await
            .is_ok()
    );

    let done = destroy(&cloud, &["--data"], "gantry\n");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    assert!(said.contains("Removes for ever: gantry, "), "{said}");
    for removed in ["stack gantry", "table gantry", "bucket gantry-123456789012-eu-west-1"] {
        assert!(said.contains(&format!("{removed}: removed")), "{said}");
    }
    let none = destroy(&cloud, &[], "gantry\n");
    assert!(String::from_utf8_lossy(&none.stderr).contains("There is no stack gantry"));
    // What an earlier call kept can be removed later; what is not there is no trouble.
    let again = destroy(&cloud, &["--data", "--yes"], "");
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    assert!(String::from_utf8_lossy(&again.stdout).contains("table gantry: not there"));
}
