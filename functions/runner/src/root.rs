//! The project root: whether a run may go on in it, and whether the tool keeps the state where it
//! should. What is decided is [`gantry_domain::root`]'s; here it gets the files.

use crate::{failure::Failure, job::Job};
use gantry_domain::{
    plan::Change,
    root::{self, Admitted, Asked, RootFile},
    run::RunType,
    stack::Tool,
};
use gantry_engine::{
    Terraform,
    files::{self, Folder},
};
use nix::sys::stat::SFlag;
use serde::Deserialize;
use std::{
    collections::BTreeSet,
    fs::{File, Permissions},
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt,
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
        let held = Folder::within(&job.folders.job, &folder)?;
        let mut file = held.create_new(name.as_ref())?;
        file.set_permissions(Permissions::from_mode(0o644))?;
        file.write_all(text.as_bytes())?;
    }
    terraform.var_files = var_files(job, &folder)?;
    Ok(admitted)
}

/// The stack's variable files, each of which has to lie in the source.
pub(crate) fn var_files(job: &Job, folder: &Path) -> Result<Vec<String>, Failure> {
    let own = job.folders.job.canonicalize()?;
    for name in &job.claim.var_files {
        let path = folder.join(name).canonicalize();
        if !path.is_ok_and(|path| path.starts_with(&own) && path.is_file()) {
            return Err(Failure::other(format!("The source has no variable file {name:?}")));
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
    let written = match data_file(job, terraform, "terraform.tfstate") {
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
    if job.claim.tool != Tool::Terraform || change.delta.destroy == 0 || change.refresh_only {
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
            let read = async {
                api.state().await.map_err(|e| Failure::api("The state could not be fetched", e))
            };
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
    let manifest = data_file(job, terraform, "modules/modules.json")
        .ok()
        .and_then(|file| serde_json::from_reader(file.take(LARGEST_FILE)).ok());
    let Some(Manifest { modules }) = manifest else { return Vec::new() };
    let inside =
        |folder| files::within(&job.folders.job, &terraform.folder.join::<PathBuf>(folder));
    let named = modules.into_iter().filter(|module| !module.key.is_empty());
    named
        .filter_map(|Module { key, folder }| {
            let parts: Vec<_> = key.split('.').map(|part| format!("module.{part}")).collect();
            Some((parts.join("."), inside(folder)?))
        })
        .collect()
}

/// Opens a file of the folder where the tool keeps what it knows of the project's.
fn data_file(job: &Job, terraform: &Terraform, name: &str) -> io::Result<File> {
    let named = terraform.environment.get("TF_DATA_DIR").filter(|name| !name.is_empty());
    let folder = terraform.folder.join(named.unwrap_or(".terraform"));
    match folder.starts_with(&terraform.folder) {
        true => job.open_own(&folder.join(name)),
        // The stack's settings name it, no code of the run's.
        false => files::open_regular(&folder, &folder.join(name)),
    }
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
    let held = Folder::within(&job.folders.job, folder)?;
    let mut found = Vec::new();
    for entry in held.names()? {
        let name = entry.to_string_lossy().into_owned();
        let is_folder = held.kind(&entry)? == SFlag::S_IFDIR;
        if root::is_configuration(&name, Tool::OpenTofu) && !is_folder {
            let text = text_of(job, &folder.join(entry))?;
            found.push((name, text));
        }
    }
    found.sort();
    Ok(found)
}

/// What a file says. Links within the run's folder are followed, as the tools do; what is no file of
/// it says nothing.
fn text_of(job: &Job, path: &Path) -> Result<String, Failure> {
    let Ok(file) = path.canonicalize().and_then(|path| job.open_own(&path)) else {
        return Ok(String::new());
    };
    if file.metadata()?.len() > LARGEST_FILE {
        let name = path.file_name().unwrap_or_default();
        return Err(Failure::other(format!("The configuration file {name:?} is too large")));
    }
    let mut body = Vec::new();
    file.take(LARGEST_FILE).read_to_end(&mut body)?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

fn borrowed(files: &[(String, String)]) -> Vec<RootFile<'_>> {
    files.iter().map(|(name, text)| RootFile { name, text }).collect()
}
