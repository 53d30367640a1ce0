//! The project root: whether a run may go on in it, and whether the tool keeps the state where it
//! should. What is decided is [`gantry_domain::root`]'s; here it gets the files.

use crate::{failure::Failure, job::Job};
use gantry_domain::{
    plan::Change,
    root::{self, Admitted, Asked, RootFile},
    run::RunType,
    stack::Tool,
};
use gantry_engine::{Terraform, files};
use nix::fcntl::OFlag;
use serde::Deserialize;
use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Larger configuration files than this are not read.
const LARGEST_FILE: u64 = 16 << 20;

/// Decides whether the run may go on, after the hooks that may generate code and before init, and
/// makes Gantry the keeper of the state where it is.
pub(crate) fn admit(job: &Job, terraform: &mut Terraform) -> Result<Admitted, Failure> {
    // A hook may have put something else in its place.
    let folder = job.project_root()?;
    let files = configuration(job, &folder)?;
    let admitted = with_asked(job, terraform, |asked| root::admit(&borrowed(&files), asked))
        .map_err(|refusal| Failure::other(refusal.to_string()))?;
    for remark in &admitted.remarks {
        job.log.say(remark);
    }
    if let Some((name, text)) = &admitted.override_file {
        // Whatever has the name was refused, also a link.
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).open(folder.join(name))?.write_all(text.as_bytes())?;
    }
    terraform.var_files = var_files(job, &folder)?;
    Ok(admitted)
}

/// The stack's variable files, each of which has to lie in the source.
pub(crate) fn var_files(job: &Job, folder: &Path) -> Result<Vec<String>, Failure> {
    let workspace = job.folders.workspace().canonicalize()?;
    for name in &job.claim.var_files {
        let path = folder.join(name).canonicalize();
        if !path.is_ok_and(|path| path.starts_with(&workspace) && path.is_file()) {
            return Err(Failure::other(format!("the source has no variable file {name:?}")));
        }
    }
    Ok(job.claim.var_files.clone())
}

/// The tool as the apply of a saved plan needs it: with the values that no plan file holds.
pub(crate) fn for_apply(job: &Job, terraform: &Terraform) -> Result<Terraform, Failure> {
    let mut terraform = terraform.clone();
    let files = configuration(job, &terraform.folder)?;
    let files = borrowed(&files);
    terraform.var_files = match root::has_ephemeral_variables(&files, job.claim.tool) {
        true => var_files(job, &terraform.folder)?,
        false => Vec::new(),
    };
    let arguments = with_asked(job, &terraform, |asked| root::arguments_of_apply(&files, asked));
    if let Some(arguments) = arguments {
        terraform.environment.set("TF_CLI_ARGS_apply", arguments);
    }
    Ok(terraform)
}

/// Asks the tool itself where it keeps the state, before anything is planned or applied.
pub(crate) fn check_backend(job: &Job, terraform: &Terraform) -> Result<(), Failure> {
    if is_test(job) && !job.claim.manage_state {
        return Ok(());
    }
    let path = data_folder(terraform).join("terraform.tfstate");
    let written = match files::open_regular(&path) {
        Ok(file) => {
            let mut body = Vec::new();
            file.take(LARGEST_FILE).read_to_end(&mut body)?;
            Some(body)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    root::backend_in_use(written.as_deref(), job.claim.manage_state)
        .map_err(|wrong| Failure::other(wrong.to_string()))
}

/// Says what a plan destroys that was not to be destroyed. OpenTofu leaves it in place itself.
pub(crate) async fn remark_on_destroyed(
    job: &mut Job,
    terraform: &Terraform,
    change: &mut Change,
) -> Result<(), Failure> {
    if job.claim.tool != Tool::Terraform || change.delta.destroy == 0 {
        return Ok(());
    }
    let files = configuration(job, &terraform.folder)?;
    let mut by_code = root::kept_by_code(&borrowed(&files), "", job.claim.tool);
    for (module, folder) in modules(job, terraform) {
        let files = configuration(job, &folder)?;
        by_code.append(&mut root::kept_by_code(&borrowed(&files), &module, job.claim.tool));
    }
    let by_state = match job.claim.manage_state {
        true => {
            let api = job.api.clone();
            let read =
                async { api.state().await.map_err(|e| Failure::api("The state cannot be had", e)) };
            let state = job.or_stop(read).await?;
            state.map(|state| root::kept_by_state(&state)).unwrap_or_default()
        }
        false => BTreeSet::new(),
    };
    if let Some(remark) = root::remark_on_destroyed(change, &by_code, &by_state) {
        job.log.say(&remark);
        change.remarks.insert(0, remark);
    }
    Ok(())
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(rename = "Modules", default)]
    modules: Vec<Module>,
}

#[derive(Deserialize)]
struct Module {
    #[serde(rename = "Key", default)]
    key: String,
    #[serde(rename = "Dir", default)]
    folder: PathBuf,
}

/// The modules that init installed, by address, as far as they lie in the run's workspace.
fn modules(job: &Job, terraform: &Terraform) -> Vec<(String, PathBuf)> {
    let path = data_folder(terraform).join("modules/modules.json");
    let manifest = files::open_regular(&path)
        .ok()
        .and_then(|file| serde_json::from_reader(file.take(LARGEST_FILE)).ok());
    let (Some(Manifest { modules }), Ok(workspace)) =
        (manifest, job.folders.workspace().canonicalize())
    else {
        return Vec::new();
    };
    let inside = |folder: PathBuf| {
        let folder = terraform.folder.join(folder).canonicalize().ok()?;
        (folder.starts_with(&workspace) && folder.is_dir()).then_some(folder)
    };
    let named = modules.into_iter().filter(|module| !module.key.is_empty());
    named
        .filter_map(|Module { key, folder }| {
            let parts: Vec<_> = key.split('.').map(|part| format!("module.{part}")).collect();
            Some((parts.join("."), inside(folder)?))
        })
        .collect()
}

/// Where the tool keeps what it knows of the folder.
fn data_folder(terraform: &Terraform) -> PathBuf {
    let named = terraform.environment.get("TF_DATA_DIR").filter(|name| !name.is_empty());
    terraform.folder.join(named.unwrap_or(".terraform"))
}

fn is_test(job: &Job) -> bool {
    job.claim.run_type == RunType::Test
}

fn with_asked<T>(job: &Job, terraform: &Terraform, then: impl FnOnce(&Asked<'_>) -> T) -> T {
    then(&Asked {
        tool: job.claim.tool,
        manage_state: job.claim.manage_state,
        is_test: is_test(job),
        variable: &|name| terraform.environment.get(name),
    })
}

/// The files of a folder that either tool may read as configuration, with their texts.
fn configuration(job: &Job, folder: &Path) -> Result<Vec<(String, String)>, Failure> {
    let workspace = job.folders.workspace().canonicalize()?;
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if root::is_configuration(&name, Tool::OpenTofu) && !entry.file_type()?.is_dir() {
            let text = text_of(&entry.path(), &workspace)?;
            found.push((name, text));
        }
    }
    found.sort();
    Ok(found)
}

/// What a file says. Links within the source are followed, as the tools do; what is no file of it
/// says nothing.
fn text_of(path: &Path, workspace: &Path) -> Result<String, Failure> {
    let Ok(path) = path.canonicalize() else { return Ok(String::new()) };
    if !path.starts_with(workspace) {
        return Ok(String::new());
    }
    let flags = OFlag::O_NONBLOCK.bits();
    let Ok(file) = File::options().read(true).custom_flags(flags).open(&path) else {
        return Ok(String::new());
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(String::new());
    }
    if metadata.len() > LARGEST_FILE {
        let name = path.file_name().unwrap_or_default();
        return Err(Failure::other(format!("the configuration file {name:?} is too large")));
    }
    let mut body = Vec::new();
    file.take(LARGEST_FILE).read_to_end(&mut body)?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

fn borrowed(files: &[(String, String)]) -> Vec<RootFile<'_>> {
    files.iter().map(|(name, text)| RootFile { name, text }).collect()
}
