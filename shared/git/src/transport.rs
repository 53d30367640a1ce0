//! The HTTP client that Git's protocol is spoken over.

use crate::{FETCH, Git, GitError};
use gantry_domain::GitUrl;
use gix::protocol::transport::{
    Protocol,
    client::TransportWithoutIO as _,
    client::blocking_io::http::{self, Options as HttpOptions, reqwest::Options, reqwest::Remote},
};
use std::sync::{Arc, Mutex};

/// A connection to a repository. Redirects are followed as `git` does: never to plain HTTP, and
/// only to another host's same path.
pub(crate) fn new(git: &Git, url: &GitUrl) -> Result<http::Transport<Remote>, GitError> {
    let address =
        gix::url::parse(url.as_str()).map_err(|error| GitError::Unusable(error.to_string()))?;
    let mut transport = http::connect(address, Protocol::V2, false);
    let trusted =
        reqwest::Certificate::from_pem_bundle(git.ca_pem.as_deref().unwrap_or_default().as_bytes())
            .map_err(|error| GitError::Unusable(format!("the certificates to trust: {error}")))?;
    let options = Options {
        configure_client: Some(Box::new(move |builder| {
            let builder = builder.timeout(FETCH);
            Ok(trusted
                .iter()
                .cloned()
                .fold(builder, |b, certificate| b.add_root_certificate(certificate)))
        })),
        configure_request: None,
    };
    let options =
        HttpOptions { backend: Some(Arc::new(Mutex::new(options))), ..HttpOptions::default() };
    transport.configure(&options)?;
    Ok(transport)
}
