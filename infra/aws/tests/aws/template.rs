//! What `sam validate` and cfn-lint do not see.

use gantry_aws::{policy::each, tools};
use gantry_queue::QueueName;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Where SAM's permissions for API Gateway begin; the rest is the method and the path.
const API: &str = "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:\
                   ${__ApiId__}/${__Stage__}";

/// Stands for the statement that a Lambda permission is.
const PERMISSION: &str = "Permission";

/// Patterns that policies allow, and indexes: whose policies, which statement of them (its `Sid` or
/// number), what it says, and why. Actions are always named whole.
const WIDE: &[(&[&str], &str, &str, &str)] = &[
    (
        &[
            "WebhookRole",
            "SchedulerRole",
            "PublisherRole",
            "SourceRole",
            "SettingsRole",
            "RunnerApiRole",
        ],
        "Traces",
        "*",
        "X-Ray has no resources to name",
    ),
    (
        &["NetworkPolicy", "RunnerNetworkPolicy"],
        "Network",
        "*",
        "EC2 has network interfaces without names when they are made, and describes all",
    ),
    (
        &["RunnerNetworkPolicy"],
        "NetworkPermission",
        "arn:${AWS::Partition}:ec2:${AWS::Region}:${AWS::AccountId}:network-interface/*",
        "CodeBuild makes a build's network interface; a condition names CodeBuild",
    ),
    (
        &["SettingsRole"],
        "Objects",
        "${Bucket.Arn}/source/*/waits.json",
        "why a repository's archives are not there yet lies beside them: it reads that, and no archive",
    ),
    (
        &["RunnerPolicy"],
        "Program",
        "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:\
         layer:${AWS::StackName}-runner:*",
        "builds from before an upgrade fetch their own version of the layer",
    ),
    (
        &["SchedulerRole"],
        "RunnersRoles",
        "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/${AWS::StackName}/plan/*",
        "stacks may have roles of their own, below this path",
    ),
    (
        &["SchedulerRole"],
        "RunnersRoles",
        "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/${AWS::StackName}/apply/*",
        "stacks may have roles of their own, below this path",
    ),
    (
        &["SchedulerRole"],
        "Due",
        "${Table.Arn}/index/attention",
        "what is due is looked up in all partitions",
    ),
    // API Gateway calls functions; in routes `*` is any method, or a part of the path.
    (&["SettingsEverythingPermission"], PERMISSION, "/*", "it answers what no other route does"),
    (&["RunnerApiRunnersPermission"], PERMISSION, "/*/runner/*", "the route of runners"),
    (
        &["RunnerApiApiStatePermission"],
        PERMISSION,
        "/*/api/v1/stacks/*/state",
        "the route of a stack's state",
    ),
    (
        &["RunnerApiApiStateOfPermission"],
        PERMISSION,
        "/*/api/v1/stacks/*/state/*",
        "the route of a stack's states",
    ),
    (
        &["RunnerApiApiStateOfRunPermission"],
        PERMISSION,
        "/*/api/v1/runs/*/state/*",
        "the route of a run's states",
    ),
    (
        &["RunnerApiPageStatePermission"],
        PERMISSION,
        "/*/stacks/*/state/*",
        "the route of the pages of a stack's states",
    ),
    (
        &["RunnerApiPageStateOfRunPermission"],
        PERMISSION,
        "/*/runs/*/state/*",
        "the route of the pages of a run's states",
    ),
];

fn template() -> Value {
    serde_json::from_str(tools::transformed().unwrap()).unwrap()
}

/// What a build does.
pub(crate) fn buildspec() -> String {
    let template = template();
    let project = &template["Resources"]["RunnerProject"]["Properties"];
    project["Source"]["BuildSpec"].as_str().unwrap().to_owned()
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
        json!({"Fn::Sub": "https://${Api}.execute-api.${AWS::Region}.amazonaws.com"});
    let waiting = cycle(needs(&wrong));
    assert!(waiting.contains(&"Api".to_owned()) && waiting.contains(&"Settings".to_owned()));
}

/// The statements of all policies in a resource, wherever they stand in it, by `Sid` or number.
fn statements<'a>(value: &'a Value, found: &mut Vec<(String, &'a Value)>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| statements(item, found)),
        Value::Object(fields) => {
            if let Some(several) = fields.get("Statement") {
                let one = std::slice::from_ref(several);
                let several = several.as_array().map_or(one, Vec::as_slice);
                for (number, statement) in several.iter().enumerate() {
                    let sid = statement["Sid"].as_str().map(str::to_owned);
                    found.push((sid.unwrap_or_else(|| number.to_string()), statement));
                }
            }
            fields.values().for_each(|field| statements(field, found));
        }
        Value::String(text) => {
            assert!(!text.contains("\"Statement\""), "a policy that nobody reads: {text}");
        }
        _ => {}
    }
}

/// All that is allowed: whose policy it is, which statement, and the statement.
fn allowed(template: &Value) -> Vec<(&str, String, &Value)> {
    let mut allowed = Vec::new();
    for (name, resource) in template["Resources"].as_object().unwrap() {
        let mut found = Vec::new();
        statements(&resource["Properties"], &mut found);
        for (sid, statement) in found {
            match statement["Effect"].as_str() {
                Some("Allow") => allowed.push((name.as_str(), sid, statement)),
                // It may deny as much as it likes.
                Some("Deny") => {}
                _ => panic!("{name} {sid} is not understood: {statement}"),
            }
        }
        let kind = resource["Type"].as_str().unwrap();
        if kind.starts_with("AWS::Lambda::") && kind.ends_with("Permission") {
            allowed.push((name.as_str(), PERMISSION.to_owned(), &resource["Properties"]));
        }
    }
    allowed
}

/// Each string in the value, after the names of the fields that lead to it.
fn strings<'a>(value: &'a Value, path: &[&'a str], found: &mut Vec<(Vec<&'a str>, &'a str)>) {
    match value {
        Value::String(text) => found.push((path.to_vec(), text.as_str())),
        Value::Array(items) => items.iter().for_each(|item| strings(item, path, found)),
        Value::Object(fields) => {
            for (name, field) in fields {
                let mut path = path.to_vec();
                path.push(name.as_str());
                strings(field, &path, found);
            }
        }
        _ => {}
    }
}

/// Patterns that need no reason.
fn is_narrow(path: &[&str], text: &str) -> bool {
    let word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase());
    let below_words =
        |text: &str| text.strip_suffix("/*").is_some_and(|words| words.split('/').all(word));
    match path {
        // Partitions of one kind. Only what compares so: `StringNotLike` would be all others.
        ["Condition", "ForAllValues:StringLike", "dynamodb:LeadingKeys"] => below_words(text),
        // Objects of one kind.
        ["Resource", "Fn::Sub"] => text.strip_prefix("${Bucket.Arn}/").is_some_and(below_words),
        // SAM names no stage, and the API has one.
        ["SourceArn", "Fn::Sub", "__Stage__"] => text == "*",
        _ => false,
    }
}

/// What is allowed on more than one thing, one line each.
fn wide(template: &Value) -> BTreeSet<String> {
    let mut wide = BTreeSet::new();
    for (name, sid, statement) in allowed(template) {
        // These are everything else.
        for field in ["NotAction", "NotPrincipal", "NotResource"] {
            if !statement[field].is_null() {
                wide.insert(format!("{name} {sid}: {field}"));
            }
        }
        let mut found = Vec::new();
        strings(statement, &[], &mut found);
        for (path, text) in found {
            // An index has the records of all partitions.
            let several = text.contains(['*', '?']) || text.contains("/index/");
            if several && !is_narrow(&path, text) {
                let text = text.strip_prefix(API).unwrap_or(text);
                wide.insert(format!("{name} {sid}: {text}"));
            }
        }
    }
    wide
}

#[test]
fn roles_name_what_they_may_do_and_to_what() {
    let template = template();
    for (name, resource) in template["Resources"].as_object().unwrap() {
        let managed = resource["Properties"]["ManagedPolicyArns"].to_string();
        // Those of the template are referred to.
        assert!(!managed.contains("arn:"), "{name} has a policy of AWS's: {managed}");
    }
    assert!(allowed(&template).len() >= 70, "policies were not found");
    let mut excused = BTreeSet::new();
    for (names, sid, text, _why) in WIDE {
        excused.extend(names.iter().map(|name| format!("{name} {sid}: {text}")));
    }
    let wide = wide(&template);
    let without: Vec<_> = wide.difference(&excused).collect();
    assert!(without.is_empty(), "allowed without a reason: {without:#?}");
    let unused: Vec<_> = excused.difference(&wide).collect();
    assert!(unused.is_empty(), "reasons for what no policy says: {unused:#?}");
}

#[test]
fn a_policy_that_allows_more_is_noticed() {
    let template = template();
    let noticed = |role: &str, sid: &str, field: &str, value: Value| -> Vec<String> {
        let mut wrong = template.clone();
        let policies = &mut wrong["Resources"][role]["Properties"]["Policies"];
        let several = policies[0]["PolicyDocument"]["Statement"].as_array_mut().unwrap();
        several.iter_mut().find(|statement| statement["Sid"] == sid).unwrap()[field] = value;
        wide(&wrong).difference(&wide(&template)).cloned().collect()
    };
    let keys = |operator: &str, key: &str| json!({operator: {"dynamodb:LeadingKeys": [key]}});
    let like = "ForAllValues:StringLike";
    assert_eq!(noticed("SourceRole", "Read", "Condition", keys(like, "run/*")), [""; 0]);
    for (sid, field, value, text) in [
        ("Read", "Condition", keys(like, "*"), "*"),
        ("Read", "Condition", keys(like, "/*"), "/*"),
        ("Read", "Condition", keys(like, "ru*"), "ru*"),
        ("Read", "Condition", keys("ForAllValues:StringNotLike", "run/*"), "run/*"),
        ("Objects", "Resource", json!([{"Fn::Sub": "${Bucket.Arn}/*"}]), "${Bucket.Arn}/*"),
        ("Objects", "Resource", json!({"Fn::Join": ["/", ["arn:x", "a?"]]}), "a?"),
        ("Objects", "Action", json!("s3:Get*"), "s3:Get*"),
        ("Objects", "NotAction", json!("s3:GetObject"), "NotAction"),
        ("Send", "Principal", json!({"AWS": "*"}), "*"),
    ] {
        assert_eq!(noticed("SourceRole", sid, field, value), [format!("SourceRole {sid}: {text}")]);
    }
}

#[test]
fn the_table_is_allowed_by_partition() {
    let template = template();
    let mut bound = 0;
    for (name, sid, statement) in allowed(&template) {
        let resource = &statement["Resource"];
        let several = resource.as_array().map_or(std::slice::from_ref(resource), Vec::as_slice);
        // Indexes are on the list above.
        let table = several
            .iter()
            .map(Value::to_string)
            .any(|one| one.contains("Table") && !one.contains("/index/"));
        if table {
            let keys = &statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"];
            assert!(!each(keys).is_empty(), "{name} {sid} is allowed on the whole table");
            bound += 1;
        }
    }
    assert!(bound >= 10, "policies were not found");
}

/// The time of functions, of their messages, and how many they get at once.
#[test]
fn queues_fit_the_functions_that_they_feed() {
    let template = template();
    let resources = template["Resources"].as_object().unwrap();
    let mut mappings = 0;
    for (queue, function, visibility, batch) in [
        (QueueName::Events, "Scheduler", 180, 10),
        (QueueName::Starts, "Scheduler", 180, 5),
        (QueueName::Later, "Scheduler", 180, 10),
        (QueueName::Feedback, "Publisher", 360, 2),
        (QueueName::Source, "Source", 960, 1),
    ] {
        let timeout = queue.handling_time().as_secs();
        let queue = format!("{queue:?}");
        let source = format!("{queue}Queue");
        let mapping = resources.values().find(|resource| {
            resource["Type"] == "AWS::Lambda::EventSourceMapping"
                && resource["Properties"]["EventSourceArn"]
                    == json!({"Fn::GetAtt": [source, "Arn"]})
        });
        let mapping = &mapping.unwrap()["Properties"];
        assert_eq!(mapping["FunctionName"], json!({"Ref": function}), "{queue}");
        assert_eq!(mapping["BatchSize"], batch, "{queue}");
        assert_eq!(mapping["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]), "{queue}");
        assert!(mapping["ScalingConfig"]["MaximumConcurrency"].is_u64(), "{queue}");
        assert_eq!(resources[function]["Properties"]["Timeout"], timeout, "{function}");
        let properties = &resources[&source]["Properties"];
        assert_eq!(properties["VisibilityTimeout"], visibility, "{queue}");
        assert_eq!(properties["RedrivePolicy"]["maxReceiveCount"], 50, "{queue}");
        let dead = &resources[&format!("{queue}Dead")]["Properties"];
        for (name, queue) in [(&source, properties), (&format!("{queue}Dead"), dead)] {
            assert_eq!(queue["SqsManagedSseEnabled"], true, "{name}");
        }
        assert_eq!(properties["FifoQueue"], dead["FifoQueue"], "{queue}");
        if properties["FifoQueue"] == true {
            assert_eq!(properties["DeduplicationScope"], "messageGroup", "{queue}");
            assert_eq!(properties["FifoThroughputLimit"], "perMessageGroupId", "{queue}");
        }
        mappings += 1;
    }
    let all = resources.values().filter(|r| r["Type"] == "AWS::Lambda::EventSourceMapping");
    assert_eq!(all.count(), mappings);
    for function in ["Scheduler", "Publisher", "Source"] {
        assert_eq!(resources[function]["Properties"]["RecursiveLoop"], "Allow", "{function}");
    }
}

/// The functions are tested on the table that one machine makes: AWS makes the same.
#[tokio::test]
async fn the_table_is_the_one_that_functions_are_tested_with() {
    let template = template();
    let made = &template["Resources"]["Table"]["Properties"];
    let config = gantry_local_table::LocalTable::in_memory().unwrap().config();
    gantry_local::table::open(&config).await.unwrap();
    let client = aws_sdk_dynamodb::Client::new(&config);
    let tested = client.describe_table().table_name("gantry").send().await.unwrap().table.unwrap();
    let keys = |keys: &[aws_sdk_dynamodb::types::KeySchemaElement]| {
        let key = |key: &aws_sdk_dynamodb::types::KeySchemaElement| json!({"AttributeName": key.attribute_name, "KeyType": key.key_type.as_str()});
        Value::Array(keys.iter().map(key).collect())
    };
    assert_eq!(made["KeySchema"], keys(tested.key_schema()));
    let indexes = tested.global_secondary_indexes();
    let index = |index: &aws_sdk_dynamodb::types::GlobalSecondaryIndexDescription| {
        let projection = index.projection.as_ref().unwrap().projection_type.as_ref().unwrap();
        json!({
            "IndexName": index.index_name,
            "KeySchema": keys(index.key_schema()),
            "Projection": {"ProjectionType": projection.as_str()},
        })
    };
    let indexes = Value::Array(indexes.iter().map(index).collect());
    assert_eq!(made["GlobalSecondaryIndexes"], indexes);
    let of_template = made["AttributeDefinitions"].as_array().unwrap().iter();
    let of_template: BTreeSet<String> = of_template
        .map(|one| format!("{} {}", one["AttributeName"], one["AttributeType"]))
        .collect();
    let of_tested = tested.attribute_definitions().iter();
    let of_tested: BTreeSet<String> = of_tested
        .map(|one| format!("{:?} {:?}", one.attribute_name, one.attribute_type.as_str()))
        .collect();
    assert_eq!(of_template, of_tested);
}

/// What people would miss is neither deleted with the stack nor by time.
#[test]
fn records_and_states_are_protected() {
    let template = template();
    for name in ["Table", "Bucket", "SealingKey"] {
        assert_eq!(template["Resources"][name]["DeletionPolicy"], "Retain", "{name}");
        assert_eq!(template["Resources"][name]["UpdateReplacePolicy"], "Retain", "{name}");
    }
    let table = &template["Resources"]["Table"]["Properties"];
    assert_eq!(table["DeletionProtectionEnabled"], true);
    assert_eq!(table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"], true);
    assert_eq!(table["SSESpecification"]["SSEEnabled"], true);
    assert_eq!(table["TimeToLiveSpecification"], json!({"AttributeName": "ttl", "Enabled": true}));
    let bucket = &template["Resources"]["Bucket"]["Properties"];
    assert_eq!(bucket["VersioningConfiguration"]["Status"], "Enabled");
    let public = bucket["PublicAccessBlockConfiguration"].as_object().unwrap();
    assert!(public.len() == 4 && public.values().all(|is_blocked| is_blocked == true));
    let rules = bucket["LifecycleConfiguration"]["Rules"].as_array().unwrap();
    let expiring: BTreeMap<_, _> = rules
        .iter()
        .filter(|rule| !rule["ExpirationInDays"].is_null())
        .map(|rule| (rule["Prefix"].as_str().unwrap(), rule["ExpirationInDays"].as_u64().unwrap()))
        .collect();
    assert_eq!(expiring, BTreeMap::from([("plans/", 8), ("runs/", 60), ("source/", 8)]));
    for rule in rules.iter().filter(|rule| !rule["NoncurrentVersionExpiration"].is_null()) {
        assert!(expiring.contains_key(rule["Prefix"].as_str().unwrap()), "{rule}");
    }
}

/// The longest name of a stack that `deploy.sh` takes.
const LONGEST_STACK: &str = "a-name-of-35-characters-for-a-stack";

/// The longest text that a value can become on AWS, in a region with a long name.
fn longest(template: &Value, value: &Value) -> String {
    if let Some(text) = value.as_str() {
        return text.to_owned();
    }
    if let Some([_, either, or]) = value["Fn::If"].as_array().map(Vec::as_slice) {
        let all = [longest(template, either), longest(template, or)];
        return all.into_iter().max_by_key(String::len).unwrap();
    }
    if let Some(text) = value["Fn::Sub"].as_str() {
        let mut parts = text.split("${");
        let mut whole = parts.next().unwrap().to_owned();
        for part in parts {
            let (name, after) = part.split_once('}').unwrap();
            whole += &referred(template, name);
            whole += after;
        }
        return whole;
    }
    if let Some([name, attribute]) = value["Fn::GetAtt"].as_array().map(Vec::as_slice) {
        let name = name.as_str().unwrap();
        return referred(template, &format!("{name}.{}", attribute.as_str().unwrap()));
    }
    match value["Ref"].as_str() {
        Some(name) => referred(template, name),
        None => value.to_string(),
    }
}

fn referred(template: &Value, name: &str) -> String {
    match name {
        "AWS::StackName" => return LONGEST_STACK.to_owned(),
        "AWS::Region" => return "ap-southeast-1".to_owned(),
        "AWS::AccountId" => return "123456789012".to_owned(),
        "AWS::Partition" => return "aws".to_owned(),
        "AWS::URLSuffix" => return "amazonaws.com".to_owned(),
        _ => {}
    }
    let parameter = &template["Parameters"][name];
    if let Some(length) = parameter["MaxLength"].as_u64() {
        return "x".repeat(length as usize);
    }
    if parameter["Type"] == "Number" {
        return "9".repeat(10);
    }
    assert!(parameter.is_null(), "{name} has no MaxLength");
    let (resource, attribute) = name.split_once('.').unwrap_or((name, ""));
    let resource = &template["Resources"][resource];
    let properties = &resource["Properties"];
    let named = |field: &str| longest(template, &properties[field]);
    match (resource["Type"].as_str().unwrap(), attribute) {
        ("AWS::SQS::Queue", "") => {
            let name = named("QueueName");
            format!("https://sqs.ap-southeast-1.amazonaws.com/123456789012/{name}")
        }
        ("AWS::DynamoDB::Table", "") => named("TableName"),
        ("AWS::S3::Bucket", "") => named("BucketName"),
        ("AWS::CodeBuild::Project", "") => named("Name"),
        ("AWS::IAM::Role", "Arn") => {
            format!("arn:aws:iam::123456789012:role{}{}", named("Path"), named("RoleName"))
        }
        ("AWS::ApiGatewayV2::Api", "") => "abcdefghij".to_owned(),
        other => panic!("{name}: {other:?}"),
    }
}

/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
#[test]
fn what_functions_are_told_fits_whatever_is_configured() {
    let template = template();
    for (name, resource) in template["Resources"].as_object().unwrap() {
        let Some(all) = resource["Properties"]["Environment"]["Variables"].as_object() else {
            continue;
        };
        let as_text = |(name, value)| (name, Value::from(longest(&template, value)));
        let told: BTreeMap<&String, Value> = all.iter().map(as_text).collect();
        let bytes = serde_json::to_string(&told).unwrap().len();
        assert!(bytes <= 4096, "{name} has {bytes} bytes of environment");
    }
}

#[test]
fn a_stacks_name_is_checked_before_anything_is_made_of_it() {
    let template = template();
    let limits = [
        ("AWS::S3::Bucket", "BucketName", 63),
        ("AWS::IAM::Role", "RoleName", 64),
        ("AWS::Lambda::Function", "FunctionName", 64),
        ("AWS::SQS::Queue", "QueueName", 80),
        ("AWS::Lambda::LayerVersion", "LayerName", 140),
        ("AWS::CodeBuild::Project", "Name", 150),
        ("AWS::DynamoDB::Table", "TableName", 255),
    ];
    for (name, resource) in template["Resources"].as_object().unwrap() {
        for (kind, field, limit) in limits {
            let value = &resource["Properties"][field];
            if resource["Type"] == kind && !value.is_null() {
                let value = longest(&template, value);
                assert!(value.len() <= limit, "{name}: {value} has {} characters", value.len());
            }
        }
    }
    for (stack, fits) in [
        (LONGEST_STACK, true),
        ("gantry", true),
        (&format!("{LONGEST_STACK}s"), false),
        ("Gantry", false),
        ("gan_try", false),
        ("1gantry", false),
    ] {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy.sh");
        let told = std::process::Command::new("/bin/sh")
            .arg(program)
            // No program is found, so that nothing is deployed.
            .env("PATH", "/nowhere")
            .env("STACK", stack)
            .output()
            .unwrap();
        let said = String::from_utf8(told.stderr).unwrap();
        assert_eq!(!said.contains("STACK"), fits, "{stack}: {said}");
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

/// A stranger who makes a function fail once wakes nobody.
#[test]
fn one_failure_of_what_strangers_reach_rings_no_alarm() {
    let template = template();
    let mut looked_at = 0;
    for (name, resource) in template["Resources"].as_object().unwrap() {
        let alarm = &resource["Properties"];
        let is_of_failures = resource["Type"] == "AWS::CloudWatch::Alarm"
            && alarm.to_string().contains(r#""Namespace":"AWS/Lambda","MetricName":"Errors""#);
        if is_of_failures {
            looked_at += 1;
            assert!(alarm["DatapointsToAlarm"].as_u64() >= Some(2), "{name}: {alarm}");
        }
    }
    assert!(looked_at > 0, "the template was not understood");
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
    let of_publisher = ["ApiToken", "PreviousApiToken", "SigningKeys", "SealingKey"];
    assert_eq!(secrets("PublisherRole", read), names(&of_publisher));
    let write = "secretsmanager:PutSecretValue";
    for role in ["WebhookRole", "RunnerApiRole", "SchedulerRole", "SourceRole", "PublisherRole"] {
        assert_eq!(secrets(role, write), names(&[]), "{role}");
    }
    assert_eq!(
        secrets("SettingsRole", write),
        names(&["ApiToken", "PreviousApiToken", "WebhookSecrets", "AdminKey"])
    );
}
