//! What `sam validate` and cfn-lint do not see.

use gantry_aws::{policy::each, tools};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Statements whose resource is `*`, and why. Actions are always named whole.
const EVERYTHING: &[(&str, &str)] = &[
    ("Traces", "X-Ray has no resources to name"),
    ("Network", "EC2 has network interfaces without names when they are made, and describes all"),
];

fn template() -> Value {
    serde_json::from_str(tools::transformed().unwrap()).unwrap()
}

/// What each resource refers to: `Ref`, `Fn::GetAtt`, `Fn::Sub` and `DependsOn`.
fn needs(template: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let resources = template["Resources"].as_object().unwrap();
    let mut needs = BTreeMap::new();
    for (name, resource) in resources {
        let mut found = BTreeSet::new();
        collect(resource, &mut found);
        found.retain(|name| resources.contains_key(name));
        needs.insert(name.clone(), found);
    }
    needs
}

fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(fields) => {
            for (name, field) in fields {
                match name.as_str() {
                    "Ref" | "DependsOn" => found.extend(each(field).into_iter().map(str::to_owned)),
                    "Fn::GetAtt" => found.extend(each(field).first().map(|s| (*s).to_owned())),
                    "Fn::Sub" => {
                        let text = each(field).first().copied().unwrap_or_default().to_owned();
                        for part in text.split("${").skip(1) {
                            let name = part.split(['}', '.']).next().unwrap_or_default();
                            found.insert(name.to_owned());
                        }
                    }
                    _ => {}
                }
                collect(field, found);
            }
        }
        _ => {}
    }
}

/// Resources that wait for each other: what is left when everything that waits for nothing is made.
fn cycle(mut needs: BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    loop {
        let ready: Vec<String> =
            needs.iter().filter(|(_, n)| n.is_empty()).map(|(name, _)| name.clone()).collect();
        if ready.is_empty() {
            return needs.into_keys().collect();
        }
        for name in ready {
            needs.remove(&name);
            needs.values_mut().for_each(|n| n.retain(|needed| *needed != name));
        }
    }
}

#[test]
fn resources_do_not_wait_for_each_other() {
    let template = template();
    assert!(needs(&template).len() > 60);
    assert_eq!(cycle(needs(&template)), [""; 0]);
    // The mistake that this is for: a function that its API leads to is told the API's address.
    let mut wrong = template;
    wrong["Resources"]["Settings"]["Properties"]["Environment"]["Variables"]["GANTRY_PUBLIC_URL"] =
        serde_json::json!({"Fn::Sub": "https://${Api}.execute-api.${AWS::Region}.amazonaws.com"});
    let waiting = cycle(needs(&wrong));
    assert!(waiting.contains(&"Api".to_owned()) && waiting.contains(&"Settings".to_owned()));
}

#[test]
fn roles_name_what_they_may_do_and_to_what() {
    let template = template();
    let mut documents = Vec::new();
    for (name, resource) in template["Resources"].as_object().unwrap() {
        let properties = &resource["Properties"];
        let inline = properties["Policies"].as_array().into_iter().flatten();
        documents.extend(inline.map(|policy| (name, &policy["PolicyDocument"])));
        if resource["Type"] == "AWS::IAM::ManagedPolicy" {
            documents.push((name, &properties["PolicyDocument"]));
        }
        let managed = properties["ManagedPolicyArns"].to_string();
        assert!(!managed.contains("arn:aws"), "{name} has a policy of AWS's: {managed}");
    }
    assert!(documents.len() >= 8, "policies were not found");
    for (name, document) in documents {
        for statement in document["Statement"].as_array().unwrap() {
            let sid = statement["Sid"].as_str().unwrap_or_default();
            for action in each(&statement["Action"]) {
                assert!(!action.contains('*'), "{name} {sid}: {action}");
            }
            let all = each(&statement["Resource"]).contains(&"*");
            let reason = EVERYTHING.iter().find(|(excused, _)| *excused == sid);
            assert!(!all || reason.is_some(), "{name} {sid} is allowed on everything");
            let table = statement["Resource"].to_string().contains("Table");
            let index = statement["Resource"].to_string().contains("/index/");
            let bound = statement["Condition"].to_string().contains("dynamodb:LeadingKeys");
            assert!(!table || index || bound, "{name} {sid} is allowed on the whole table");
        }
    }
}

/// Alarms and graphs ask for metrics that functions write: the names stand in their sources.
#[test]
fn every_metric_is_written_by_somebody() {
    let text = template().to_string();
    let mut asked: BTreeSet<String> = BTreeSet::new();
    for part in text.split(r#""Namespace":"Gantry","MetricName":""#).skip(1) {
        asked.insert(part.split('"').next().unwrap().to_owned());
    }
    for part in text.split(r#"[\"Gantry\", \""#).skip(1) {
        asked.insert(part.split('\\').next().unwrap().to_owned());
    }
    assert!(asked.len() >= 15, "the template was not understood: {asked:?}");
    let mut sources = String::new();
    let mut folders =
        vec![tools::repository().join("functions"), tools::repository().join("shared")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let missing: Vec<_> =
        asked.iter().filter(|name| !sources.contains(&format!("(\"{name}\""))).collect();
    assert!(missing.is_empty(), "nobody writes {missing:?}");
}

/// Settings alone writes the integration's secrets, webhook reads its own, and what runners talk
/// to reads none of GitLab's.
#[test]
fn secrets_are_for_whom_they_are_for() {
    let template = template();
    let secrets = |role: &str, action: &str| -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for statement in template["Resources"][role]["Properties"]["Policies"][0]["PolicyDocument"]
            ["Statement"]
            .as_array()
            .unwrap()
        {
            if each(&statement["Action"]).contains(&action) {
                collect(&statement["Resource"], &mut found);
            }
        }
        found
    };
    let read = "secretsmanager:GetSecretValue";
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(secrets("WebhookRole", read), names(&["WebhookSecrets"]));
    assert_eq!(secrets("RunnerApiRole", read), names(&["SigningKeys", "SealingKey"]));
    assert_eq!(secrets("SchedulerRole", read), names(&["ApiToken", "SigningKeys"]));
    assert_eq!(secrets("SourceRole", read), names(&["ApiToken"]));
    let write = "secretsmanager:PutSecretValue";
    for role in ["WebhookRole", "RunnerApiRole", "SchedulerRole", "SourceRole", "PublisherRole"] {
        assert_eq!(secrets(role, write), names(&[]), "{role}");
    }
    assert_eq!(
        secrets("SettingsRole", write),
        names(&["ApiToken", "PreviousApiToken", "WebhookSecrets", "AdminKey"])
    );
}
