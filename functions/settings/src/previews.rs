//! Previews of what somebody uploads: where the archive goes, the archive itself where storage signs
//! no addresses, and the run. It is refused unless the stack allows it; the scheduler asks again.

mod room;

use crate::{
    access::Caller,
    app::App,
    commands::{self, refuse},
    form::{Body, Form},
    refusal::{Answer, Refusal},
    stacks,
};
use axum::{
    Extension, Json,
    body::{self, Bytes},
    extract::{Path, Request, State},
    http::StatusCode,
    response::Response,
};
use futures::StreamExt as _;
use gantry_domain::{
    CommitSha, Repository,
    run::RunType,
    stack::Stack,
    text::{cut, visible},
};
use gantry_objects::keys;
use gantry_package::{Limits, MOST_PATH_BYTES, PackageError};
use gantry_queue::Command;
use gantry_setup::web::Problem;
use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, time::Duration};

/// The largest archive, in bytes: it is read again, whole, before it is run.
const LARGEST: usize = 50 * MEGABYTE;
const MEGABYTE: usize = 1_000_000;
/// What it may hold.
const UNPACKED: Limits = Limits {
    unpacked: 250 * MEGABYTE as u64,
    files: 50_000,
    // Nothing is read for metadata.
    file: 0,
    time: Duration::ZERO,
};
/// Characters of a path in the archive that are shown.
const LONGEST_PATH: usize = 200;
/// How long a signed address is good. It is asked for just before it is used.
const ADDRESS_GOOD_FOR: Duration = Duration::from_secs(15 * 60);

/// Where an archive is uploaded to.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UploadPlace")]
pub(crate) struct Place {
    /// The URL to PUT the archive to, without the access key. If null, PUT it to this API, at
    /// `/api/v1/stacks/{slug}/previews/{digest}`.
    url: Option<String>,
    /// Headers that must be sent with it to `url`.
    headers: BTreeMap<String, String>,
}

/// `POST /api/v1/stacks/{slug}/previews {"digest", "size"}`
pub(crate) async fn place(
    State(app): State<App>,
    Path(slug): Path<String>,
    Body(fields): Body,
) -> Answer<Json<Place>> {
    let mut form = Form::new(fields);
    let asked = form.required_text("digest", "Enter the archive's SHA-256.");
    let digest = asked.as_deref().and_then(Digest::parse);
    if asked.is_some() && digest.is_none() {
        form.wrong("digest", "Must be a SHA-256 of 64 lower-case hexadecimal digits");
    }
    let size = form.choice::<usize>("size");
    if size.is_none() {
        form.wrong("size", "Enter the archive's size in bytes.");
    }
    form.check()?;
    let (Some(digest), Some(size)) = (digest, size) else { return Err(no_upload()) };
    let stack = allowed(&app, &slug).await?;
    if size > LARGEST {
        return Err(too_large(Some(size)));
    }
    room::make(&app, &stack, &digest.hex, size as u64).await?;
    let key = keys::upload(&stack.id, &digest.hex);
    let signed = app.objects.sign_write(&key, digest.bytes, ADDRESS_GOOD_FOR).await?;
    let (url, headers) = signed.map(|signed| (signed.url, signed.headers)).unzip();
    Ok(Json(Place { url, headers: headers.unwrap_or_default() }))
}

/// `PUT /api/v1/stacks/{slug}/previews/{digest}`: where nothing else takes the archive.
pub(crate) async fn take(
    State(app): State<App>,
    Path((slug, digest)): Path<(String, String)>,
    request: Request,
) -> Answer<StatusCode> {
    let stack = allowed(&app, &slug).await?;
    let digest = Digest::parse(&digest).ok_or_else(no_upload)?;
    let archive = body::to_bytes(request.into_body(), LARGEST).await;
    let archive = archive.map_err(|_| too_large(None))?;
    check_content(digest.clone(), archive.clone()).await?;
    room::make(&app, &stack, &digest.hex, archive.len() as u64).await?;
    app.objects.put(&keys::upload(&stack.id, &digest.hex), archive).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/v1/stacks/{slug}/previews/{digest}/start {"commit"?}`
pub(crate) async fn start(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path((slug, digest)): Path<(String, String)>,
    Body(fields): Body,
) -> Answer<Response> {
    let mut form = Form::new(fields);
    let mut commit = form.choice::<CommitSha>("commit");
    form.check()?;
    let stack = allowed(&app, &slug).await?;
    let digest = Digest::parse(&digest).ok_or_else(no_upload)?;
    if let (Repository::Git(url), None) = (&stack.repository, &commit) {
        commit = Some(stacks::head_of(&app, url, &stack.branch).await?);
    }
    let command = Command::Preview { digest: digest.hex.clone(), commit };
    let check = check_archive(&app, &stack, digest);
    commands::answer(commands::give(&app, &caller, &stack, command, check).await?)
}

/// The stack, if previews of uploaded code may be started for it.
async fn allowed(app: &App, slug: &str) -> Answer<Stack> {
    let stack = stacks::find(app, slug).await?.value;
    if stack.module.is_some() {
        return Err(refuse("The code of a module is tested by its commits, and not previewed."));
    }
    if !stack.settings.local_previews {
        return Err(Refusal::conflict(
            "Not allowed for this stack",
            format!(
                "The stack {} does not allow previews of uploaded code. An admin can allow them in \
                 its settings: Advanced, \"Allow previews of uploaded code\".",
                stack.slug
            ),
        ));
    }
    commands::may_start(app, &stack, RunType::Proposed).await?;
    Ok(stack)
}

/// Refuses what is not there, and what no runner should unpack: storage that signs addresses takes
/// anything.
async fn check_archive(app: &App, stack: &Stack, digest: Digest) -> Answer<()> {
    room::keep(app, &stack.id, &digest.hex).await?;
    let key = keys::upload(&stack.id, &digest.hex);
    let Some(mut reading) = app.objects.read(&key).await? else {
        return Err(refuse("The archive was not uploaded, or it has expired. Upload it again."));
    };
    let size = usize::try_from(reading.size).unwrap_or(usize::MAX);
    if size > LARGEST {
        app.objects.delete(&key).await?;
        return Err(too_large(Some(size)));
    }
    let mut archive = Vec::with_capacity(size);
    while let Some(piece) = reading.stream.next().await {
        archive.extend_from_slice(&piece?);
    }
    check_content(digest, archive.into()).await
}

/// Refuses what is not what its digest says, and what no runner should unpack.
async fn check_content(digest: Digest, archive: Bytes) -> Answer<()> {
    let checked = tokio::task::spawn_blocking(move || match digest.is_of(&archive) {
        true => gantry_package::check(&archive, UNPACKED).map_err(|why| wrong_with(&why)),
        false => Err(unusable("Its content does not match its SHA-256. Upload it again.")),
    });
    checked.await.map_err(|error| Problem::internal(&error))?
}

fn wrong_with(error: &PackageError) -> Refusal {
    match error {
        PackageError::TooLarge(_) => unusable(format!(
            "Unpacked, it may have at most {} MB and {} files, folders and links, with paths of at \
             most {} MB together. Exclude files with .terraformignore.",
            UNPACKED.unpacked / MEGABYTE as u64,
            UNPACKED.files,
            MOST_PATH_BYTES / MEGABYTE
        )),
        PackageError::Unsafe { path, problem } => {
            let path = cut(&visible(path), LONGEST_PATH);
            unusable(format!("It contains \"{path}\", which is {problem}.")).quoting()
        }
        _ => unusable("It is damaged, or not a tar.gz file."),
    }
}

fn unusable(why: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "The archive cannot be used", why)
}

fn too_large(size: Option<usize>) -> Refusal {
    let most = LARGEST / MEGABYTE;
    let is = match size {
        // To the next tenth, so that it is more than what may be.
        Some(size) => format!("{:.1} MB; at", (size as f64 / 1e5).ceil() / 10.0),
        None => "too large: at".to_owned(),
    };
    let detail = format!(
        "The packed folder is {is} most {most} MB can be uploaded. Exclude files with \
         .terraformignore."
    );
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "The packed folder is too large", detail)
}

fn no_upload() -> Refusal {
    Refusal::not_found("upload")
}

/// A SHA-256.
#[derive(Clone)]
struct Digest {
    hex: String,
    bytes: [u8; 32],
}

impl Digest {
    fn parse(text: &str) -> Option<Self> {
        let bytes = hex::decode(text).ok()?.try_into().ok()?;
        (hex::encode(bytes) == text).then(|| Self { hex: text.to_owned(), bytes })
    }

    fn is_of(&self, archive: &[u8]) -> bool {
        Sha256::digest(archive)[..] == self.bytes
    }
}
