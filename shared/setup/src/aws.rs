//! SDK configuration: one HTTP client (rustls with ring) for all of them.

pub use aws_config::SdkConfig;
use aws_config::{BehaviorVersion, Region, timeout::TimeoutConfig};
use aws_credential_types::Credentials;
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use std::time::Duration;

/// The SDK's configuration from the environment, as Lambda sets it. Endpoints can be redirected
/// with the SDK's own `AWS_ENDPOINT_URL_<SERVICE>` variables.
pub async fn from_environment() -> SdkConfig {
    let http = http_client(TlsContext::default());
    aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await
}

/// As [`from_environment`], and a call that has no answer within `limit`, retries included, fails.
pub async fn from_environment_within(limit: Duration) -> SdkConfig {
    let timeouts = TimeoutConfig::builder().operation_timeout(limit).build();
    from_environment().await.into_builder().timeout_config(timeouts).build()
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

fn http_client(trusts: TlsContext) -> aws_sdk_dynamodb::config::SharedHttpClient {
    Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(trusts)
        .build_https()
}
