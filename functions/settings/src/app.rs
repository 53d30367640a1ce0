//! What the API works with.

use crate::{gitlab::Connector, people::LastProvider};
use gantry_domain::{ProjectId, module::registry_host};
use gantry_git::Git;
use gantry_objects::Objects;
use gantry_queue::{DeadLetters, Sender};
use gantry_secrets::{Sealer, Secrets, Signer};
use gantry_setup::Clock;
use gantry_store::{Store, scheduler::ProjectVisibility};
use schemars::JsonSchema;
use serde::Serialize;
use std::{collections::HashMap, fmt, ops::Deref, str::FromStr, sync::Arc, time::Duration};
use tokio::sync::{Mutex, Semaphore};
use url::{Host, Url};

/// What the API needs. `main`, the local host and the tests differ only in these values.
#[derive(Clone)]
pub struct Deps {
    /// The records.
    pub store: Store,
    /// Sends commands and nudges.
    pub sender: Sender,
    /// Messages that were given up.
    pub dead_letters: Arc<dyn DeadLetters>,
    /// The API token, the webhook secrets and the first admin key.
    pub secrets: Arc<dyn Secrets>,
    /// Seals secret variables.
    pub sealer: Sealer,
    /// Verifies the keys of run pages.
    pub signer: Signer,
    /// What plans found.
    pub objects: Objects,
    /// The time.
    pub clock: Clock,
    /// Where GitLab and people reach this installation; none when nobody said so.
    pub public_url: Option<PublicUrl>,
    /// Certificates (PEM) of authorities that GitLab's certificate may come from.
    pub ca_pem: Option<String>,
    /// How long a request waits for the outcome of its command; zero answers 202 at once.
    pub command_wait: Duration,
    /// What runs on this installation's own machine are kept from; none where it has none.
    pub confinement: Option<RunsConfinement>,
}

/// What keeps runs from Gantry's own files.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RunsConfinement {
    /// False if runs can read whatever their user can, or are refused because of that.
    pub confined: bool,
    /// What it means, in words.
    pub words: String,
}

/// [`Deps`], shared by all requests.
#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

pub(crate) struct Inner {
    deps: Deps,
    /// What GitLab said of projects whose records are too old.
    pub(crate) visibility: Mutex<HashMap<ProjectId, ProjectVisibility>>,
    pub(crate) gitlab: Connector,
    /// Signs people in.
    pub(crate) provider: LastProvider,
    /// Reads repositories that are not at GitLab.
    pub(crate) git: Git,
    /// Who may read the state of a stack for people: it takes a lot of memory.
    pub(crate) state_readers: Arc<Semaphore>,
}

/// States that are read for people at the same time.
const STATE_READERS: usize = 2;

impl App {
    pub(crate) fn new(deps: Deps) -> Self {
        let clock = deps.clock.clone();
        let gitlab = Connector::new(
            deps.store.clone(),
            Arc::clone(&deps.secrets),
            Arc::new(move || clock.now()),
            deps.ca_pem.clone(),
        );
        let git = Git::trusting(deps.ca_pem.clone());
        let state_readers = Arc::new(Semaphore::new(STATE_READERS));
        Self(Arc::new(Inner {
            deps,
            visibility: Mutex::default(),
            gitlab,
            provider: LastProvider::default(),
            git,
            state_readers,
        }))
    }
}

impl Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Deref for Inner {
    type Target = Deps;

    fn deref(&self) -> &Deps {
        &self.deps
    }
}

/// The address of this installation, as others reach it: no slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    text: String,
    loopback: bool,
}

/// Why a text is no public address. Meant for the person who set it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidPublicUrl(&'static str);

impl PublicUrl {
    /// The longest one: GitLab takes links of 255 characters, and a run's page needs the rest.
    pub const LONGEST: usize = 120;

    /// The text, without a slash at the end.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host in the addresses of modules, where it can be one.
    pub fn registry_host(&self) -> Option<&str> {
        registry_host(&self.text)
    }

    /// What follows for modules where it can be no registry's host; for people.
    pub fn without_registry(&self) -> Option<String> {
        let no = self.registry_host().is_none();
        no.then(|| {
            format!(
                "Terraform and OpenTofu do not accept {} as a module registry: the host name of a \
                 registry needs a dot, and may contain only letters, digits and - besides. Give \
                 Gantry a public URL with such a host, for example https://gantry.example.com",
                self.text
            )
        })
    }

    /// Nobody but this machine reaches it.
    pub fn is_loopback(&self) -> bool {
        self.loopback
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for PublicUrl {
    type Err = InvalidPublicUrl;

    fn from_str(text: &str) -> Result<Self, InvalidPublicUrl> {
        let text = text.trim().trim_end_matches('/');
        let without_scheme = InvalidPublicUrl(
            "it must begin with https:// or http://, such as https://gantry.example.com",
        );
        if !text.contains("://") {
            return Err(without_scheme);
        }
        let url = Url::parse(text).map_err(|_| InvalidPublicUrl("it is not a URL"))?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(without_scheme);
        }
        if !url.username().is_empty() || url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidPublicUrl("it must not contain a user name, a query or a fragment"));
        }
        // GitLab takes {name} in a webhook's address for a variable.
        if text.contains(['{', '}']) {
            return Err(InvalidPublicUrl(
                "it must not contain braces, which have a special meaning in GitLab",
            ));
        }
        if text.chars().count() > Self::LONGEST {
            return Err(InvalidPublicUrl(
                "it must have at most 120 characters, because GitLab limits the length of links",
            ));
        }
        let loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(address)) => address.is_loopback() || address.is_unspecified(),
            Some(Host::Ipv6(address)) => address.is_loopback() || address.is_unspecified(),
            None => return Err(InvalidPublicUrl("it has no host name")),
        };
        Ok(Self { text: text.to_owned(), loopback })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_address_has_one_form() {
        let read = |text: &str| text.parse::<PublicUrl>();
        let plain = read(" https://gantry.example.com/prod/ ").unwrap();
        assert_eq!(plain.as_str(), "https://gantry.example.com/prod");
        assert!(!plain.is_loopback());
        assert!(read("http://127.0.0.1:8080").unwrap().is_loopback());
        assert!(read("http://[::1]:8080").unwrap().is_loopback());
        assert!(read("http://localhost").unwrap().is_loopback());
        for wrong in ["https://", "https://a:b@c", "https://c/?x", "https://c/{x}"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        for bare in ["gantry.example.com", "gantry.example.com:8443", "localhost", "ftp://x"] {
            let said = read(bare).unwrap_err().to_string();
            let expected =
                "it must begin with https:// or http://, such as https://gantry.example.com";
            assert_eq!(said, expected, "{bare}");
        }
        assert!(read(&format!("https://{}.com", "a".repeat(120))).is_err());
    }
}
