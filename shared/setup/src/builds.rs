//! CodeBuild: machines that are started for a while.

use async_trait::async_trait;
use aws_sdk_codebuild::{
    Client,
    error::ProvideErrorMetadata as _,
    types::{EnvironmentVariable, EnvironmentVariableType},
};
use std::error::Error;

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
    #[error("CodeBuild has no capacity: {0}")]
    NoCapacity(String),
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
    /// Starts a build, and says its id. The same start again is the same build.
    async fn start(&self, build: &BuildStart) -> Result<String, NotStarted>;

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
    async fn start(&self, build: &BuildStart) -> Result<String, NotStarted> {
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
        let error = match sent {
            Ok(answer) => {
                return Ok(answer.build_value.and_then(|build| build.id).unwrap_or_default());
            }
            Err(error) => error,
        };
        let Some(refusal) = error.as_service_error() else {
            return Err(NotStarted::Unavailable(causes(&error)));
        };
        let code = refusal.code().unwrap_or_default();
        let words = format!("{code}: {}", refusal.message().unwrap_or_default());
        Err(match code {
            "AccountLimitExceededException"
            | "ThrottlingException"
            | "TooManyRequestsException"
            | "RequestLimitExceeded" => NotStarted::NoCapacity(words),
            "InvalidInputException" | "ResourceNotFoundException" | "AccessDeniedException" => {
                NotStarted::Refused(words)
            }
            "" => NotStarted::Unavailable(causes(&error)),
            _ => NotStarted::Unavailable(words),
        })
    }

    async fn stop(&self, id: &str) -> Result<(), NotStarted> {
        let Err(error) = self.client.stop_build().id(id).send().await else { return Ok(()) };
        match error.as_service_error().and_then(|refusal| refusal.code()) {
            Some("ResourceNotFoundException" | "InvalidInputException") => Ok(()),
            _ => Err(NotStarted::Unavailable(causes(&error))),
        }
    }
}

/// An error with its causes. What AWS adds for its developers is left out: an answer's headers are
/// other ones each time, and people read these words.
fn causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_config::retry::RetryConfig;
    use aws_smithy_http_client::test_util::infallible_client_fn;
    use axum::http::{Request, Response};
    use serde_json::{Value, json};
    use std::{
        net::TcpListener,
        sync::{Arc, Mutex},
    };

    /// Operations and bodies, as they were sent.
    type Requests = Arc<Mutex<Vec<(String, String)>>>;

    /// CodeBuild that always gives the same answer, and the requests it gets.
    fn codebuild(status: u16, answer: impl ToString) -> (CodeBuild, Requests) {
        let answer = answer.to_string();
        let requests = Requests::default();
        let seen = requests.clone();
        let http = infallible_client_fn(move |request: Request<_>| {
            let target = request.headers()["x-amz-target"].to_str().unwrap().to_owned();
            let body = String::from_utf8(request.body().bytes().unwrap().to_vec()).unwrap();
            seen.lock().unwrap().push((target, body));
            Response::builder().status(status).body(answer.clone()).unwrap()
        });
        let sdk = crate::aws::for_loopback("http://codebuild.test")
            .into_builder()
            .http_client(http)
            .retry_config(RetryConfig::disabled())
            .build();
        (CodeBuild::new(&sdk, "gantry-runner".to_owned()), requests)
    }

    /// CodeBuild that nobody answers for.
    fn unreachable() -> CodeBuild {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let sdk = crate::aws::for_loopback(&format!("http://{address}"))
            .into_builder()
            .retry_config(RetryConfig::disabled())
            .build();
        CodeBuild::new(&sdk, "gantry-runner".to_owned())
    }

    fn refusal(code: &str) -> Value {
        json!({ "__type": format!("com.amazonaws.codebuild#{code}"), "message": "Not today." })
    }

    fn build() -> BuildStart {
        BuildStart {
            token: "run-1.plan.1".to_owned(),
            role: Some("arn:aws:iam::123456789012:role/gantry/plan".to_owned()),
            variables: vec![
                ("GANTRY_URL".to_owned(), "https://gantry.test".to_owned()),
                ("GANTRY_JOB".to_owned(), "run-1".to_owned()),
            ],
        }
    }

    #[tokio::test]
    async fn a_start_says_which_project_token_role_and_variables() {
        let (codebuild, requests) = codebuild(200, json!({ "build": { "id": "b-1" } }));
        codebuild.start(&build()).await.unwrap();
        let (target, body) = &requests.lock().unwrap()[0];
        assert_eq!(target, "CodeBuild_20161006.StartBuild");
        assert_eq!(
            serde_json::from_str::<Value>(body).unwrap(),
            json!({
                "projectName": "gantry-runner",
                "idempotencyToken": "run-1.plan.1",
                "serviceRoleOverride": "arn:aws:iam::123456789012:role/gantry/plan",
                "environmentVariablesOverride": [
                    { "name": "GANTRY_URL", "value": "https://gantry.test", "type": "PLAINTEXT" },
                    { "name": "GANTRY_JOB", "value": "run-1", "type": "PLAINTEXT" },
                ],
            })
        );
    }

    #[tokio::test]
    async fn a_build_without_a_role_gets_the_projects() {
        let (codebuild, requests) = codebuild(200, json!({}));
        codebuild.start(&BuildStart { role: None, ..build() }).await.unwrap();
        let body: Value = serde_json::from_str(&requests.lock().unwrap()[0].1).unwrap();
        assert_eq!(body["projectName"], "gantry-runner");
        assert_eq!(body.get("serviceRoleOverride"), None);
    }

    // CodeBuild takes a token a second time only with the parameters of the first.
    #[tokio::test]
    async fn the_same_start_is_sent_in_the_same_bytes() {
        let (codebuild, requests) = codebuild(200, json!({}));
        codebuild.start(&build()).await.unwrap();
        codebuild.start(&build()).await.unwrap();
        let requests = requests.lock().unwrap();
        assert_eq!(requests.len(), 2);
        assert_eq!(requests[0], requests[1]);
    }

    #[tokio::test]
    async fn a_full_account_and_too_many_calls_are_no_room() {
        for code in [
            "AccountLimitExceededException",
            "ThrottlingException",
            "TooManyRequestsException",
            "RequestLimitExceeded",
        ] {
            let (codebuild, _) = codebuild(400, refusal(code));
            let no_room = NotStarted::NoCapacity(format!("{code}: Not today."));
            assert_eq!(codebuild.start(&build()).await, Err(no_room));
        }
    }

    #[tokio::test]
    async fn what_will_never_be_taken_is_refused() {
        for code in ["InvalidInputException", "ResourceNotFoundException", "AccessDeniedException"]
        {
            let (codebuild, _) = codebuild(400, refusal(code));
            let refused = NotStarted::Refused(format!("{code}: Not today."));
            assert_eq!(codebuild.start(&build()).await, Err(refused));
        }
    }

    #[tokio::test]
    async fn a_service_that_fails_is_unavailable() {
        let (failing, _) = codebuild(500, refusal("InternalServerError"));
        let unavailable = NotStarted::Unavailable("InternalServerError: Not today.".to_owned());
        assert_eq!(failing.start(&build()).await, Err(unavailable));
        for failing in [
            codebuild(500, "").0,
            codebuild(500, json!({})).0,
            codebuild(503, "<html>Service Unavailable</html>").0,
            unreachable(),
        ] {
            let started = failing.start(&build()).await;
            assert!(matches!(started, Err(NotStarted::Unavailable(_))), "{started:?}");
            let stopped = failing.stop("gantry-runner:1").await;
            assert!(matches!(stopped, Err(NotStarted::Unavailable(_))), "{stopped:?}");
        }
    }

    #[tokio::test]
    async fn trouble_is_told_in_words_for_people_and_the_same_again_in_the_same_ones() {
        for failing in [codebuild(503, "<html>Service Unavailable</html>").0, unreachable()] {
            let first = failing.start(&build()).await;
            assert_eq!(failing.start(&build()).await, first);
            let Err(NotStarted::Unavailable(words)) = first else { panic!("{first:?}") };
            assert!(words.len() > 5, "{words:?}");
            assert!(!words.contains("DispatchFailure"), "{words}");
        }
    }

    #[tokio::test]
    async fn a_stop_says_which_build() {
        let (codebuild, requests) = codebuild(200, json!({}));
        codebuild.stop("gantry-runner:1").await.unwrap();
        let (target, body) = &requests.lock().unwrap()[0];
        assert_eq!(target, "CodeBuild_20161006.StopBuild");
        assert_eq!(
            serde_json::from_str::<Value>(body).unwrap(),
            json!({ "id": "gantry-runner:1" })
        );
    }

    #[tokio::test]
    async fn a_build_that_is_gone_is_stopped_but_one_that_may_not_be_stopped_is_not() {
        for code in ["ResourceNotFoundException", "InvalidInputException"] {
            let (codebuild, _) = codebuild(400, refusal(code));
            assert_eq!(codebuild.stop("gantry-runner:1").await, Ok(()));
        }
        let (codebuild, _) = codebuild(400, refusal("AccessDeniedException"));
        let stopped = codebuild.stop("gantry-runner:1").await;
        assert!(matches!(stopped, Err(NotStarted::Unavailable(_))), "{stopped:?}");
    }
}
