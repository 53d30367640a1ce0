//! What CloudFormation made of the template, as `deploy.py` tells it.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The deployed stack.
#[derive(Debug, Clone, Deserialize)]
pub struct Deployed {
    /// The table's name.
    pub table: String,
    /// The bucket's name.
    pub bucket: String,
    /// The functions by their names in the template.
    pub functions: BTreeMap<String, Function>,
    /// The HTTP API's routes.
    pub routes: Vec<Route>,
    /// What feeds functions from queues.
    pub mappings: Vec<Mapping>,
    /// The runners' CodeBuild project.
    pub project: Project,
    /// The ARN of the role for tracked runs.
    pub apply_role: String,
}

/// A function.
#[derive(Debug, Clone, Deserialize)]
pub struct Function {
    /// Its variables.
    pub environment: BTreeMap<String, String>,
    /// Seconds until Lambda ends it.
    pub timeout: u64,
    /// What it may do.
    pub role: Role,
}

/// A role.
#[derive(Debug, Clone, Deserialize)]
pub struct Role {
    /// Its ARN.
    pub arn: String,
    /// Its policy documents.
    pub policies: Vec<Value>,
}

/// A route of the HTTP API.
#[derive(Debug, Clone, Deserialize)]
pub struct Route {
    /// `post`, or `x-amazon-apigateway-any-method`.
    pub method: String,
    /// `/runner/{proxy+}`, or `$default`.
    pub path: String,
    /// The function's name in the template.
    pub function: String,
}

/// An event source mapping.
#[derive(Debug, Clone, Deserialize)]
pub struct Mapping {
    /// The queue's URL.
    pub queue: String,
    /// The function's name in the template.
    pub function: String,
    /// The most messages of a batch.
    pub batch: i32,
    /// The function's answer says which messages failed (`ReportBatchItemFailures`).
    pub reports_failures: bool,
}

/// A CodeBuild project.
#[derive(Debug, Clone, Deserialize)]
pub struct Project {
    /// Its name.
    pub name: String,
    /// The environment variables of every build.
    pub variables: BTreeMap<String, String>,
    /// The build spec (YAML).
    pub buildspec: String,
    /// The ARN of the role of builds that name none.
    pub role: String,
}
