//! What the publisher remembers between versions, as it is written now. A change here must still
//! read what was written before.

use crate::{
    environment::EnvironmentMemory, issue::IssueMemory, note::NoteMemory, status::StatusMemory,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

#[track_caller]
fn is_read_and_written_as<T: Serialize + DeserializeOwned>(body: &Value) {
    let read: T = serde_json::from_value(body.clone()).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), *body);
}

#[test]
fn what_was_remembered_is_read() {
    is_read_and_written_as::<StatusMemory>(&json!({
        "posted": {"v": 1, "statuses": [{
            "pipeline": {
                "fork": null,
                "id": 77,
                "sha": "0123456789abcdef0123456789abcdef01234567",
                "git_ref": "feature/subnets",
                "shows": "previews",
            },
            "name": "gantry/network",
            "state": "success",
            "description": "+1 ~0 −0",
            "run": "run-1",
            "by": 7,
        }]},
        "first_seen": "2026-01-02T03:04:05Z",
        "own_ci": true,
        "late_looks": 2,
        "refusals": {"gantry/network": "403 Forbidden"},
    }));
    is_read_and_written_as::<StatusMemory>(&json!({
        "posted": {"v": 1, "statuses": []},
        "first_seen": "2026-01-02T03:04:05Z",
        "own_ci": false,
        "late_looks": 0,
        "refusals": {},
        "unsure": true,
        "found": {
            "at": "2026-01-02T03:04:05Z",
            "subjects": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "pipelines": [{
                "fork": null,
                "id": 77,
                "sha": "0123456789abcdef0123456789abcdef01234567",
                "git_ref": null,
                "shows": "everything",
            }],
        },
    }));
    is_read_and_written_as::<NoteMemory>(&json!({
        "note": 12,
        "body": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "refusal": "403 Forbidden",
    }));
    is_read_and_written_as::<NoteMemory>(&json!({
        "note": 12,
        "body": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "mention": 13,
        "refusal": null,
    }));
    is_read_and_written_as::<NoteMemory>(&json!({
        "note": 12,
        "body": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "written_at": "2026-01-02T03:04:05Z",
        "refusal": null,
    }));
    is_read_and_written_as::<NoteMemory>(&json!({
        "note": 12,
        "body": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "waits_for": {"run": "run-1", "runs": 1000, "until": "2026-01-02T03:04:55Z"},
        "refusal": null,
    }));
    is_read_and_written_as::<EnvironmentMemory>(&json!({
        "project": 5,
        "environment": 31,
        "external_url": "https://example.com",
        "is_stopped": false,
        "deployments": {"run-1": {"id": 9, "state": "success"}},
        "refusal": "403 Forbidden",
    }));
    is_read_and_written_as::<IssueMemory>(&json!({
        "project": 5,
        "issue": 31,
        "is_open": true,
        "said": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "differs": "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752",
        "labels": ["drift"],
        "assignees": ["ada"],
        "refusal": "403 Forbidden",
    }));
}

/// When a later look comes is among the counters now.
#[test]
fn what_an_earlier_version_remembered_besides_is_passed_over() {
    let status = json!({
        "posted": {"v": 1, "statuses": []},
        "first_seen": null,
        "own_ci": false,
        "late_looks": 0,
        "refusals": {},
        "looks_at": "2026-01-02T03:04:07Z",
    });
    let note = json!({"note": 12, "body": null, "looks_at": "2026-01-02T03:04:10Z"});
    serde_json::from_value::<StatusMemory>(status).unwrap();
    serde_json::from_value::<NoteMemory>(note).unwrap();
}
