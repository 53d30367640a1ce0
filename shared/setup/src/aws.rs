//! SDK configuration: one HTTP client (rustls with ring) for all of them.

use crate::deadline;
pub use aws_config::SdkConfig;
use aws_config::{BehaviorVersion, Region, timeout::TimeoutConfig};
use aws_credential_types::Credentials;
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
        SharedHttpConnector, http_client_fn,
    },
    orchestrator::HttpRequest,
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use std::time::Duration;

/// What a call may take, retries included: half of what the functions live that answer people, so
/// that they can still say what did not answer.
const CALL: Duration = Duration::from_secs(15);
/// What one try of it may take. AWS answers within milliseconds: what takes longer never comes, and
/// the next try has another connection.
const ONE_TRY: Duration = Duration::from_secs(5);

/// The SDK's configuration from the environment, as Lambda sets it. Endpoints can be redirected
/// with the SDK's own `AWS_ENDPOINT_URL_<SERVICE>` variables.
pub async fn from_environment() -> SdkConfig {
    from_environment_within(CALL).await
}

/// The same for who has less time: a call that has no answer within `limit`, retries included,
/// fails.
pub async fn from_environment_within(limit: Duration) -> SdkConfig {
    let http = http_client(TlsContext::default());
    let found = aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await;
    within(found, limit)
}

fn within(config: SdkConfig, limit: Duration) -> SdkConfig {
    let timeouts =
        TimeoutConfig::builder().operation_timeout(limit).operation_attempt_timeout(ONE_TRY);
    config.into_builder().timeout_config(timeouts.build()).build()
}

/// Configuration for a service on this machine that checks no credentials.
pub fn for_loopback(endpoint: &str) -> SdkConfig {
    // Reading the machine's certificates takes time, and none will be asked for.
    let nobody = TlsContext::builder().with_trust_store(TrustStore::empty()).build();
    without_credentials(endpoint, http_client(nobody.unwrap_or_default()))
}

/// Configuration for a service within this process.
pub fn in_process(service: impl HttpConnector + 'static) -> SdkConfig {
    let service = SharedHttpConnector::new(service);
    without_credentials("http://in-process", http_client_fn(move |_, _| service.clone()))
}

fn without_credentials(endpoint: &str, http: SharedHttpClient) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("local"))
        .endpoint_url(endpoint)
        .credentials_provider(aws_credential_types::provider::SharedCredentialsProvider::new(
            Credentials::new("local", "local", None, None, "gantry-local"),
        ))
        .http_client(http)
        .build()
}

fn http_client(trusts: TlsContext) -> SharedHttpClient {
    let https = Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(trusts)
        .build_https();
    SharedHttpClient::new(InTime(https))
}

/// Lets each try of a call wait for its answer no longer than the work has left which makes it
/// ([`deadline`]), and has none made after that. An answer that stalls after it has begun ends with
/// [`ONE_TRY`].
#[derive(Debug)]
struct InTime<T>(T);

impl HttpClient for InTime<SharedHttpClient> {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(InTime(self.0.http_connector(settings, components)))
    }
}

impl HttpConnector for InTime<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let left = deadline::at_most(CALL);
        let call = self.0.call(request);
        HttpConnectorFuture::new(async move {
            tokio::time::timeout(left, call).await.unwrap_or_else(|_| {
                let words =
                    format!("no answer within {} ms, and no time for more", left.as_millis());
                // Of no kind that is tried again.
                Err(ConnectorError::other(words.into(), None))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{net::TcpListener, time::Instant};

    /// Accepts every connection, and counts them, and never answers.
    async fn hangs() -> (String, tokio::sync::watch::Receiver<usize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (count, counted) = tokio::sync::watch::channel(0);
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((connection, _)) = listener.accept().await {
                held.push(connection);
                count.send_replace(held.len());
            }
        });
        (address, counted)
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_ends_before_the_work_that_makes_it() {
        let (address, tries) = hangs().await;
        let builds = aws_sdk_codebuild::Client::new(&within(for_loopback(&address), CALL));
        for (left, most) in [(4, 1), (6, 3), (12, 9)] {
            let begun = Instant::now();
            let end = begun + Duration::from_secs(left);
            let answer = deadline::until(end, builds.list_projects().send()).await;
            let words = aws_sdk_codebuild::error::DisplayErrorContext(answer.unwrap_err());
            assert!(words.to_string().contains("no time for more"), "{words}");
            let took = begun.elapsed();
            assert!(took <= Duration::from_millis(most * 1000 + 10), "{took:?} of {left} s");
        }
        assert!(*tries.borrow() > 3, "where there is time, it is tried again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_nobody_answers_is_tried_again_and_ends() {
        for limit in [CALL, Duration::from_secs(9)] {
            let (address, tries) = hangs().await;
            let config = within(for_loopback(&address), limit);
            let builds = aws_sdk_codebuild::Client::new(&config);
            let begun = Instant::now();
            let asked = builds.list_projects().send();
            let answer = tokio::time::timeout(Duration::from_secs(600), asked).await;
            let took = begun.elapsed();
            assert!(answer.expect("it ends").is_err());
            assert!(took <= limit + Duration::from_millis(10), "{took:?}");
            assert!(*tries.borrow() > 1, "another connection may have an answer");
        }
    }
}
