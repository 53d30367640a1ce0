//! What runners and runner-api say to each other, as it travels. Either side may be one release
//! ahead during an upgrade: a change here must still read what the other side writes, and keep the
//! body that was written before as a sample that is read.

use gantry_domain::{
    plan::Change,
    protocol::{
        BeatAnswer, ClaimAnswer, ClaimRequest, FurtherRequest, LockInfo, LogChunk, NextAnswer,
        Report, StateCommit, UploadAnswer, UploadRequest,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// The body is read and written again, and a field of a later release does not stop the reader.
#[track_caller]
fn is_read_and_written_as<T: Serialize + DeserializeOwned>(body: &Value) {
    is_read_as::<T>(body, body);
    let mut later = body.clone();
    later["of_a_later_release"] = json!({"is": "ignored"});
    is_read_as::<T>(&later, body);
}

#[track_caller]
fn is_read_as<T: Serialize + DeserializeOwned>(body: &Value, same: &Value) {
    let read: T = serde_json::from_value(body.clone()).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), *same);
}

fn delta() -> Value {
    json!({
        "add": 1, "change": 2, "destroy": 3, "import": 4, "move": 5, "forget": 6, "outputs": 7,
    })
}

fn claim_answer() -> Value {
    json!({
        "run_token": "run-token",
        "run": "run-1",
        "phase": "plan",
        "run_type": "tracked",
        "stack": "network",
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "uploaded_by": "ada",
        "upload_digest": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
        "source_url": "https://storage.example.com/source.tar.gz?signature=x",
        "branch": "main",
        "project_root": "infra/network",
        "var_files": ["../eu.tfvars"],
        "tool": "terraform",
        "tool_version": "1.9.8",
        "autodeploy": true,
        "manage_state": true,
        "hooks": {
            "before_init": ["./login.sh"],
            "after_init": [],
            "before_plan": [],
            "after_plan": [],
            "before_apply": [],
            "after_apply": [],
        },
        "variables": [{"name": "TF_VAR_zone", "value": "b", "secret": false}],
        "timeout": 3600,
        "apply_timeout": 5400,
        "largest_state": 536870912,
        "registry": {"host": "gantry.example.com", "token": "registry-token"},
        "plan_digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "planned": delta(),
    })
}

#[test]
fn a_phase_is_taken() {
    is_read_and_written_as::<ClaimRequest>(
        &json!({"runner": "local-4711", "nonce": "n", "identity": "https://sts.example.com/?x"}),
    );
    is_read_and_written_as::<ClaimRequest>(
        &json!({"runner": "local-4711", "nonce": "n", "identity": null, "tells_again": true}),
    );
    is_read_and_written_as::<ClaimRequest>(
        &json!({"runner": "local-4711", "nonce": "n", "identity": null, "heeds_options": true}),
    );
    is_read_and_written_as::<ClaimAnswer>(&claim_answer());
    let mut unusual = claim_answer();
    unusual["options"] = json!({
        "mode": "refresh_only", "targets": ["module.net"], "replace": ["aws_instance.web[0]"],
    });
    unusual["tolerate"] = json!([{"address": "module.asg.*", "attributes": ["tags.*"]}]);
    unusual["task"] = json!("terraform state list");
    is_read_and_written_as::<ClaimAnswer>(&unusual);
    is_read_and_written_as::<NextAnswer>(&json!({"run": "run-1", "claim_token": "token"}));
    is_read_and_written_as::<FurtherRequest>(&json!({"last_report": 4, "seconds_left": 900}));
}

#[test]
fn what_the_first_runners_did_not_say_has_a_meaning() {
    is_read_as::<ClaimRequest>(
        &json!({"runner": "local-4711"}),
        &json!({"runner": "local-4711", "nonce": "", "identity": null}),
    );
    let (mut before, mut same) = (claim_answer(), claim_answer());
    for field in
        ["apply_timeout", "registry", "largest_state", "plan_digest", "planned", "var_files"]
    {
        before.as_object_mut().unwrap().remove(field);
        same[field] = Value::Null;
    }
    for field in ["uploaded_by", "upload_digest", "source_url"] {
        before.as_object_mut().unwrap().remove(field);
        same.as_object_mut().unwrap().remove(field);
    }
    same["apply_timeout"] = json!(7200);
    same["largest_state"] = json!(256 << 20);
    same["var_files"] = json!([]);
    is_read_as::<ClaimAnswer>(&before, &same);
    is_read_as::<UploadAnswer>(&json!({}), &json!({"url": null, "headers": {}}));
}

#[test]
fn a_phase_is_followed() {
    is_read_and_written_as::<LogChunk>(&json!({"offset": 17, "text": "Initializing…\n"}));
    is_read_and_written_as::<BeatAnswer>(&json!({"stop": "@ops stopped it"}));
    is_read_and_written_as::<BeatAnswer>(&json!({"stop": null}));
    let delta = delta();
    for what in [
        json!({"kind": "claimed", "runner": "local-4711"}),
        json!({"kind": "claimed", "runner": "local-4711", "tells_again": true}),
        json!({"kind": "planning"}),
        json!({"kind": "planned", "delta": delta, "plan_digest": "9f86d081"}),
        json!({"kind": "planned", "delta": delta, "plan_digest": null}),
        json!({"kind": "planned", "delta": delta, "plan_digest": null, "failed_checks": 2}),
        json!({"kind": "planned", "delta": delta, "plan_digest": null, "tolerated": 2}),
        json!({"kind": "applied", "delta": delta}),
        json!({
            "kind": "apply_failed", "summary": "no", "errors": ["no"], "log_tail": ["no"],
            "in_terraform": false,
        }),
        json!({"kind": "destroyed"}),
        json!({"kind": "destroyed", "left": [{"address": "a.b", "id": "i-1"}]}),
        json!({"kind": "failed", "summary": "no", "errors": [], "log_tail": [], "in_terraform": true}),
        json!({"kind": "stopped"}),
        json!({"kind": "interrupted", "summary": "its time was over"}),
    ] {
        is_read_and_written_as::<Report>(&json!({"sequence": 3, "what": what}));
        for doubt in ["kept_aside", "not_delivered", "runner_died"] {
            let report = json!({"sequence": 3, "what": what, "doubt": doubt});
            is_read_and_written_as::<Report>(&report);
        }
    }
}

/// It is kept as well, and pages and notes read it much later.
#[test]
fn a_change_is_shown() {
    let actions = [
        json!("create"),
        json!("update"),
        json!("delete"),
        json!({"replace": {"create_before_destroy": true}}),
        json!("read"),
        json!("import"),
        json!("move"),
        json!("forget"),
        json!("replace_and_forget"),
        json!("other"),
    ];
    let values = [
        json!("absent"),
        json!({"known": "\"a\""}),
        json!("sensitive"),
        json!("unknown"),
        json!({"truncated": ["\"aaa", 500]}),
        json!({"part": [400, "aaa", 500]}),
        json!({"lines": 4}),
    ];
    let attributes =
        values.map(|value| json!({"path": "input", "before": "absent", "after": value}));
    let mut resources = Vec::from(actions.map(|action| {
        json!({
            "address": "aws_subnet.a",
            "type": "aws_subnet",
            "provider": "aws",
            "action": action,
            "attributes": attributes,
            "attributes_cut": 2,
        })
    }));
    resources.push(json!({
        "address": "aws_subnet.b",
        "deposed": "8a3f1c2b",
        "previous_address": "aws_subnet.c",
        "type": "aws_subnet",
        "provider": "aws",
        "action": {"replace": {"create_before_destroy": false}},
        "import_id": "subnet-1",
        "reason": "replace_because_tainted",
        "attributes": [{
            "path": "tags",
            "before": {"lines": 2},
            "after": {"lines": 2},
            "forces_replacement": true,
            "mark": "removed_alone",
            "lines": [{"same": "a"}, {"removed": "b"}, {"added": "c"}, {"skipped": 3}, {"cut": 4}],
        }],
        "attributes_cut": 0,
    }));
    is_read_and_written_as::<Change>(&json!({
        "v": 1,
        "tool": "opentofu",
        "terraform_version": "1.9.8",
        "delta": delta(),
        "errored": false,
        "partial": true,
        "remarks": ["backend \"gcs\" is not used"],
        "resources": resources,
        "resources_cut": 1,
        "invocations": [
            {"address": "action.a.b", "config": [], "config_cut": 0},
            {
                "address": "action.a.b", "resource": "a.b", "event": "AfterUpdate",
                "config": [{"path": "text", "before": "absent", "after": {"known": "1"}}],
                "config_cut": 1,
            },
        ],
        "invocations_cut": 2,
        "outputs": [{"path": "address", "before": "absent", "after": "unknown"}],
        "outputs_cut": 2,
        "drift": 3,
        "drifted": [{"address": "a.b"}, {"address": "a.c", "deposed": "0123", "gone": true}],
        "deferred": 4,
        "checks": [{"address": "check.health", "problems": ["it is not healthy"]}],
    }));
    let mut refreshed = serde_json::to_value(Change::default()).unwrap();
    refreshed["refresh_only"] = json!(true);
    refreshed["tolerated"] = json!(["aws_instance.web[0]", "output.url"]);
    refreshed["tolerated_cut"] = json!(3);
    is_read_and_written_as::<Change>(&refreshed);
    is_read_as::<Change>(&json!({}), &serde_json::to_value(Change::default()).unwrap());
    // As it was before there were actions to invoke.
    let before = json!({"v": 1, "delta": delta(), "drift": 3, "resources": [], "outputs": []});
    let read: Change = serde_json::from_value(before).unwrap();
    assert_eq!((read.drift, read.drifted.len(), read.delta.invoke), (3, 0, 0));
}

#[test]
fn bodies_are_uploaded() {
    for what in ["plan", "state"] {
        let request = json!({"what": what, "digest": "9f86d081", "size": 12});
        is_read_and_written_as::<UploadRequest>(&request);
    }
    is_read_and_written_as::<UploadAnswer>(&json!({
        "url": "https://bucket.example.com/plans/1?signature=s",
        "headers": {"x-amz-checksum-sha256": "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg="},
    }));
    is_read_and_written_as::<StateCommit>(
        &json!({"lock_id": "lock-1", "digest": "9f86d081", "rescued": false}),
    );
    is_read_and_written_as::<LockInfo>(&json!({
        "ID": "lock-1",
        "Operation": "OperationTypeApply",
        "Info": "",
        "Who": "runner@build",
        "Version": "1.9.8",
        "Created": "2026-01-02T03:04:05Z",
        "Path": "",
    }));
}
