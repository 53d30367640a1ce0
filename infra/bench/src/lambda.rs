//! Stand-ins on loopback: Lambda's Runtime API for one function, and an AWS that takes everything.

use anyhow::Context as _;
use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use serde_json::{Value, json};
use std::{
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc},
};

const PATIENCE: Duration = Duration::from_secs(30);

/// Listens on a free port of this machine, and answers its address without a scheme.
pub(crate) async fn serve(router: Router) -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async { axum::serve(listener, router).await });
    Ok(address)
}

/// Queues that take everything, and the webhook's secret.
pub(crate) fn aws() -> Router {
    Router::new().fallback(any(|headers: HeaderMap, body: String| async move {
        let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok());
        Json(match target.and_then(|target| target.split('.').nth(1)) {
            Some("SendMessageBatch") => {
                let request: Value = serde_json::from_str(&body).unwrap_or_default();
                let entries = request["Entries"].as_array().cloned().unwrap_or_default();
                let taken: Vec<Value> = entries
                    .iter()
                    .map(|entry| json!({"Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": ""}))
                    .collect();
                json!({ "Successful": taken, "Failed": [] })
            }
            Some("GetSecretValue") => {
                json!({ "Name": "s", "SecretString": r#"{"token":"sample-secret"}"# })
            }
            _ => json!({ "MessageId": "m", "MD5OfMessageBody": "" }),
        })
    }))
}

/// A function's process, and its Runtime API.
pub(crate) struct Function {
    child: Child,
    asked: mpsc::UnboundedReceiver<()>,
    events: mpsc::UnboundedSender<Value>,
    answers: mpsc::UnboundedReceiver<Value>,
}

impl Drop for Function {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

struct Api {
    asked: mpsc::UnboundedSender<()>,
    events: Mutex<mpsc::UnboundedReceiver<Value>>,
    answers: mpsc::UnboundedSender<Value>,
    number: AtomicU64,
}

impl Function {
    /// Starts the program with a Runtime API of its own, this AWS, and every setting that one of the
    /// functions needs.
    pub(crate) async fn start(program: &Path, aws: &str) -> anyhow::Result<Self> {
        let (asked_sender, asked) = mpsc::unbounded_channel();
        let (events, events_receiver) = mpsc::unbounded_channel();
        let (answers_sender, answers) = mpsc::unbounded_channel();
        let api = Api {
            asked: asked_sender,
            events: Mutex::new(events_receiver),
            answers: answers_sender,
            number: AtomicU64::new(0),
        };
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/{outcome}", post(answer))
            .with_state(Arc::new(api));
        let address = serve(router).await?;
        let queues = ["events.fifo", "source.fifo", "feedback.fifo", "starts", "later"];
        let queues = queues.map(|queue| {
            let name = queue.trim_end_matches(".fifo").to_uppercase();
            let url = format!("http://{aws}/123456789012/gantry-{queue}");
            (format!("GANTRY_QUEUE_{name}_URL"), url)
        });
        let role = "arn:aws:iam::123456789012:role/gantry/plan/r";
        let child = Command::new(program)
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", address)
            .env("AWS_LAMBDA_FUNCTION_NAME", "bench")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "bench")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "bench")
            .env("AWS_ENDPOINT_URL", format!("http://{aws}"))
            .env("AWS_REGION", "eu-west-1")
            .env("AWS_ACCESS_KEY_ID", "bench")
            .env("AWS_SECRET_ACCESS_KEY", "bench")
            .envs(queues)
            .env("GANTRY_INSTALLATION", "gantry")
            .env("GANTRY_SECRETS_PREFIX", "gantry/")
            .env("GANTRY_TABLE", "gantry")
            .env("GANTRY_BUCKET", "gantry")
            .env("GANTRY_PUBLIC_URL", "https://gantry.example.com")
            .env("GANTRY_CODEBUILD_PROJECT", "gantry-runner")
            .env("GANTRY_PLAN_ROLE", role)
            .env("GANTRY_APPLY_ROLE", role)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // Logs are written, as on Lambda, and go nowhere.
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{} cannot be started", program.display()))?;
        Ok(Self { child, asked, events, answers })
    }

    /// Waits until the function asks for an event, gives it this one, and answers how long it took.
    pub(crate) async fn invoke(&mut self, event: &Value) -> anyhow::Result<Duration> {
        let asked = tokio::time::timeout(PATIENCE, self.asked.recv()).await;
        asked.context("the function asks for no event")?;
        let started = Instant::now();
        self.events.send(event.clone())?;
        let answer = tokio::time::timeout(PATIENCE, self.answers.recv()).await;
        let took = started.elapsed();
        let answer = answer.context("the function does not answer")?.unwrap_or_default();
        let status = answer["statusCode"].as_u64();
        let well =
            status.is_some_and(|status| status < 500) || answer["batchItemFailures"].is_array();
        anyhow::ensure!(well, "the function answered {answer}");
        Ok(took)
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

async fn next(State(api): State<Arc<Api>>) -> Response {
    // Fails when the measuring is over.
    let _over = api.asked.send(());
    let Some(event) = api.events.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    let number = api.number.fetch_add(1, Ordering::Relaxed);
    let headers = [
        ("lambda-runtime-aws-request-id", format!("request-{number}")),
        ("lambda-runtime-deadline-ms", "9999999999999".to_owned()),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:l:1:function:bench".to_owned()),
    ];
    (headers, Json(event)).into_response()
}

async fn answer(State(api): State<Arc<Api>>, request: Request) -> Response {
    let body = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap_or_default();
    let _over = api.answers.send(serde_json::from_slice(&body).unwrap_or_default());
    StatusCode::ACCEPTED.into_response()
}
