//! The installation over HTTPS, as the world sees it behind a load balancer.

use rcgen::{CertifiedKey, generate_simple_self_signed};
use std::{net::Ipv4Addr, path::PathBuf, sync::Arc};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

/// A TLS end before an address, with a certificate of its own.
pub struct Secure {
    /// The host and port; a name without a dot is no registry for Terraform.
    pub host: String,
    /// The certificate (PEM) to trust.
    pub certificate: PathBuf,
    folder: TempDir,
}

impl Secure {
    /// Serves what is at `address` (a host and a port) over TLS.
    ///
    /// # Errors
    /// When no certificate can be made, or there is no port.
    pub async fn before(address: &str) -> anyhow::Result<Self> {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(vec![Ipv4Addr::LOCALHOST.to_string()])?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let host = listener.local_addr()?.to_string();
        let address = address.to_owned();
        tokio::spawn(async move {
            while let Ok((outside, _)) = listener.accept().await {
                let (acceptor, address) = (acceptor.clone(), address.clone());
                tokio::spawn(async move {
                    let Ok(mut outside) = acceptor.accept(outside).await else { return };
                    let Ok(mut inside) = TcpStream::connect(address).await else { return };
                    // Either side may go away at any moment.
                    let _ended = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
                });
            }
        });
        let folder = tempfile::tempdir()?;
        let certificate = folder.path().join("certificate.pem");
        std::fs::write(&certificate, cert.pem())?;
        Ok(Self { host, certificate, folder })
    }

    /// A folder for what is tried out with it.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}
