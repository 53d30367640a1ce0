//! The backend that the tool says it uses: `terraform.tfstate` in its data folder, after init.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The tool does not use the backend that it should. The texts are for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WrongBackend {
    /// Gantry does not keep the state.
    #[error(
        "Nothing was planned: after init, the state would be stored in {0} instead of Gantry. \
         Something in the code, a hook or TF_CLI_ARGS_init changes the backend"
    )]
    NotGantry(String),
    /// Settings of Gantry's backend come from somewhere else.
    #[error(
        "Nothing was planned: after init, Gantry's backend has settings that are not Gantry's \
         ({0}). Something in the code, a hook or TF_CLI_ARGS_init changes the backend"
    )]
    Settings(String),
    /// The state does not last.
    #[error(
        "Nothing was planned: after init, the state would be stored in {0} and lost with the run's \
         folder. Use another backend, or set manage_state to true"
    )]
    NotLasting(String),
    /// What it says cannot be read.
    #[error("Nothing was planned: the tool does not report which backend it uses")]
    Unreadable,
}

#[derive(Deserialize)]
struct DataFile {
    backend: Option<InUse>,
}

#[derive(Deserialize)]
struct InUse {
    #[serde(rename = "type")]
    kind: String,
    config: Option<BTreeMap<String, Value>>,
}

/// Looks at what the tool wrote of its backend; nothing where it wrote nothing, which means its
/// own folder.
///
/// # Errors
/// When the state of a run would not be kept where it should.
pub fn backend_in_use(written: Option<&[u8]>, manage_state: bool) -> Result<(), WrongBackend> {
    let backend = match written {
        None => None,
        Some(body) => {
            let file: DataFile =
                serde_json::from_slice(body).map_err(|_| WrongBackend::Unreadable)?;
            file.backend.filter(|backend| !backend.kind.is_empty())
        }
    };
    let local = || "the local folder".to_owned();
    let name = |kind: &str| format!("backend {:?}", kind.chars().take(40).collect::<String>());
    match (backend, manage_state) {
        (None, true) => Err(WrongBackend::NotGantry(local())),
        (None, false) => Err(WrongBackend::NotLasting(local())),
        (Some(backend), true) if backend.kind != "http" => {
            Err(WrongBackend::NotGantry(name(&backend.kind)))
        }
        (Some(backend), true) => {
            let foreign: Vec<_> = backend
                .config
                .into_iter()
                .flatten()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, _)| name)
                .collect();
            match foreign.is_empty() {
                true => Ok(()),
                false => Err(WrongBackend::Settings(foreign.join(", "))),
            }
        }
        (Some(backend), false) if matches!(backend.kind.as_str(), "local" | "inmem") => {
            Err(WrongBackend::NotLasting(name(&backend.kind)))
        }
        (Some(_), false) => Ok(()),
    }
}
