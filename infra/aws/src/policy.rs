//! What calls need to be allowed, and whether a role's policies allow it.
//!
//! Only what the template's policies use is understood; anything else is an error, so that nothing
//! is taken as allowed that AWS would refuse.

use crate::wire::{ACCOUNT, REGION};
use anyhow::{Context as _, bail};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use std::fmt;

/// One thing that a call needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// `sqs:SendMessage`.
    pub action: String,
    /// The ARN of what it is done to.
    pub resource: String,
    /// The values of condition keys (`dynamodb:LeadingKeys`).
    pub context: Vec<(String, Vec<String>)>,
}

impl Request {
    /// Without conditions.
    pub fn new(action: &str, resource: impl Into<String>) -> Self {
        Self { action: action.to_owned(), resource: resource.into(), context: Vec::new() }
    }

    fn with(mut self, key: &str, values: Vec<String>) -> Self {
        self.context.push((key.to_owned(), values));
        self
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.action, self.resource)?;
        for (key, values) in &self.context {
            write!(f, ", {key} = {values:?}")?;
        }
        Ok(())
    }
}

/// What a call to DynamoDB needs. Transactions need what their parts need.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html>
///
/// # Errors
/// For operations that no policy of ours knows.
pub fn dynamodb(operation: &str, body: &Value) -> anyhow::Result<Vec<Request>> {
    let table = |name: &Value| -> anyhow::Result<String> {
        let name = name.as_str().context("a call without a table")?;
        Ok(format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}"))
    };
    let on_key = |action: &str, part: &Value, item: &str| -> anyhow::Result<Request> {
        let key = part[item]["pk"]["S"].as_str().context("an item without pk")?;
        let request = Request::new(&format!("dynamodb:{action}"), table(&part["TableName"])?);
        Ok(request.with("dynamodb:LeadingKeys", vec![key.to_owned()]))
    };
    Ok(match operation {
        "GetItem" | "DeleteItem" | "UpdateItem" => vec![on_key(operation, body, "Key")?],
        "PutItem" => vec![on_key(operation, body, "Item")?],
        "Query" => vec![query(body, table(&body["TableName"])?)?],
        "TransactWriteItems" | "TransactGetItems" => {
            let parts = body["TransactItems"].as_array().context("a transaction of nothing")?;
            let mut requests = Vec::with_capacity(parts.len());
            for part in parts {
                let (kind, part) = part
                    .as_object()
                    .and_then(|part| part.iter().next())
                    .context("an empty part")?;
                requests.push(match kind.as_str() {
                    "Put" => on_key("PutItem", part, "Item")?,
                    "Update" => on_key("UpdateItem", part, "Key")?,
                    "Delete" => on_key("DeleteItem", part, "Key")?,
                    "ConditionCheck" => on_key("ConditionCheckItem", part, "Key")?,
                    "Get" => on_key("GetItem", part, "Key")?,
                    other => bail!("a transaction with {other}"),
                });
            }
            requests
        }
        "BatchGetItem" | "BatchWriteItem" => {
            let tables = body["RequestItems"].as_object().context("a batch of nothing")?;
            let mut requests = Vec::new();
            for (name, items) in tables {
                let items = items.get("Keys").unwrap_or(items).as_array().context("no items")?;
                let keys = items.iter().map(|item| {
                    let key = item.get("DeleteRequest").map(|delete| &delete["Key"]);
                    let item =
                        key.or(item.get("PutRequest").map(|put| &put["Item"])).unwrap_or(item);
                    item["pk"]["S"].as_str().map(str::to_owned).context("an item without pk")
                });
                let table = table(&Value::from(name.as_str()))?;
                let request = Request::new(&format!("dynamodb:{operation}"), table);
                requests
                    .push(request.with("dynamodb:LeadingKeys", keys.collect::<Result<_, _>>()?));
            }
            requests
        }
        other => bail!("dynamodb:{other} is in no policy"),
    })
}

fn query(body: &Value, table: String) -> anyhow::Result<Request> {
    if let Some(index) = body["IndexName"].as_str() {
        return Ok(Request::new("dynamodb:Query", format!("{table}/index/{index}")));
    }
    let condition = body["KeyConditionExpression"].as_str().context("a query without a key")?;
    let first = condition.split(" AND ").next().unwrap_or_default();
    let (name, value) = first.split_once('=').context("a query without a partition")?;
    let name = name.trim().trim_start_matches('(');
    let name = body["ExpressionAttributeNames"][name].as_str().unwrap_or(name);
    if name != "pk" {
        bail!("a query that begins with {first}");
    }
    let value = value.trim().trim_end_matches(')');
    let key = body["ExpressionAttributeValues"][value]["S"].as_str().context("no value of pk")?;
    let request = Request::new("dynamodb:Query", table);
    Ok(request.with("dynamodb:LeadingKeys", vec![key.to_owned()]))
}

/// What a call to SQS needs.
///
/// # Errors
/// For calls without a queue.
pub fn sqs(operation: &str, body: &Value) -> anyhow::Result<Vec<Request>> {
    let url = body["QueueUrl"].as_str().context("a call without a queue")?;
    let name = url.rsplit('/').next().unwrap_or_default();
    let action = operation.strip_suffix("Batch").unwrap_or(operation);
    let queue = format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}");
    Ok(vec![Request::new(&format!("sqs:{action}"), queue)])
}

/// What a call to Secrets Manager needs. A secret's ARN ends with six characters of AWS's choice.
///
/// # Errors
/// For calls without a secret.
pub fn secrets_manager(operation: &str, body: &Value) -> anyhow::Result<Vec<Request>> {
    let id = body["SecretId"].as_str().context("a call without a secret")?;
    let secret = format!("arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{id}-AbCdEf");
    Ok(vec![Request::new(&format!("secretsmanager:{operation}"), secret)])
}

/// What a call to CodeBuild needs. Who starts a build as a role must be allowed to pass it on.
///
/// # Errors
/// For operations that no policy of ours knows.
pub fn codebuild(operation: &str, body: &Value) -> anyhow::Result<Vec<Request>> {
    let project = |name: &str| format!("arn:aws:codebuild:{REGION}:{ACCOUNT}:project/{name}");
    let action = format!("codebuild:{operation}");
    match operation {
        "StartBuild" => {
            let name = body["projectName"].as_str().context("no project")?;
            let mut requests = vec![Request::new(&action, project(name))];
            if let Some(role) = body["serviceRoleOverride"].as_str() {
                let service = vec!["codebuild.amazonaws.com".to_owned()];
                requests
                    .push(Request::new("iam:PassRole", role).with("iam:PassedToService", service));
            }
            Ok(requests)
        }
        "StopBuild" => {
            let id = body["id"].as_str().context("no build")?;
            Ok(vec![Request::new(&action, project(id.split(':').next().unwrap_or_default()))])
        }
        other => bail!("codebuild:{other} is in no policy"),
    }
}

/// What a call to S3 needs; addresses are path-style.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html>
///
/// # Errors
/// For methods that nobody uses.
pub fn s3(method: &str, path: &str, query: &str, body: &[u8]) -> anyhow::Result<Vec<Request>> {
    let path = percent_decode_str(path.trim_start_matches('/')).decode_utf8_lossy();
    let arn = format!("arn:aws:s3:::{}", path.trim_end_matches('/'));
    let has =
        |name: &str| url::form_urlencoded::parse(query.as_bytes()).any(|(found, _)| found == name);
    if method == "POST" && has("delete") {
        let listed = std::str::from_utf8(body)?.split("<Key>").skip(1);
        let keys = listed.map(|rest| rest.split('<').next().unwrap_or_default());
        return Ok(keys
            .map(|key| Request::new("s3:DeleteObject", format!("{arn}/{key}")))
            .collect());
    }
    let action = match method {
        "GET" if has("list-type") => "s3:ListBucket",
        "GET" | "HEAD" => "s3:GetObject",
        "PUT" => "s3:PutObject",
        "POST" if has("uploads") || has("uploadId") => "s3:PutObject",
        "DELETE" if has("uploadId") => "s3:AbortMultipartUpload",
        "DELETE" => "s3:DeleteObject",
        other => bail!("S3 is called with {other} {query}"),
    };
    Ok(vec![Request::new(action, arn)])
}

/// The statements of a role's policies.
///
/// # Errors
/// When a document has none.
pub fn statements(policies: &[Value]) -> anyhow::Result<Vec<&Value>> {
    let mut statements = Vec::new();
    for policy in policies {
        statements.extend(policy["Statement"].as_array().context("a policy without statements")?);
    }
    Ok(statements)
}

/// The statement's name (`Sid`) that allows the request, if one does.
///
/// # Errors
/// When a statement has something that is not understood.
pub fn allowed_by<'a>(policies: &'a [Value], request: &Request) -> anyhow::Result<Option<&'a str>> {
    for statement in statements(policies)? {
        if statement["Effect"] != "Allow" {
            bail!("a statement that does not allow: {statement}");
        }
        let fits = |field: &str, value: &str| {
            each(&statement[field]).into_iter().any(|pattern| like(pattern, value))
        };
        if fits("Action", &request.action)
            && fits("Resource", &request.resource)
            && holds(&statement["Condition"], request)?
        {
            return Ok(Some(statement["Sid"].as_str().unwrap_or("a statement without a name")));
        }
    }
    Ok(None)
}

fn holds(condition: &Value, request: &Request) -> anyhow::Result<bool> {
    let Some(condition) = condition.as_object() else { return Ok(true) };
    for (operator, keys) in condition {
        for (key, wanted) in keys.as_object().context("a condition without keys")? {
            let context = request.context.iter().find(|(name, _)| name == key);
            let values = context.map(|(_, values)| values.as_slice()).unwrap_or_default();
            let one_fits = |value: &String| each(wanted).into_iter().any(|p| like(p, value));
            let holds = match operator.as_str() {
                // AWS lets calls pass that have no such key; here they shall not need that.
                "ForAllValues:StringLike" | "StringEquals" => {
                    !values.is_empty() && values.iter().all(one_fits)
                }
                other => bail!("the condition {other} is not understood"),
            };
            if !holds {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// A string, or each of several.
pub fn each(value: &Value) -> Vec<&str> {
    match value {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// True when the value fits IAM's pattern: `*` is anything, `?` one character.
fn like(pattern: &str, value: &str) -> bool {
    let (pattern, value) = (pattern.as_bytes(), value.as_bytes());
    let (mut p, mut v, mut star) = (0, 0, None);
    while v < value.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, v));
                p += 1;
            }
            Some(&c) if c == b'?' || c == value[v] => (p, v) = (p + 1, v + 1),
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, v) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn policy() -> Vec<Value> {
        vec![json!({"Statement": [
            {
                "Sid": "Write", "Effect": "Allow", "Action": ["dynamodb:PutItem"],
                "Resource": "arn:aws:dynamodb:eu-west-1:123456789012:table/gantry",
                "Condition": {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["run/*"]}},
            },
            {
                "Sid": "Token", "Effect": "Allow", "Action": "secretsmanager:GetSecretValue",
                "Resource": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:gantry/token-??????",
            },
        ]})]
    }

    fn put(key: &str) -> Request {
        let body = json!({"TableName": "gantry", "Item": {"pk": {"S": key}}});
        dynamodb("PutItem", &body).unwrap().remove(0)
    }

    #[test]
    fn a_partition_of_somebody_else_is_not_allowed() {
        assert_eq!(allowed_by(&policy(), &put("run/1")).unwrap(), Some("Write"));
        assert_eq!(allowed_by(&policy(), &put("state/1")).unwrap(), None);
        let parts = json!({"TransactItems": [
            {"Put": {"TableName": "gantry", "Item": {"pk": {"S": "run/1"}}}},
            {"Delete": {"TableName": "gantry", "Key": {"pk": {"S": "run/1"}}}},
        ]});
        let parts = dynamodb("TransactWriteItems", &parts).unwrap();
        let allowed = |r| allowed_by(&policy(), r).unwrap().is_some();
        assert_eq!(parts.iter().map(allowed).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn secrets_are_named_whole() {
        let read = |id: &str| {
            secrets_manager("GetSecretValue", &json!({"SecretId": id})).unwrap().remove(0)
        };
        assert!(allowed_by(&policy(), &read("gantry/token")).unwrap().is_some());
        assert!(allowed_by(&policy(), &read("gantry/token-previous")).unwrap().is_none());
    }

    #[test]
    fn a_query_needs_its_partition_and_an_index_itself() {
        let body = json!({
            "TableName": "gantry", "KeyConditionExpression": "#p = :p AND begins_with(sk, :s)",
            "ExpressionAttributeNames": {"#p": "pk"},
            "ExpressionAttributeValues": {":p": {"S": "run/1"}, ":s": {"S": "x"}},
        });
        let request = dynamodb("Query", &body).unwrap().remove(0);
        assert_eq!(request.context[0].1, ["run/1"]);
        let body = json!({"TableName": "gantry", "IndexName": "attention"});
        let request = dynamodb("Query", &body).unwrap().remove(0);
        assert!(request.resource.ends_with("table/gantry/index/attention"));
    }

    #[test]
    fn what_s3_is_asked_is_an_action() {
        let asked =
            |method, query| s3(method, "/bucket/state/a%2Fb", query, b"").unwrap().remove(0);
        assert_eq!(asked("GET", "").to_string(), "s3:GetObject on arn:aws:s3:::bucket/state/a/b");
        assert_eq!(asked("POST", "uploads").action, "s3:PutObject");
        assert_eq!(asked("DELETE", "uploadId=1").action, "s3:AbortMultipartUpload");
        assert_eq!(s3("GET", "/bucket", "list-type=2", b"").unwrap()[0].action, "s3:ListBucket");
        let body = b"<Delete><Object><Key>a/b</Key></Object><Object><Key>c</Key></Object></Delete>";
        let deleted = s3("POST", "/bucket", "delete", body).unwrap();
        let deleted: Vec<_> = deleted.iter().map(|request| request.resource.as_str()).collect();
        assert_eq!(deleted, ["arn:aws:s3:::bucket/a/b", "arn:aws:s3:::bucket/c"]);
    }

    #[test]
    fn patterns_are_iams() {
        for (pattern, value, fits) in [
            ("run/*", "run/1", true),
            ("run/*", "running", false),
            ("*", "", true),
            ("a-??????", "a-AbCdEf", true),
            ("a-??????", "a-previous-AbCdEf", false),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcd", false),
        ] {
            assert_eq!(like(pattern, value), fits, "{pattern} {value}");
        }
    }
}
