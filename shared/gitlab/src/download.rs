//! An answer too large to hold.

use crate::{
    ApiHost, Error,
    client::is_page,
    connect::{CALL_SECONDS, no_answer},
    error::plain,
};
use bytes::{Bytes, BytesMut};
use reqwest::Response;
use std::{fmt, time::Duration};

/// What every gzip file begins with (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// How much is read of what came in place of an archive.
const LONGEST_LOOK: usize = 4096;

/// A body that is read piece by piece. How much of it is wanted is the caller's decision.
pub struct Download {
    response: Response,
    host: ApiHost,
    length: Option<u64>,
    /// Was read to see what it is.
    head: Option<Bytes>,
}

impl Download {
    /// Begins to read a gzip file. What is none is refused in words that say what it is.
    pub(crate) async fn begin(response: Response, host: ApiHost) -> Result<Self, Error> {
        let is_page = is_page(&response);
        let length = response.content_length();
        let mut download = Self { response, host, length, head: None };
        let mut head = BytesMut::new();
        let is_gzip = |head: &[u8]| head.starts_with(&GZIP) && !is_page;
        while !is_gzip(&head) && head.len() < LONGEST_LOOK {
            let Some(piece) = download.chunk().await? else { break };
            head.extend_from_slice(&piece);
        }
        if !is_gzip(&head) {
            let came = if is_page { "a web page".to_owned() } else { plain(&head) };
            return Err(Error::NoArchive { host: download.host.authority().to_owned(), came });
        }
        download.head = Some(head.freeze());
        Ok(download)
    }

    /// The length in bytes, when the server tells it beforehand; archives come without.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The next piece; none at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        if let Some(head) = self.head.take() {
            return Ok(Some(head));
        }
        self.response
            .chunk()
            .await
            .map_err(|problem| no_answer(&problem, &self.host, Duration::from_secs(CALL_SECONDS)))
    }
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Download({:?} bytes from {})", self.length(), self.host)
    }
}
