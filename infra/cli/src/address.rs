//! Addresses: where a Gantry is, and where its API and its pages are below that.

use crate::error::Error;
use std::{fmt, str::FromStr};
use url::{Host, Url};

/// The address of a Gantry, as it is stored and compared: without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Base(String);

impl Base {
    /// Reads what a person typed. Without a scheme it is https, and http on this machine.
    ///
    /// # Errors
    /// When it is no address, or would send the key unencrypted to another machine.
    pub(crate) fn parse(text: &str, insecure_http: bool) -> Result<Self, Error> {
        let text = text.trim();
        let whole = match text.contains("://") {
            true => text.to_owned(),
            false if is_local(Url::parse(&format!("http://{text}")).ok().as_ref()) => {
                format!("http://{text}")
            }
            false => format!("https://{text}"),
        };
        let url = Url::parse(&whole).ok().filter(|url| url.has_host());
        let url = url.ok_or_else(|| {
            Error::Usage(
                "The address is not valid: it should look like https://gantry.example.com.".into(),
            )
        })?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Error::Usage(
                "The address must not contain a user or password: the key is asked for.".into(),
            ));
        }
        match url.scheme() {
            "https" => {}
            "http" if insecure_http || is_local(Some(&url)) => {}
            "http" => {
                return Err(Error::Usage(format!(
                    "{} is not encrypted: anyone on the way could read the key. Use https://, or \
                     --insecure-http if you accept that.",
                    shown(&url)
                )));
            }
            _ => return Err(Error::Usage("The address must begin with https://.".into())),
        }
        Ok(Self(shown(&url)))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Requests to it never leave this machine.
    pub(crate) fn is_local(&self) -> bool {
        is_local(Url::parse(&self.0).ok().as_ref())
    }

    /// An address of the API: the parts of the path behind `/api/v1`, and the parameters.
    pub(crate) fn api(&self, path: &[&str], query: &[(&str, &str)]) -> String {
        let mut address =
            self.below(&["api", "v1"].iter().chain(path).copied().collect::<Vec<_>>());
        if !query.is_empty() {
            let mut encoded = url::form_urlencoded::Serializer::new(String::new());
            address = format!("{address}?{}", encoded.extend_pairs(query).finish());
        }
        address
    }

    /// The address of a page, such as `["runs", "r-1"]`.
    pub(crate) fn below(&self, path: &[&str]) -> String {
        let encode = |part: &&str| {
            url::form_urlencoded::byte_serialize(part.as_bytes())
                .collect::<String>()
                .replace('+', "%20")
        };
        format!("{}/{}", self.0, path.iter().map(encode).collect::<Vec<_>>().join("/"))
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An address without what does not belong to a place: parameters, fragment, the last slash.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.as_str().trim_end_matches('/').to_owned()
}

fn is_local(url: Option<&Url>) -> bool {
    match url.and_then(Url::host) {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// The address of a run's page in its parts: the Gantry, and the run's id.
pub(crate) fn run_page(text: &str) -> Option<(String, String)> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let address = shown(&url);
    let (base, rest) = address.rsplit_once("/runs/")?;
    let id = rest.split('/').next().filter(|id| is_id(id))?;
    Some((base.to_owned(), id.to_owned()))
}

/// Only what a browser may be sent to.
pub(crate) fn is_page(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

/// A run's id.
pub(crate) fn is_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}

/// A stack's slug, as it is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slug(String);

impl Slug {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Slug {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match is_id(text) && !text.starts_with('-') && !text.ends_with('-') {
            true => Ok(Self(text.to_owned())),
            false => Err("not a stack's slug (a-z, 0-9 and -): `gantry stacks` lists them"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_people_type_it_and_never_sends_a_key_unencrypted() {
        let read = |text: &str, insecure| Base::parse(text, insecure).map(|base| base.0);
        let good = |text: &str| read(text, false).unwrap();
        assert_eq!(good("https://gantry.example.com/"), "https://gantry.example.com");
        assert_eq!(good("gantry.example.com"), "https://gantry.example.com");
        assert_eq!(good(" https://x.example/gantry/?a=1#b "), "https://x.example/gantry");
        assert_eq!(good("127.0.0.1:8080"), "http://127.0.0.1:8080");
        assert_eq!(good("localhost:8080"), "http://localhost:8080");
        assert_eq!(good("http://[::1]:8080"), "http://[::1]:8080");
        for bad in
            ["", "https://", "ftp://x.example", "https://me:secret@x.example", "http://x.example"]
        {
            let error = read(bad, false).unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
            assert_eq!(error.exit_code(), 2, "{bad}");
        }
        assert!(read("http://localhost.example", false).is_err());
        assert_eq!(read("http://x.example", true).unwrap(), "http://x.example");
    }

    #[test]
    fn addresses_below_it_keep_its_path_and_let_nothing_out_of_their_place() {
        let base = Base::parse("https://x.example/gantry", false).unwrap();
        assert_eq!(
            base.api(&["stacks"], &[("search", "a b&c")]),
            "https://x.example/gantry/api/v1/stacks?search=a+b%26c"
        );
        assert_eq!(base.below(&["runs", "a/b ?"]), "https://x.example/gantry/runs/a%2Fb%20%3F");
        let page = run_page("https://x.example/gantry/runs/r-1?at=5#l").unwrap();
        assert_eq!(page, ("https://x.example/gantry".to_owned(), "r-1".to_owned()));
        assert!(run_page("https://x.example/stacks/network").is_none());
        assert!(run_page("file:///runs/r-1").is_none() && !is_page("file:///x"));
    }
}
