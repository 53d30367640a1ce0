//! What is outside of GitLab: chats and webhooks that admins named. Redirects are not followed, and an
//! answer is read only as far as people are shown of it.

use gantry_domain::{notification::TargetKind, text::clean_line};
use gantry_secrets::{Sealer, SecretName, Secrets, TargetPart, open_for_target, sign_webhook};
use gantry_setup::{crypto, deadline};
use gantry_store::notifications::{Attempt, NotificationTarget};
use jiff::{SignedDuration, Timestamp};
use reqwest::{Certificate, Client, Response, header, redirect::Policy};
use secrecy::{ExposeSecret as _, SecretString};
use std::{error::Error, future::ready, sync::Arc, time::Duration};
use tokio::sync::OnceCell;
use url::{Host, Url};

/// How long a call may take.
const CALL: Duration = Duration::from_secs(10);
/// How much of an answer is read, in bytes, and shown, in characters.
const READ: usize = 2_000;
const SHOWN: usize = 200;
/// Parts of an address that are shorter are no secret, and would hide half of an answer.
const SHORTEST_SECRET: usize = 6;

/// Sends messages to targets. Cheap to clone.
#[derive(Clone)]
pub struct Outside(Arc<Inner>);

struct Inner {
    secrets: Arc<dyn Secrets>,
    ca_pem: Option<String>,
    /// For this machine: no proxy, and no certificates.
    here: OnceCell<Client>,
    elsewhere: OnceCell<Client>,
}

/// A message as it is sent.
pub(crate) struct Outgoing<'a> {
    /// The same each time that it is sent.
    pub(crate) id: &'a str,
    pub(crate) body: String,
}

/// How an attempt ended.
pub(crate) struct Answered {
    pub(crate) attempt: Attempt,
    /// How long the target wants to be left alone.
    pub(crate) retry_after: Option<SignedDuration>,
}

impl Outside {
    /// With the key that opens what is sealed of targets, trusting these authorities (PEM) besides the
    /// machine's own.
    pub fn new(secrets: Arc<dyn Secrets>, ca_pem: Option<String>) -> Self {
        let (here, elsewhere) = (OnceCell::new(), OnceCell::new());
        Self(Arc::new(Inner { secrets, ca_pem, here, elsewhere }))
    }

    /// Sends a message to a target, once.
    ///
    /// # Errors
    /// When the key that seals cannot be read: whatever the target says is no error.
    pub(crate) async fn send(
        &self,
        target: &NotificationTarget,
        message: &Outgoing<'_>,
        now: Timestamp,
    ) -> anyhow::Result<Answered> {
        let sealer = Sealer::new(&self.0.secrets.required(SecretName::SealingKey).await?);
        let (url, secrets) = match opened(&sealer, target, now) {
            Ok(opened) => opened,
            Err(error) => {
                let answer = clean_line(&format!("Not sent: {error:#}"), SHOWN);
                let attempt = Attempt { at: now, status: None, answer };
                return Ok(Answered { attempt, retry_after: None });
            }
        };
        let called = self.call(target.kind, &url, &secrets, message, now).await;
        let (status, said, retry_after) = match called {
            Ok((status, said, retry_after)) => (Some(status), said, retry_after),
            Err(why) => (None, why, None),
        };
        let answer = clean_line(&without_secrets(&said, &url, &secrets), SHOWN);
        Ok(Answered { attempt: Attempt { at: now, status, answer }, retry_after })
    }

    /// The status, the beginning of the answer, and how long to wait; or why there is none.
    async fn call(
        &self,
        kind: TargetKind,
        url: &Url,
        secrets: &[SecretString],
        message: &Outgoing<'_>,
        now: Timestamp,
    ) -> Result<(u16, String, Option<SignedDuration>), String> {
        let client = self.client(url).await.map_err(|error| format!("{error:#}"))?;
        let mut request = client
            .post(url.clone())
            .timeout(deadline::at_most(CALL))
            .header(header::CONTENT_TYPE, "application/json");
        if kind == TargetKind::Webhook {
            request = request
                .header("webhook-id", message.id)
                .header("webhook-timestamp", now.as_second().to_string())
                .header("webhook-signature", sign_webhook(secrets, message.id, now, &message.body));
        }
        let answer = request.body(message.body.clone()).send().await.map_err(words)?;
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get(header::RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let retry_after = retry_after.map(|seconds: u32| SignedDuration::from_secs(seconds.into()));
        Ok((status, beginning(answer).await, retry_after))
    }

    /// Made by the first message that needs it: reading the machine's certificates takes time.
    async fn client(&self, url: &Url) -> anyhow::Result<&Client> {
        let make = |is_here: bool| -> anyhow::Result<Client> {
            crypto::install();
            let mut builder = Client::builder()
                .user_agent(concat!("gantry/", env!("CARGO_PKG_VERSION")))
                .timeout(CALL)
                // A Lambda sleeps between invocations, and its old connections die meanwhile.
                .pool_idle_timeout(Duration::from_secs(20))
                .redirect(Policy::none());
            if is_here {
                builder = builder.no_proxy().tls_certs_only([]);
            } else if let Some(pem) = &self.0.ca_pem {
                builder = builder.tls_certs_merge(Certificate::from_pem_bundle(pem.as_bytes())?);
            }
            Ok(builder.build()?)
        };
        if url.scheme() == "http" && is_loopback(url) {
            self.0.here.get_or_try_init(|| ready(make(true))).await
        } else {
            self.0.elsewhere.get_or_try_init(|| ready(make(false))).await
        }
    }
}

/// What is sealed of a target: where it is, and what its messages are signed with.
fn opened(
    sealer: &Sealer,
    target: &NotificationTarget,
    now: Timestamp,
) -> anyhow::Result<(Url, Vec<SecretString>)> {
    let open = |part, sealed: &str| open_for_target(sealer, &target.name, part, sealed);
    let address = open(TargetPart::Address, &target.address)?;
    let previous = target.previous.as_ref().filter(|previous| now < previous.until);
    let sealed = target.secret.iter().chain(previous.map(|previous| &previous.sealed));
    let secrets = sealed.map(|sealed| open(TargetPart::Secret, sealed));
    Ok((address.expose_secret().parse()?, secrets.collect::<Result<_, _>>()?))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// What an answer begins with, as far as it comes.
async fn beginning(mut answer: Response) -> String {
    let mut read = Vec::new();
    while read.len() < READ {
        match answer.chunk().await {
            Ok(Some(chunk)) => read.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    read.truncate(READ);
    String::from_utf8_lossy(&read).into_owned()
}

/// Why there is no answer. The address is left out: it may be a secret.
fn words(error: reqwest::Error) -> String {
    let error = error.without_url();
    if error.is_timeout() {
        return format!("No answer within {} seconds", CALL.as_secs());
    }
    let mut words = "No answer".to_owned();
    let mut cause: Option<&dyn Error> = Some(&error);
    while let Some(error) = cause {
        words.push_str(&format!(": {error}"));
        cause = error.source();
    }
    words
}

/// A target may repeat what it was sent, or where.
fn without_secrets(said: &str, url: &Url, secrets: &[SecretString]) -> String {
    let parts = url.path_segments().into_iter().flatten().map(str::to_owned);
    let pairs = url.query_pairs().map(|(_, value)| value.into_owned());
    let password = url.password().map(str::to_owned);
    let secrets = secrets.iter().map(|secret| secret.expose_secret().to_owned());
    let all = parts.chain(pairs).chain(password).chain(secrets);
    let mut hidden: Vec<String> =
        all.filter(|part| part.chars().count() >= SHORTEST_SECRET).collect();
    hidden.sort_by_key(|part| std::cmp::Reverse(part.len()));
    hidden.iter().fold(said.to_owned(), |said, part| said.replace(part.as_str(), "***"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_does_not_repeat_what_is_secret() {
        let url: Url =
            "https://hooks.example.com/services/T0001/B0001XYZ?key=s3cret-key".parse().unwrap();
        let secrets = [SecretString::from("whsec_abc")];
        let said = "no B0001XYZ in /services/T0001/B0001XYZ?key=s3cret-key for whsec_abc at T0001";
        let shown = without_secrets(said, &url, &secrets);
        assert_eq!(shown, "no *** in /***/T0001/***?key=*** for *** at T0001");
    }

    #[test]
    fn only_this_machine_is_called_without_a_proxy() {
        let is = |url: &str| is_loopback(&url.parse().unwrap());
        assert!(is("http://127.0.0.1:8080/x") && is("http://[::1]/") && is("http://localhost/"));
        assert!(!is("http://localhost.example.com/") && !is("https://10.0.0.7/"));
    }
}
