//! HTTPS by the host itself, with a certificate that somebody else renews.

use anyhow::Context as _;
use axum::Router;
use axum_server::{Handle, accept::NoDelayAcceptor, tls_rustls::RustlsConfig};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

/// How often it looks whether the certificate was renewed.
const RENEWED: Duration = Duration::from_secs(60);

/// Where HTTPS is spoken, and with what.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Where to listen.
    pub address: SocketAddr,
    /// The certificate and those up to its authority (PEM).
    pub certificate: PathBuf,
    /// Its private key (PEM).
    pub key: PathBuf,
}

impl Tls {
    fn read(&self) -> anyhow::Result<ServerConfig> {
        let cannot = |file: &Path| format!("the TLS file {} cannot be read", file.display());
        let certificates = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .with_context(|| cannot(&self.certificate))?;
        let key = PrivateKeyDer::from_pem_file(&self.key).with_context(|| cannot(&self.key))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .with_context(|| {
                let (certificate, key) = (self.certificate.display(), self.key.display());
                format!("{certificate} and {key} do not belong together")
            })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    /// When one of the files was written last.
    fn written(&self) -> Option<SystemTime> {
        let written = |file: &Path| std::fs::metadata(file).and_then(|file| file.modified()).ok();
        written(&self.certificate).max(written(&self.key))
    }

    /// Reads the files and takes the address, before anything else begins.
    ///
    /// # Errors
    /// When a file cannot be used, or the address is not to be had.
    pub(crate) fn listen(self) -> anyhow::Result<Listening> {
        let config = RustlsConfig::from_config(Arc::new(self.read()?));
        let listener = TcpListener::bind(self.address)
            .with_context(|| format!("cannot listen on {} (--tls-addr)", self.address))?;
        listener.set_nonblocking(true)?;
        Ok(Listening { tls: self, config, listener })
    }

    /// Takes renewed files, for connections that begin afterwards. Never ends.
    async fn renew(&self, config: &RustlsConfig) {
        let mut known = self.written();
        loop {
            tokio::time::sleep(RENEWED).await;
            self.take_renewed(config, &mut known);
        }
    }

    fn take_renewed(&self, config: &RustlsConfig, known: &mut Option<SystemTime>) {
        let written = self.written();
        if written == *known {
            return;
        }
        // Two files are not written at once: what does not fit is looked at again.
        match self.read() {
            Ok(renewed) => {
                config.reload_from_config(Arc::new(renewed));
                *known = written;
                tracing::info!("the TLS certificate was renewed");
            }
            Err(error) => tracing::warn!("the TLS certificate before it stays: {error:#}"),
        }
    }
}

/// An address that is taken, and not served yet.
pub(crate) struct Listening {
    tls: Tls,
    config: RustlsConfig,
    listener: TcpListener,
}

impl Listening {
    /// Serves `router` there until `stopped` ends.
    pub(crate) async fn serve(self, router: Router, stopped: impl Future<Output = ()>) {
        let Self { tls, config, listener } = self;
        let handle = Handle::new();
        let server = match axum_server::from_tcp_rustls(listener, config.clone()) {
            // Answers leave at once.
            Ok(server) => server
                .handle(handle.clone())
                .map(|acceptor| acceptor.acceptor(NoDelayAcceptor::new())),
            Err(error) => return tracing::error!("the listener for HTTPS failed: {error}"),
        };
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let stopping = async {
            stopped.await;
            handle.graceful_shutdown(Some(Duration::from_secs(5)));
            std::future::pending::<()>().await;
        };
        tokio::select! {
            served = server.serve(service) => {
                if let Err(error) = served {
                    tracing::error!("the listener for HTTPS failed: {error}");
                }
            }
            () = tls.renew(&config) => {}
            () = stopping => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    /// Writes a certificate for `localhost` with its key, and answers it.
    fn issue(folder: &TempDir) -> String {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
        fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        made.cert.pem()
    }

    fn tls(folder: &TempDir) -> Tls {
        Tls {
            address: ([127, 0, 0, 1], 0).into(),
            certificate: folder.path().join("cert.pem"),
            key: folder.path().join("key.pem"),
        }
    }

    async fn get(address: SocketAddr, certificate: &str) -> reqwest::Result<String> {
        gantry_setup::crypto::install();
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([reqwest::Certificate::from_pem(certificate.as_bytes()).unwrap()])
            .build()
            .unwrap();
        let url = format!("https://localhost:{}/", address.port());
        client.get(url).send().await?.text().await
    }

    #[tokio::test]
    async fn https_is_spoken_with_the_certificate_that_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let certificate = issue(&folder);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let router = Router::new().route("/", axum::routing::get(async || "here"));
        let stopped = async { drop(stopped.await) };
        let listening = tls(&folder).listen().unwrap();
        let address = listening.listener.local_addr().unwrap();
        let serve = tokio::spawn(listening.serve(router, stopped));
        assert_eq!(get(address, &certificate).await.unwrap(), "here");
        let other = issue(&folder);
        assert!(get(address, &other).await.is_err(), "it is not looked at yet");
        stop.send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(10), serve).await.unwrap().unwrap();
        assert!(get(address, &certificate).await.is_err(), "nobody listens");
    }

    #[tokio::test]
    async fn a_renewed_certificate_is_taken_as_soon_as_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        issue(&folder);
        let tls = tls(&folder);
        let config = RustlsConfig::from_config(Arc::new(tls.read().unwrap()));
        let (mut known, before) = (None, config.get_inner());
        fs::write(&tls.key, "half a key").unwrap();
        tls.take_renewed(&config, &mut known);
        assert!(Arc::ptr_eq(&before, &config.get_inner()), "the one before stays");
        issue(&folder);
        tls.take_renewed(&config, &mut known);
        assert!(!Arc::ptr_eq(&before, &config.get_inner()));
        assert_eq!(known, tls.written());
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let said = |tls: &Tls| format!("{:#}", tls.read().err().unwrap());
        assert!(said(&tls(&folder)).contains("cert.pem cannot be read"));
        issue(&folder);
        let (other, certificate) = (tempfile::tempdir().unwrap(), tls(&folder).certificate);
        issue(&other);
        let mixed = Tls { certificate, ..tls(&other) };
        assert!(said(&mixed).contains("do not belong together"), "{}", said(&mixed));
    }
}
