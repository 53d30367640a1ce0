//! What is said when no answer comes, and whose certificates are trusted.

use gantry_domain::{MergeRequestIid, ProjectId};
use gantry_gitlab::{ApiHost, Client, ClientConfig, Error, InvalidClient};
use jiff::Timestamp;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

const AUTHORITY: &str = include_str!("../tls/authority.pem");

fn config(host: &str, ca_pem: Option<&str>) -> ClientConfig {
    ClientConfig {
        host: ApiHost::parse(host).expect("an address"),
        token: "glpat-secret".into(),
        ca_pem: ca_pem.map(str::to_owned),
        clock: Arc::new(|| Timestamp::from_second(1_800_000_000).expect("a time")),
    }
}

async fn ask(host: &str, ca_pem: Option<&str>) -> Result<String, Error> {
    let client = Client::new(config(host, ca_pem)).expect("a client");
    client.current_user().await.map(|user| user.username)
}

/// A TLS server for `localhost` with a certificate from [`AUTHORITY`]; gives its port.
async fn tls_server() -> u16 {
    let chain = CertificateDer::from_pem_slice(include_bytes!("../tls/server.pem")).expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../tls/server-key.pem")).expect("PEM");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS versions")
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .expect("a certificate");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let body = r#"{"id":1,"username":"bot"}"#;
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    port
}

#[tokio::test]
async fn an_own_authority_is_trusted_when_it_is_given() {
    let port = tls_server().await;
    let host = format!("https://localhost:{port}");
    assert_eq!(ask(&host, Some(AUTHORITY)).await, Ok("bot".to_owned()));
    let unknown = ask(&host, None).await.unwrap_err().to_string();
    assert!(unknown.contains("not from a known authority"), "{unknown}");
    let other = ask(&format!("https://127.0.0.1:{port}"), Some(AUTHORITY)).await.unwrap_err();
    assert!(other.to_string().contains("for a different host name"), "{other}");
}

#[tokio::test]
async fn what_failed_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let said = ask(&format!("http://127.0.0.1:{port}"), None).await.unwrap_err().to_string();
    assert!(said.contains("refused the connection"), "{said}");

    let said = ask("https://gitlab.invalid", None).await.unwrap_err().to_string();
    assert!(said.contains("gitlab.invalid cannot be resolved (DNS)"), "{said}");

    // A server that speaks something else.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9\r\n").await;
        }
    });
    let said = ask(&format!("https://127.0.0.1:{port}"), None).await.unwrap_err();
    assert!(said.to_string().contains("speak TLS"), "{said}");
    let said = ask(&format!("http://127.0.0.1:{port}"), None).await.unwrap_err();
    assert!(said.is_trouble(), "{said}");
}

/// A server that closes its first connection instead of answering; counts the connections.
async fn hangs_up_once() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let host = format!("http://{}", listener.local_addr().expect("an address"));
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            if counter.fetch_add(1, Ordering::SeqCst) > 0 {
                let body = r#"{"id":1,"username":"bot"}"#;
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            }
        }
    });
    (host, count)
}

#[tokio::test]
async fn a_read_whose_connection_broke_is_sent_again_and_a_write_is_not() {
    let (host, count) = hangs_up_once().await;
    assert_eq!(ask(&host, None).await, Ok("bot".to_owned()));
    assert_eq!(count.load(Ordering::SeqCst), 2);

    let (host, count) = hangs_up_once().await;
    let client = Client::new(config(&host, None)).unwrap();
    let error = client.create_note(ProjectId(1), MergeRequestIid(1), "x").await.unwrap_err();
    assert!(error.is_trouble(), "{error}");
    assert!(error.to_string().contains("was lost"), "{error}");
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[test]
fn what_cannot_be_used_is_refused_at_once() {
    let made = |token: &str, ca_pem: Option<&str>| {
        let config =
            ClientConfig { token: token.into(), ..config("https://gitlab.example.com", ca_pem) };
        Client::new(config).map(drop)
    };
    assert_eq!(made("glpat-x\n", None), Ok(()), "a line break at the end is cut");
    for token in ["", " ", "a\nb"] {
        assert_eq!(made(token, None), Err(InvalidClient::Token), "{token:?}");
    }
    for pem in ["", "hello", "-----BEGIN CERTIFICATE-----\n%%\n-----END CERTIFICATE-----"] {
        assert_eq!(made("x", Some(pem)), Err(InvalidClient::Certificate), "{pem:?}");
    }
    assert_eq!(made("x", Some(AUTHORITY)), Ok(()));
}
