//! An answer too large to hold.

use crate::{
    ApiHost, Error,
    connect::{CALL_SECONDS, no_answer},
};
use bytes::Bytes;
use reqwest::Response;
use std::{fmt, time::Duration};

/// A body that is read piece by piece. How much of it is wanted is the caller's decision.
pub struct Download {
    response: Response,
    host: ApiHost,
}

impl Download {
    pub(crate) fn new(response: Response, host: ApiHost) -> Self {
        Self { response, host }
    }

    /// The length in bytes, when the server tells it beforehand; archives come without.
    pub fn length(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// The next piece; none at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        self.response
            .chunk()
            .await
            .map_err(|problem| no_answer(&problem, &self.host, Duration::from_secs(CALL_SECONDS)))
    }

    /// The answer itself, for those who want a stream.
    pub fn into_response(self) -> Response {
        self.response
    }
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Download({:?} bytes from {})", self.length(), self.host)
    }
}
