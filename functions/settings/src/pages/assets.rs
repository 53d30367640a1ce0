//! Styles, scripts and the icon: vendored, compressed once, kept by browsers for as long as their
//! content stays the same.

use axum::{
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use flate2::{Compression, write::GzEncoder};
use std::{io::Write as _, sync::LazyLock};

struct Asset {
    name: &'static str,
    content_type: &'static str,
    content: &'static [u8],
}

const ASSETS: [Asset; 5] = [
    // Pico CSS 2.1.1, classless (MIT): assets/LICENSES.md.
    Asset {
        name: "pico.css",
        content_type: "text/css; charset=utf-8",
        content: include_bytes!("../../assets/pico.classless.min.css"),
    },
    Asset {
        name: "gantry.css",
        content_type: "text/css; charset=utf-8",
        content: include_bytes!("../../assets/gantry.css"),
    },
    // htmx 2.0.11 (0BSD): assets/LICENSES.md.
    Asset {
        name: "htmx.js",
        content_type: "text/javascript; charset=utf-8",
        content: include_bytes!("../../assets/htmx.min.js"),
    },
    Asset {
        name: "gantry.js",
        content_type: "text/javascript; charset=utf-8",
        content: include_bytes!("../../assets/gantry.js"),
    },
    Asset {
        name: "icon.svg",
        content_type: "image/svg+xml",
        content: include_bytes!("../../assets/icon.svg"),
    },
];

static COMPRESSED: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| ASSETS.iter().map(|asset| compress(asset.content)).collect());

/// `GET /assets/{name}`
pub(crate) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some(at) = ASSETS.iter().position(|asset| asset.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let asset = &ASSETS[at];
    let common = [
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600")),
        (header::VARY, HeaderValue::from_static("accept-encoding")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    let takes_gzip = headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.contains("gzip"));
    match COMPRESSED.get(at).filter(|_| takes_gzip) {
        Some(small) => {
            let gzip = [(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))];
            (common, gzip, small.clone()).into_response()
        }
        None => (common, asset.content).into_response(),
    }
}

fn compress(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let written = encoder.write_all(content).and_then(|()| encoder.finish());
    written.unwrap_or_else(|_| unreachable!("writing to memory does not fail"))
}
