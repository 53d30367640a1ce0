//! Large bodies: into object storage while they come, out of it while they are read.

use crate::{deps::Deps, refusal::Refusal};
use axum::{
    Json,
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use futures::StreamExt as _;
use gantry_domain::protocol::UploadAnswer;
use gantry_objects::Objects;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// How long a signed address is good. It is asked for just before it is used.
pub(crate) const ADDRESS_GOOD_FOR: Duration = Duration::from_secs(15 * 60);

/// A SHA-256 as 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BodyDigest {
    hex: String,
    bytes: [u8; 32],
}

impl BodyDigest {
    /// Reads one that came with a request.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        let bytes = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        match bytes {
            Some(bytes) => Ok(Self { hex: hex::encode(bytes), bytes }),
            None => Err(Refusal::text(
                StatusCode::UNPROCESSABLE_ENTITY,
                "a digest must be a SHA-256 in hexadecimal digits",
            )),
        }
    }

    /// The digest of a body.
    pub(crate) fn of(body: &[u8]) -> Self {
        let bytes: [u8; 32] = Sha256::digest(body).into();
        Self { hex: hex::encode(bytes), bytes }
    }

    pub(crate) fn hex(&self) -> &str {
        &self.hex
    }

    pub(crate) fn bytes(&self) -> [u8; 32] {
        self.bytes
    }
}

/// The object itself, or the way to it where the storage signs addresses; none when it is not
/// there.
pub(crate) async fn send(
    objects: &Objects,
    key: &str,
    content_type: &'static str,
) -> Result<Option<Response>, Refusal> {
    if let Some(url) = objects.sign_read(key, ADDRESS_GOOD_FOR).await? {
        if !objects.exists(key).await? {
            return Ok(None);
        }
        let location = HeaderValue::from_str(&url).map_err(|error| Refusal::trouble(&error))?;
        let answer = (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location)]);
        return Ok(Some(answer.into_response()));
    }
    let Some(reading) = objects.read(key).await? else { return Ok(None) };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CONTENT_LENGTH, HeaderValue::from(reading.size)),
    ];
    Ok(Some((headers, Body::from_stream(reading.stream)).into_response()))
}

/// Streams a body to `key`, where it appears only when it is whole, within `limit`, and what
/// `digest` says.
pub(crate) async fn receive(
    objects: &Objects,
    key: &str,
    headers: &HeaderMap,
    body: Body,
    digest: &BodyDigest,
    limit: u64,
) -> Result<(), Refusal> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    check_size(announced.and_then(|length| length.parse().ok()).unwrap_or(0), limit)?;
    let mut writing = objects.begin(key).await?;
    let mut pieces = body.into_data_stream();
    let mut hasher = Sha256::new();
    let mut size = 0u64;
    let wrong = loop {
        match pieces.next().await {
            None => break None,
            Some(Err(_)) => {
                let text = "the body ended before it was complete";
                break Some(Refusal::text(StatusCode::BAD_REQUEST, text));
            }
            Some(Ok(piece)) => {
                size += piece.len() as u64;
                if let Err(too_large) = check_size(size, limit) {
                    break Some(too_large);
                }
                hasher.update(&piece);
                if let Err(error) = writing.write(&piece).await {
                    break Some(error.into());
                }
            }
        }
    };
    let received: [u8; 32] = hasher.finalize().into();
    let wrong = wrong.or_else(|| {
        let text = "the body does not match its digest";
        (received != digest.bytes).then(|| Refusal::text(StatusCode::UNPROCESSABLE_ENTITY, text))
    });
    match wrong {
        None => Ok(writing.finish().await?),
        Some(refusal) => {
            if let Err(error) = writing.abort().await {
                tracing::warn!(%error, "a broken upload was not cleaned up");
            }
            Err(refusal)
        }
    }
}

/// Refuses what is larger than `limit`.
pub(crate) fn check_size(size: u64, limit: u64) -> Result<(), Refusal> {
    if size <= limit {
        return Ok(());
    }
    let text = format!("it is larger than the limit of {} MiB", limit >> 20);
    Err(Refusal::text(StatusCode::PAYLOAD_TOO_LARGE, text))
}

/// `?digest=` of an upload.
#[derive(Deserialize)]
pub(crate) struct Named {
    pub(crate) digest: String,
}

/// The signed address of `key`; no address where the storage cannot sign.
pub(crate) async fn address(
    deps: &Deps,
    key: &str,
    digest: &BodyDigest,
) -> Result<Json<UploadAnswer>, Refusal> {
    let signed = deps.objects.sign_write(key, digest.bytes(), ADDRESS_GOOD_FOR).await?;
    Ok(Json(signed.map_or_else(UploadAnswer::default, |signed| UploadAnswer {
        url: Some(signed.url),
        headers: signed.headers,
    })))
}
