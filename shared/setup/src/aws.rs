//! SDK configuration: one HTTP client (rustls with ring) for all of them.

pub use aws_config::SdkConfig;
use aws_config::{BehaviorVersion, Region, timeout::TimeoutConfig};
use aws_credential_types::Credentials;
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
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
    for_loopback_with_key(endpoint, "local")
}

/// Configuration for a service on this machine that answers whoever knows its access key id.
pub fn for_loopback_with_key(endpoint: &str, key_id: &str) -> SdkConfig {
    // Reading the machine's certificates takes time, and none will be asked for.
    let nobody = TlsContext::builder().with_trust_store(TrustStore::empty()).build();
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("local"))
        .endpoint_url(endpoint)
        .credentials_provider(aws_credential_types::provider::SharedCredentialsProvider::new(
            Credentials::new(key_id, "local", None, None, "gantry-local"),
        ))
        .http_client(http_client(nobody.unwrap_or_default()))
        .build()
}

fn http_client(trusts: TlsContext) -> aws_sdk_codebuild::config::SharedHttpClient {
    Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(trusts)
        .build_https()
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
