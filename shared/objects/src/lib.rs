//! Object storage: archives, plans, states, changes. S3 on AWS, a folder on one machine.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::stream::BoxStream;
use gantry_setup::deadline;
use jiff::Timestamp;
use object_store::{
    ClientConfigKey, ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig, WriteMultipart,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey},
    path::Path,
    signer::{HeaderName, HeaderValue, Method, SignedUrlOptions, Signer},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// What S3 compares a body with before it takes it.
const CHECKSUM_HEADER: &str = "x-amz-checksum-sha256";

/// What S3 may take to answer, or to go on with an answer. One that never comes is asked for once more,
/// on another connection: together less than a function lives that answers people.
const SILENCE: &str = "8s";
/// Whatever fails later than this is not tried again.
const TRIED_AGAIN: Duration = Duration::from_secs(12);

/// What a call may take where nobody waits: each silence in it is far shorter.
const LONGEST: Duration = Duration::from_secs(3600);

/// Storage could not do what was asked; trying again later may help.
#[derive(Debug, thiserror::Error)]
#[error("object storage failed at {key}")]
pub struct ObjectError {
    key: String,
    source: object_store::Error,
}

/// A bucket, or a folder that stands in for one. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    signer: Option<Arc<dyn Signer>>,
}

/// An address at which one object can be written without credentials, for a short while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedWrite {
    /// Where to `PUT` the body.
    pub url: String,
    /// Headers that must come with it exactly like this. They bind the address to one content.
    pub headers: BTreeMap<String, String>,
}

/// A stored object being read.
pub struct Reading {
    /// Bytes in all.
    pub size: u64,
    /// The content.
    pub stream: BoxStream<'static, Result<Bytes, ObjectError>>,
}

/// An object of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// When it was written last, to the second at least.
    pub written_at: Timestamp,
}

impl Objects {
    /// Objects in a folder, which is made if it is missing.
    pub fn in_folder(folder: &std::path::Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let store = object_store::local::LocalFileSystem::new_with_prefix(folder)
            .map_err(std::io::Error::other)?;
        Ok(Self::new(Arc::new(store)))
    }

    /// Objects in an S3 bucket, with region, credentials and endpoint from the environment as the
    /// AWS SDKs read them (`AWS_REGION`, `AWS_ENDPOINT_URL_S3`, …). An endpoint with plain `http`
    /// needs `AWS_ALLOW_HTTP=true`.
    pub fn in_bucket(bucket: &str) -> Result<Self, ObjectError> {
        gantry_setup::crypto::install();
        let store = AmazonS3Builder::from_env().with_bucket_name(bucket);
        let store = within_time(store, SILENCE, TRIED_AGAIN).build();
        Ok(Self::in_s3(store.map_err(at(bucket))?))
    }

    /// Objects in S3 with settings of one's own.
    pub fn in_s3(store: AmazonS3) -> Self {
        let store = Arc::new(store);
        Self { store: store.clone(), signer: Some(store) }
    }

    /// Objects in any store that the `object_store` crate knows. It signs no addresses.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, signer: None }
    }

    /// An address at which whoever has it reads the object, for `good_for`; none where the storage
    /// cannot sign. The object need not be there.
    pub async fn sign_read(
        &self,
        key: &str,
        good_for: Duration,
    ) -> Result<Option<String>, ObjectError> {
        let Some(signer) = &self.signer else { return Ok(None) };
        let url = signer.signed_url(Method::GET, &Path::from(key), good_for).await;
        Ok(Some(url.map_err(at(key))?.into()))
    }

    /// An address at which whoever has it writes the object, for `good_for`, if the content has
    /// this SHA-256; none where the storage cannot sign.
    pub async fn sign_write(
        &self,
        key: &str,
        sha256: [u8; 32],
        good_for: Duration,
    ) -> Result<Option<SignedWrite>, ObjectError> {
        let Some(signer) = &self.signer else { return Ok(None) };
        let checksum = STANDARD.encode(sha256);
        let mut options = SignedUrlOptions::new();
        if let Ok(value) = HeaderValue::from_str(&checksum) {
            options = options.with_signed_header(HeaderName::from_static(CHECKSUM_HEADER), value);
        }
        let url = signer.signed_url_opts(Method::PUT, &Path::from(key), good_for, &options).await;
        let headers = BTreeMap::from([(CHECKSUM_HEADER.to_owned(), checksum)]);
        Ok(Some(SignedWrite { url: url.map_err(at(key))?.into(), headers }))
    }

    /// Writes an object, replacing what was there.
    pub async fn put(&self, key: &str, body: Bytes) -> Result<(), ObjectError> {
        let body = PutPayload::from_bytes(body);
        in_time(self.store.put(&Path::from(key), body)).await.map_err(at(key))?;
        Ok(())
    }

    /// Writes an object unless one is there already; says whether it wrote.
    pub async fn put_new(&self, key: &str, body: Bytes) -> Result<bool, ObjectError> {
        let (path, mode) = (Path::from(key), PutMode::Create.into());
        match in_time(self.store.put_opts(&path, body.into(), mode)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(source) => Err(at(key)(source)),
        }
    }

    /// Begins an object that is written piece by piece; it appears when `finish` returns.
    pub async fn begin(&self, key: &str) -> Result<Writing, ObjectError> {
        let path = Path::from(key);
        let upload = in_time(self.store.put_multipart(&path)).await.map_err(at(key))?;
        Ok(Writing { key: key.to_owned(), upload: WriteMultipart::new(upload) })
    }

    /// The whole object, or none.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, ObjectError> {
        let path = Path::from(key);
        match in_time(async { self.store.get(&path).await?.bytes().await }).await {
            Ok(found) => Ok(Some(found)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(at(key)(source)),
        }
    }

    /// The object as a stream, or none.
    pub async fn read(&self, key: &str) -> Result<Option<Reading>, ObjectError> {
        use futures::TryStreamExt as _;
        match in_time(self.store.get(&Path::from(key))).await {
            Ok(found) => {
                let size = found.meta.size;
                let named = key.to_owned();
                let stream = found.into_stream().map_err(move |source| at(&named)(source));
                Ok(Some(Reading { size, stream: Box::pin(stream) }))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(at(key)(source)),
        }
    }

    /// True when the object is there.
    pub async fn exists(&self, key: &str) -> Result<bool, ObjectError> {
        match in_time(self.store.head(&Path::from(key))).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(source) => Err(at(key)(source)),
        }
    }

    /// The names below `folder` (`state`) that have objects below them, in order.
    pub async fn folders(&self, folder: &str) -> Result<Vec<String>, ObjectError> {
        let path = Path::from(folder);
        let found = in_time(self.store.list_with_delimiter(Some(&path))).await;
        let paths = found.map_err(at(folder))?.common_prefixes;
        let mut names: Vec<String> =
            paths.iter().filter_map(|path| path.filename().map(str::to_owned)).collect();
        names.sort();
        Ok(names)
    }

    /// The keys of the objects below `folder`, in order.
    pub async fn list(&self, folder: &str) -> Result<Vec<String>, ObjectError> {
        use futures::TryStreamExt as _;
        let found = self.store.list(Some(&Path::from(folder)));
        let keys = found.map_ok(|object| String::from(object.location));
        let mut keys: Vec<String> = in_time(keys.try_collect()).await.map_err(at(folder))?;
        keys.sort();
        Ok(keys)
    }

    /// The objects below `folder`, the oldest first.
    pub async fn list_by_age(&self, folder: &str) -> Result<Vec<Listed>, ObjectError> {
        use futures::TryStreamExt as _;
        let found = self.store.list(Some(&Path::from(folder)));
        let listed = found.map_ok(|object| Listed {
            key: String::from(object.location),
            size: object.size,
            written_at: Timestamp::from_millisecond(object.last_modified.timestamp_millis())
                .unwrap_or(Timestamp::UNIX_EPOCH),
        });
        let mut listed: Vec<Listed> = in_time(listed.try_collect()).await.map_err(at(folder))?;
        listed.sort_by_key(|object| object.written_at);
        Ok(listed)
    }

    /// Removes the object; one that is not there is as good as removed.
    pub async fn delete(&self, key: &str) -> Result<(), ObjectError> {
        match in_time(self.store.delete(&Path::from(key))).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(at(key)(source)),
        }
    }
}

/// An object being written piece by piece: for as long as pieces come.
pub struct Writing {
    key: String,
    upload: WriteMultipart,
}

impl Writing {
    /// Adds a piece. Waits while earlier pieces are still on their way.
    pub async fn write(&mut self, piece: &[u8]) -> Result<(), ObjectError> {
        self.upload.wait_for_capacity(4).await.map_err(at(&self.key))?;
        self.upload.write(piece);
        Ok(())
    }

    /// Makes the object appear.
    pub async fn finish(self) -> Result<(), ObjectError> {
        self.upload.finish().await.map(|_| ()).map_err(at(&self.key))
    }

    /// Forgets what was written.
    pub async fn abort(self) -> Result<(), ObjectError> {
        self.upload.abort().await.map_err(at(&self.key))
    }
}

fn within_time(store: AmazonS3Builder, silence: &str, tried_again: Duration) -> AmazonS3Builder {
    let retries = RetryConfig { retry_timeout: tried_again, ..RetryConfig::default() };
    store
        .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::ReadTimeout), silence)
        .with_retry(retries)
}

/// Ends a call in the time that the work has left which makes it.
async fn in_time<T>(
    call: impl Future<Output = object_store::Result<T>>,
) -> object_store::Result<T> {
    let left = deadline::at_most(LONGEST);
    tokio::time::timeout(left, call).await.unwrap_or_else(|_| {
        let words = format!("no answer within {} ms, and no time for more", left.as_millis());
        Err(object_store::Error::Generic { store: "storage", source: words.into() })
    })
}

fn at(key: &str) -> impl FnOnce(object_store::Error) -> ObjectError {
    let key = key.to_owned();
    move |source| ObjectError { key, source }
}

/// Where things lie. Keys name their content, so nothing is ever overwritten with something else.
pub mod keys {
    use std::fmt::Display;

    /// A commit's archive, fetched once; `repository` is a `Repository::key`.
    pub fn source(repository: impl Display, commit: impl Display) -> String {
        format!("source/{repository}/{commit}.tar.gz")
    }

    /// Why a commit's archive cannot be had, where it lies instead of the archive.
    pub fn source_failed(repository: impl Display, commit: impl Display) -> String {
        format!("source/{repository}/{commit}.failed.json")
    }

    /// Why a repository's next archive is not there yet.
    pub fn source_waits(repository: impl Display) -> String {
        format!("source/{repository}/waits.json")
    }

    /// An archive that somebody uploaded for a preview of a stack. It is named by what it holds.
    pub fn upload(stack: impl Display, digest: impl Display) -> String {
        format!("{UPLOADS}/{stack}/{digest}.tar.gz")
    }

    /// What the keys of such archives begin with; a folder for each stack is below.
    pub const UPLOADS: &str = "source/upload";

    /// A version of a module as the registry hands it out. It is named by what it holds.
    pub fn module(module: impl Display, digest: impl Display) -> String {
        format!("modules/{module}/{digest}.tar.gz")
    }

    /// What the code of such a version says of itself: inputs, outputs, providers, README.
    pub fn module_metadata(module: impl Display, digest: impl Display) -> String {
        format!("modules/{module}/{digest}.json")
    }

    /// Workspace and plan as the plan phase left them.
    pub fn plan(run: impl Display, digest: impl Display) -> String {
        format!("plans/{run}/{digest}.tar.gz")
    }

    /// What the plan found, masked, as JSON.
    pub fn change(run: impl Display, attempt: u32) -> String {
        format!("runs/{run}/change-{attempt}.json")
    }

    /// A state body. `unique` keeps two uploads of one digest apart.
    pub fn state(stack: impl Display, digest: impl Display, unique: impl Display) -> String {
        format!("{STATES}/{stack}/{digest}-{unique}.tfstate")
    }

    /// What the keys of states begin with; a folder for each stack, or test run, is below.
    pub const STATES: &str = "state";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;
    use tokio::net::TcpListener;

    /// Accepts every connection, and never answers.
    async fn hangs(silence: &str, tried_again: Duration) -> Objects {
        gantry_setup::crypto::install();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((connection, _)) = listener.accept().await {
                held.push(connection);
            }
        });
        let store = AmazonS3Builder::new()
            .with_bucket_name("gantry")
            .with_endpoint(address)
            .with_allow_http(true)
            .with_access_key_id("key")
            .with_secret_access_key("secret");
        Objects::in_s3(within_time(store, silence, tried_again).build().unwrap())
    }

    #[tokio::test]
    async fn a_storage_that_never_answers_is_asked_twice_and_left() {
        let objects = hangs("1s", Duration::from_millis(1500)).await;
        for writes in [false, true] {
            let begun = Instant::now();
            let asked = async {
                match writes {
                    true => objects.put("a", Bytes::from_static(b"b")).await,
                    false => objects.get("a").await.map(drop),
                }
            };
            let answer = tokio::time::timeout(Duration::from_secs(10), asked).await;
            let took = begun.elapsed();
            assert!(answer.expect("it ends").is_err());
            assert!(took >= Duration::from_secs(2), "{took:?} is one try");
        }
    }

    #[tokio::test]
    async fn a_call_ends_before_the_work_that_makes_it() {
        let objects = hangs("8s", TRIED_AGAIN).await;
        let end = tokio::time::Instant::now() + Duration::from_secs(4);
        let begun = Instant::now();
        let answer = deadline::until(end, objects.get("a")).await;
        let words = format!("{:?}", answer.unwrap_err());
        assert!(words.contains("no time for more"), "{words}");
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
}
