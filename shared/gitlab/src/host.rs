//! The base address of a GitLab server, parsed once.

use std::{fmt, net::IpAddr, str::FromStr};
use url::{Host, Url};

/// The base address of a GitLab server: `https://host[:port][/sub/path]`, without a trailing slash.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ApiHost {
    text: String,
    url: Url,
}

/// Why a text is not the base address of a GitLab server. Meant for the person who typed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidHost(String);

impl ApiHost {
    /// Reads what a person typed. `/api/v4` and slashes at the end are dropped.
    /// Plain `http` is taken for this machine only: see [`ApiHost::parse_allowing_http`].
    pub fn parse(text: &str) -> Result<Self, InvalidHost> {
        let host = Self::parse_allowing_http(text)?;
        if host.url.scheme() == "http" && !host.is_loopback() {
            return Err(InvalidHost(
                "http:// would send the token unencrypted. Use https://".to_owned(),
            ));
        }
        Ok(host)
    }

    /// The same, but plain `http` is taken for any host: the token travels unencrypted.
    pub fn parse_allowing_http(text: &str) -> Result<Self, InvalidHost> {
        let text = text.trim();
        let refuse = |why: String| Err(InvalidHost(why));
        if text.is_empty() {
            return refuse(
                "Enter an address, such as https://gitlab.com or your own server's".into(),
            );
        }
        if !text.contains("://") {
            // It is not repeated: it may be the token, in the wrong field.
            return refuse(
                "The address must start with https://, such as https://gitlab.com".into(),
            );
        }
        let mut url = Url::parse(text)
            .map_err(|problem| InvalidHost(format!("Not a valid address: {problem}")))?;
        if !matches!(url.scheme(), "https" | "http") {
            return refuse("The address must start with https://".into());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse(
                "Leave the user name and password out of the address; the token has its own field"
                    .into(),
            );
        }
        if url.query().is_some() || url.fragment().is_some() {
            return refuse("Leave out everything from ? or # on".into());
        }
        let mut path: Vec<&str> = url.path().split('/').filter(|part| !part.is_empty()).collect();
        if path.contains(&"-") {
            return refuse("This is a page in GitLab. Enter only the server's base address".into());
        }
        match path[..] {
            [.., "api", "v4"] => path.truncate(path.len() - 2),
            [.., "api"] => path.truncate(path.len() - 1),
            _ => {}
        }
        let path = path.join("/");
        url.set_path(&path);
        let text = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { text, url })
    }

    /// The canonical text, without a trailing slash.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// True when the host is this machine.
    pub fn is_loopback(&self) -> bool {
        match self.url.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
            Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
            None => false,
        }
    }

    /// Host and, when it is not the usual one, port: what messages call the server.
    pub fn authority(&self) -> &str {
        self.url.authority()
    }

    /// The address of an API call. Each segment is encoded whole, `/` included; none when a
    /// segment could not stand as one (`.`, `..`, or empty), because the call would be another.
    pub(crate) fn endpoint(&self, segments: &[String]) -> Option<Url> {
        if segments.iter().any(|part| matches!(part.as_str(), "" | "." | "..")) {
            return None;
        }
        let mut url = self.url.clone();
        url.path_segments_mut().ok()?.pop_if_empty().extend(["api", "v4"]).extend(segments);
        Some(url)
    }

    /// The path of the project that a page of the server is about: of
    /// `https://host/group/app/-/tree/main` it is `group/app`. Pages may have another host than the
    /// API.
    pub fn project_path_of(&self, page: &str) -> Option<String> {
        let page = Url::parse(page).ok()?;
        let path = page.path().strip_prefix(self.url.path().trim_end_matches('/'))?;
        let (project, _) = path.split_once("/-/")?;
        Some(project.trim_start_matches('/').to_owned()).filter(|path| !path.is_empty())
    }

    /// True when the address is on this server.
    pub fn has_same_origin(&self, other: &Url) -> bool {
        self.url.origin() == other.origin()
    }
}

impl FromStr for ApiHost {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        Self::parse(text)
    }
}

impl fmt::Display for ApiHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ApiHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiHost({})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_brought_to_one_form() {
        for (typed, kept) in [
            ("https://gitlab.com", "https://gitlab.com"),
            (" https://GitLab.com/ ", "https://gitlab.com"),
            ("https://gitlab.com:443//", "https://gitlab.com"),
            ("https://host:8443/gitlab/", "https://host:8443/gitlab"),
            ("https://host/a/b/api/v4/", "https://host/a/b"),
            ("https://host/api/v4", "https://host"),
            ("https://host/api", "https://host"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://127.0.0.2/x", "http://127.0.0.2/x"),
            ("http://[::1]:8080/", "http://[::1]:8080"),
        ] {
            assert_eq!(ApiHost::parse(typed).unwrap().as_str(), kept, "{typed}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_address_is_said() {
        let said: Vec<String> = [
            "",
            "gitlab.com",
            "localhost:3000",
            "ssh://git@gitlab.com",
            "http://gitlab.example.com",
            "https://me:secret@gitlab.com",
            "https://gitlab.com/?x=1",
            "https://gitlab.com/group/project/-/tree/main",
            "https://",
            "git@gitlab.com",
        ]
        .into_iter()
        .map(|typed| ApiHost::parse(typed).unwrap_err().to_string())
        .collect();
        insta::assert_snapshot!(said.join("\n"), @r"
        Enter an address, such as https://gitlab.com or your own server's
        The address must start with https://, such as https://gitlab.com
        The address must start with https://, such as https://gitlab.com
        The address must start with https://
        http:// would send the token unencrypted. Use https://
        Leave the user name and password out of the address; the token has its own field
        Leave out everything from ? or # on
        This is a page in GitLab. Enter only the server's base address
        Not a valid address: empty host
        The address must start with https://, such as https://gitlab.com
        ");
        assert!(ApiHost::parse_allowing_http("http://gitlab.example.com").is_ok());
    }

    #[test]
    fn segments_are_encoded_whole() {
        let host = ApiHost::parse("https://host/gitlab").unwrap();
        let at = |parts: &[&str]| {
            let parts: Vec<String> = parts.iter().map(|&part| part.to_owned()).collect();
            host.endpoint(&parts).map(|url| url.to_string())
        };
        assert_eq!(
            at(&["projects", "group/sub/app", "branches", "a b#c?d%2Fe"]).unwrap(),
            "https://host/gitlab/api/v4/projects/group%2Fsub%2Fapp/branches/a%20b%23c%3Fd%252Fe"
        );
        assert_eq!(at(&["projects", ".."]), None);
        assert_eq!(at(&["branches", ""]), None);
    }

    proptest! {
        #[test]
        fn every_shape_is_read_and_stays_itself(
            host in "[a-z][a-z0-9]{0,8}(\\.[a-z]{2,5}){1,2}",
            port in proptest::option::of(1u16..),
            path in proptest::collection::vec("[a-z0-9_.~]{0,3}[a-z0-9]", 0..3),
            api in prop_oneof![Just(""), Just("/api/v4"), Just("/api")],
            slashes in 0usize..3,
        ) {
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            let path: String = path.iter().map(|part| format!("/{part}")).collect();
            let typed = format!("https://{host}{port}{path}{api}{}", "/".repeat(slashes));
            prop_assume!(!path.ends_with("/api") && !path.ends_with("/api/v4"));
            let parsed = ApiHost::parse(&typed).unwrap();
            prop_assert!(!parsed.as_str().ends_with('/'));
            prop_assert_eq!(&ApiHost::parse(parsed.as_str()).unwrap(), &parsed);
            let url = parsed.endpoint(&["projects".into(), "a/b".into()]).unwrap();
            prop_assert_eq!(url.as_str(), format!("{parsed}/api/v4/projects/a%2Fb"));
        }

        #[test]
        fn nothing_typed_panics_or_shows_a_password(typed in "\\PC{0,60}", word in "[a-z]{9,12}") {
            if let Ok(host) = ApiHost::parse(&typed) {
                prop_assert_eq!(ApiHost::parse(host.as_str()).unwrap(), host);
            }
            for typed in [format!("https://u:{word}@h/"), format!("u:{word}@h")] {
                prop_assert!(!ApiHost::parse(&typed).unwrap_err().to_string().contains(&word));
            }
        }

        #[test]
        fn a_segment_never_becomes_two(segment in "\\PC{1,40}") {
            let host = ApiHost::parse("https://host/sub").unwrap();
            if let Some(url) = host.endpoint(&["a".into(), segment, "b".into()]) {
                prop_assert_eq!(url.path_segments().unwrap().count(), 6);
                prop_assert!(url.query().is_none() && url.fragment().is_none());
            }
        }
    }

    #[test]
    fn a_page_tells_its_projects_path() {
        let path = |host, page| ApiHost::parse(host).unwrap().project_path_of(page);
        let page = "https://h.example/group/sub/app/-/tree/a%20b";
        assert_eq!(path("https://h.example", page).as_deref(), Some("group/sub/app"));
        assert_eq!(path("https://inside.example", page).as_deref(), Some("group/sub/app"));
        assert_eq!(path("https://h.example/group", page).as_deref(), Some("sub/app"));
        for page in ["https://h.example/group/app", "https://h.example/-/tree/x", "group/app/-/"] {
            assert_eq!(path("https://h.example", page), None, "{page}");
        }
    }
}
