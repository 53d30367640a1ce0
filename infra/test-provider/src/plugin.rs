//! How a tool and its plugin find each other: a line on standard output names a Unix socket and
//! the certificate that is shown there.
//!
//! The rules are those of <https://github.com/hashicorp/go-plugin/blob/main/docs/internals.md>.

use crate::{provider::Provider, service};
use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ServerConfig, crypto::ring};
use std::{convert::Infallible, io::Write as _, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixListener,
};
use tokio_rustls::TlsAcceptor;

/// What every tool sets for its providers, so that nobody starts one by mistake.
const COOKIE: (&str, &str) =
    ("TF_PLUGIN_MAGIC_COOKIE", "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2");

/// Serves one tool, until it says that it is done.
pub(crate) async fn serve() -> Result<()> {
    ensure!(
        environment(COOKIE.0).as_deref() == Some(COOKIE.1),
        "this is a provider for tests: Terraform and OpenTofu start it, people do not"
    );
    let (acceptor, certificate) = match environment("PLUGIN_CLIENT_CERT") {
        Some(_) => {
            let (acceptor, certificate) = tls()?;
            (Some(acceptor), certificate)
        }
        None => (None, String::new()),
    };
    let folder = tempfile::Builder::new().prefix("plugin-").tempdir()?;
    let socket = folder.path().join("s");
    let listener = UnixListener::bind(&socket)
        .with_context(|| format!("cannot listen at {}", socket.display()))?;
    writeln!(std::io::stdout(), "1|6|unix|{}|grpc|{certificate}", socket.display())?;

    // The tool has one connection. With it the program ends, also where the tool was killed.
    let (stream, _) = listener.accept().await?;
    match acceptor {
        None => connection(stream).await,
        Some(acceptor) => connection(acceptor.accept(stream).await?).await,
    }
    Ok(())
}

async fn connection<S>(stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let provider = Arc::new(Provider::default());
    let calls = service_fn(move |request| {
        let provider = Arc::clone(&provider);
        async move { Ok::<_, Infallible>(service::call(request, provider).await) }
    });
    let server = http2::Builder::new(TokioExecutor::new());
    let _the_tool_ends_it = server.serve_connection(TokioIo::new(stream), calls).await;
}

/// A certificate for this one start, and how the tool is told which one to trust.
/// Who may connect is decided by the socket's folder, not by the tool's certificate.
fn tls() -> Result<(TlsAcceptor, String)> {
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()])?;
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate()?;
    let certificate = params.self_signed(&key)?.der().clone();
    let told = STANDARD_NO_PAD.encode(&certificate);
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key.into())?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok((TlsAcceptor::from(Arc::new(config)), told))
}

#[expect(clippy::disallowed_methods, reason = "the one place where this program reads it")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
