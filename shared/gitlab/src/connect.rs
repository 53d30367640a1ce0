//! What kept us from getting an answer at all, in words for the settings page.

use crate::{ApiHost, Error};
use std::{error::Error as StdError, io, time::Duration};

/// The seconds that a call may take, and those of them for the connection.
pub(crate) const CALL_SECONDS: u64 = 30;
pub(crate) const CONNECT_SECONDS: u64 = 10;

/// Why there is no answer from a server, for people.
pub fn explain(problem: &reqwest::Error, host: &ApiHost) -> String {
    no_answer(problem, host, Duration::from_secs(CALL_SECONDS)).to_string()
}

/// The error for a request without an answer, or with half of one, that might take `most`.
pub(crate) fn no_answer(problem: &reqwest::Error, host: &ApiHost, most: Duration) -> Error {
    let name = host.authority();
    let message = match find_cause(problem) {
        Some(Cause::Certificate(why)) => certificate(name, &why),
        Some(Cause::Tls(why)) => {
            format!("no secure connection to {name}: {why}. Does it speak TLS on this port?")
        }
        Some(Cause::Name) => format!("the host name of {name} cannot be resolved (DNS)"),
        Some(Cause::Refused) => {
            format!(
                "{name} refused the connection; nothing is listening there, or a firewall blocks it"
            )
        }
        None if problem.is_timeout() && problem.is_connect() => {
            format!("{name} did not accept the connection within {CONNECT_SECONDS} s")
        }
        None if problem.is_timeout() => {
            format!("{name} did not answer within {} s", most.as_secs())
        }
        None if problem.is_connect() => format!("cannot connect to {name}: {}", innermost(problem)),
        None => format!("the connection to {name} was lost: {}", innermost(problem)),
    };
    Error::Unavailable { message, retry_after: None }
}

fn certificate(name: &str, why: &rustls::CertificateError) -> String {
    use rustls::CertificateError as E;
    match why {
        E::UnknownIssuer => format!(
            "the certificate of {name} is not from a known authority. If your server uses its own, \
             add that authority's certificate (PEM)"
        ),
        E::Expired | E::ExpiredContext { .. } => {
            format!("the certificate of {name} has expired")
        }
        E::NotValidYet | E::NotValidYetContext { .. } => {
            format!("the certificate of {name} is not valid yet, or this machine's clock is wrong")
        }
        E::NotValidForName | E::NotValidForNameContext { .. } => {
            format!("the certificate of {name} is for a different host name")
        }
        why => format!("the certificate of {name} cannot be trusted: {why}"),
    }
}

enum Cause {
    Certificate(rustls::CertificateError),
    Tls(rustls::Error),
    Name,
    Refused,
}

fn find_cause(problem: &(dyn StdError + 'static)) -> Option<Cause> {
    let mut next = Some(problem);
    while let Some(problem) = next {
        if let Some(tls) = problem.downcast_ref::<rustls::Error>() {
            return Some(match tls {
                rustls::Error::InvalidCertificate(why) => Cause::Certificate(why.clone()),
                other => Cause::Tls(other.clone()),
            });
        }
        if problem.to_string().starts_with("dns error") {
            return Some(Cause::Name);
        }
        if let Some(io) = problem.downcast_ref::<io::Error>() {
            if io.kind() == io::ErrorKind::ConnectionRefused {
                return Some(Cause::Refused);
            }
            // What an io::Error wraps is not among its sources.
            if let Some(cause) = io.get_ref().and_then(|inner| find_cause(inner)) {
                return Some(cause);
            }
        }
        next = problem.source();
    }
    None
}

fn innermost(problem: &reqwest::Error) -> String {
    let mut innermost: &dyn StdError = problem;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
