//! CodeBuild: machines that are started for a while.

use async_trait::async_trait;
use aws_sdk_codebuild::{
    Client,
    error::{DisplayErrorContext, ProvideErrorMetadata as _},
    types::{EnvironmentVariable, EnvironmentVariableType},
};

/// A build to start. The same values start one build, however often they are sent within five
/// minutes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildStart {
    /// Recognises the start: at most 64 characters.
    pub token: String,
    /// The ARN of the role that the build gets; the project's own when none.
    pub role: Option<String>,
    /// Environment variables, in this order. They can be read in the console.
    pub variables: Vec<(String, String)>,
}

/// Why a build was not started. The texts are AWS's own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotStarted {
    /// The account's limit of builds is reached, or calls come too fast: later it may be taken.
    #[error("CodeBuild has no room: {0}")]
    NoRoom(String),
    /// It will never be taken like this.
    #[error("CodeBuild refuses the build: {0}")]
    Refused(String),
    /// CodeBuild could not be asked.
    #[error("CodeBuild cannot be reached: {0}")]
    Unavailable(String),
}

/// Starts and ends builds.
#[async_trait]
pub trait Builds: Send + Sync {
    /// Starts a build.
    async fn start(&self, build: &BuildStart) -> Result<(), NotStarted>;

    /// Ends a build; one that has ended, or never was, is as good as ended.
    async fn stop(&self, id: &str) -> Result<(), NotStarted>;
}

/// Builds of one CodeBuild project.
pub struct CodeBuild {
    client: Client,
    project: String,
}

impl CodeBuild {
    /// Builds of `project`.
    pub fn new(sdk: &aws_config::SdkConfig, project: String) -> Self {
        Self { client: Client::new(sdk), project }
    }
}

#[async_trait]
impl Builds for CodeBuild {
    async fn start(&self, build: &BuildStart) -> Result<(), NotStarted> {
        let mut variables = Vec::with_capacity(build.variables.len());
        for (name, value) in &build.variables {
            let variable = EnvironmentVariable::builder()
                .name(name)
                .value(value)
                .r#type(EnvironmentVariableType::Plaintext)
                .build()
                .map_err(|error| NotStarted::Refused(error.to_string()))?;
            variables.push(variable);
        }
        let sent = self
            .client
            .start_build()
            .project_name(&self.project)
            .idempotency_token(&build.token)
            .set_service_role_override(build.role.clone())
            .set_environment_variables_override(Some(variables))
            .send()
            .await;
        let Err(error) = sent else { return Ok(()) };
        let Some(refusal) = error.as_service_error() else {
            return Err(NotStarted::Unavailable(DisplayErrorContext(&error).to_string()));
        };
        let code = refusal.code().unwrap_or_default();
        let words = format!("{code}: {}", refusal.message().unwrap_or_default());
        Err(match code {
            "AccountLimitExceededException"
            | "ThrottlingException"
            | "TooManyRequestsException"
            | "RequestLimitExceeded" => NotStarted::NoRoom(words),
            "InvalidInputException" | "ResourceNotFoundException" | "AccessDeniedException" => {
                NotStarted::Refused(words)
            }
            _ => NotStarted::Unavailable(words),
        })
    }

    async fn stop(&self, id: &str) -> Result<(), NotStarted> {
        let Err(error) = self.client.stop_build().id(id).send().await else { return Ok(()) };
        match error.as_service_error().and_then(|refusal| refusal.code()) {
            Some("ResourceNotFoundException" | "InvalidInputException") => Ok(()),
            _ => Err(NotStarted::Unavailable(DisplayErrorContext(&error).to_string())),
        }
    }
}
