//! Finding the program: on `PATH`, or as a release from a vendor's address.

use axum::{Router, http::StatusCode, routing::get};
use gantry_domain::stack::Tool;
use gantry_engine::{
    files,
    tool::{self, Found, Releases, ToolError},
};
use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

fn script(version: &str) -> String {
    script_that_says(&format!("{{\"terraform_version\":\"{version}\"}}"))
}

fn script_that_says(json: &str) -> String {
    format!("#!/bin/sh\necho '{json}'\n")
}

fn zipped(name: &str, body: &str) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(body.as_bytes()).unwrap();
    zip.finish().unwrap().into_inner()
}

struct World {
    folder: tempfile::TempDir,
    releases: Releases,
    downloads: Arc<AtomicU32>,
}

impl World {
    /// A vendor that publishes 1.2.3, and 6.6.6 with a body that is not what was published.
    async fn new() -> Self {
        let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let os = if cfg!(target_os = "macos") { "darwin" } else { "linux" };
        let downloads = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&downloads);
        let handler = move |uri: axum::http::Uri| async move {
            let path = uri.path();
            let body = |command: &str| zipped(command, &script("1.2.3"));
            let sums = |command: &str, version: &str| {
                let digest = files::digest(&body(command));
                format!("00  other.zip\n{digest}  {command}_{version}_{os}_{machine}.zip\n")
            };
            match path {
                "/hc/terraform/1.2.3/terraform_1.2.3_SHA256SUMS" => {
                    (StatusCode::OK, sums("terraform", "1.2.3").into_bytes())
                }
                "/hc/terraform/6.6.6/terraform_6.6.6_SHA256SUMS" => {
                    (StatusCode::OK, sums("terraform", "6.6.6").into_bytes())
                }
                "/tofu/v1.2.3/tofu_1.2.3_SHA256SUMS" => {
                    (StatusCode::OK, sums("tofu", "1.2.3").into_bytes())
                }
                "/hc/terraform/3.3.3/terraform_3.3.3_SHA256SUMS" => (StatusCode::OK, vec![]),
                _ if path.ends_with(".zip") => {
                    count.fetch_add(1, Ordering::SeqCst);
                    let command = if path.starts_with("/hc") { "terraform" } else { "tofu" };
                    let bad = if path.contains("6.6.6") { "evil" } else { "" };
                    (StatusCode::OK, [body(command), bad.into()].concat())
                }
                _ => (StatusCode::NOT_FOUND, vec![]),
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/{*path}", get(handler));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let releases = Releases {
            terraform: format!("{address}/hc").parse().unwrap(),
            opentofu: format!("{address}/tofu/").parse().unwrap(),
        };
        Self { folder: tempfile::tempdir().unwrap(), releases, downloads }
    }

    fn install(&self, name: &str, version: &str) {
        self.install_script(name, &script(version));
    }

    fn install_script(&self, name: &str, script: &str) {
        let file = self.folder.path().join(name);
        fs::write(&file, script).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    async fn find(&self, tool: Tool, version: Option<&str>) -> Result<Found, ToolError> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).build().unwrap();
        let path = format!("relative:{}:/usr/bin:/bin", self.folder.path().display());
        let cache = self.folder.path().join("cache");
        tool::find(tool, version, &path, &cache, &self.releases, || Ok(http), None).await
    }
}

#[tokio::test]
async fn the_one_on_path_is_used_when_it_fits() {
    let world = World::new().await;
    let missing = world.find(Tool::OpenTofu, None).await.unwrap_err();
    assert!(matches!(missing, ToolError::NotInstalled("tofu")));
    world.install("tofu", "1.9.0");
    for version in [None, Some("1.9.0")] {
        let found = world.find(Tool::OpenTofu, version).await.unwrap();
        assert_eq!(found.version, "1.9.0");
        assert_eq!(found.program, world.folder.path().join("tofu"));
    }
    assert_eq!(world.downloads.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_newer_tool_may_say_more_of_its_version() {
    let world = World::new().await;
    let said = r#"{"format_version":"9.0","terraform_version":"2.3.4-beta1","kind":{"of":[1]}}"#;
    world.install_script("terraform", &script_that_says(said));
    for version in [None, Some("2.3.4-beta1")] {
        let found = world.find(Tool::Terraform, version).await.unwrap();
        assert_eq!(found.version, "2.3.4-beta1");
    }
    assert_eq!(world.downloads.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_program_is_asked_once_for_its_version_where_it_is_the_tool_itself() {
    let world = World::new().await;
    let asked = || fs::read_to_string(world.folder.path().join("asked")).unwrap_or_default();
    let says = |version: &str, more: &str| {
        let note = world.folder.path().join("asked");
        let count = format!("echo {version} >> {}\n{more}", note.display());
        script(version) + &count
    };
    // What starts another program, which may be another version tomorrow.
    world.install_script("tofu", &says("1.9.0", ""));
    for _ in 0..2 {
        assert_eq!(world.find(Tool::OpenTofu, None).await.unwrap().version, "1.9.0");
    }
    assert_eq!(asked().lines().count(), 2);

    // What a Go program of that package has in it, here at the end of a comment.
    let package = "\n# path\tgithub.com/opentofu/opentofu/cmd/tofu\n";
    world.install_script("tofu", &says("1.9.1", package));
    for version in [None, Some("1.9.1"), None] {
        assert_eq!(world.find(Tool::OpenTofu, version).await.unwrap().version, "1.9.1");
    }
    assert_eq!(asked().lines().count(), 3);
    world.install_script("tofu", &says("1.9.2", package));
    for _ in 0..2 {
        assert_eq!(world.find(Tool::OpenTofu, None).await.unwrap().version, "1.9.2");
    }
    assert_eq!(asked().lines().count(), 4, "another program of the same name");

    // What is downloaded beside it is for every user.
    let found = world.find(Tool::OpenTofu, Some("1.2.3")).await.unwrap();
    let folders = found.program.ancestors().skip(1).take(3);
    for folder in folders {
        let mode = fs::metadata(folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755, "{}", folder.display());
    }
}

#[tokio::test]
async fn another_version_is_downloaded_once() {
    let world = World::new().await;
    world.install("terraform", "1.9.0");
    for _ in 0..2 {
        let found = world.find(Tool::Terraform, Some("1.2.3")).await.unwrap();
        assert_eq!(found.program, world.folder.path().join("cache/terraform/1.2.3/terraform"));
        assert_eq!(fs::read_to_string(found.program).unwrap(), script("1.2.3"));
    }
    assert_eq!(world.downloads.load(Ordering::SeqCst), 1);
    world.find(Tool::OpenTofu, Some("1.2.3")).await.unwrap();
}

#[tokio::test]
async fn what_was_not_published_is_not_used() {
    let world = World::new().await;
    let wrong = world.find(Tool::Terraform, Some("6.6.6")).await.unwrap_err();
    assert!(matches!(wrong, ToolError::WrongDigest(_)));
    let none = world.find(Tool::Terraform, Some("3.3.3")).await.unwrap_err();
    assert!(matches!(none, ToolError::NotPublished { .. }));
    let refused = world.find(Tool::Terraform, Some("9.9.9")).await.unwrap_err();
    assert!(matches!(refused, ToolError::Refused { status: 404, .. }));
    let strange = world.find(Tool::Terraform, Some("../1.2")).await.unwrap_err();
    assert!(matches!(strange, ToolError::NotAVersion(_)));
    assert!(!Path::new(&world.folder.path().join("cache/terraform/6.6.6/terraform")).exists());
}
