//! What is known of a project root before any tool is run in it: whether a run may go on, who
//! keeps its state, and what people should know of it.
//!
//! The tool itself is asked a second time, when it has said which backend it uses: see
//! [`backend_in_use`].

mod arguments;
mod in_use;
mod lasting;
#[cfg(test)]
mod tests;
mod versions;

pub use crate::code::{RootFile, is_configuration};
pub use arguments::not_of_every_command;
pub use in_use::{WrongBackend, backend_in_use};
pub use lasting::{kept_by_code, kept_by_state, remark_on_destroyed};
pub use versions::unenforced_version;

use crate::{
    code::{self, Block, Configuration},
    stack::Tool,
};

/// The name, without its ending, of the file that makes Gantry the keeper of the state. Override
/// files are merged in the order of their names, and this one is to be the last.
const OVERRIDE: &str = "zz_gantry_backend_override";

/// What a run asks of a project root.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The program.
    pub tool: Tool,
    /// Gantry keeps the state.
    pub manage_state: bool,
    /// What it makes is destroyed before it ends, so that no state has to outlive it.
    pub is_test: bool,
    /// The environment that the program gets.
    pub variable: &'a dyn Fn(&str) -> Option<&'a str>,
}

/// How a run may go on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admitted {
    /// The file to write into the project root so that Gantry keeps the state, with its text.
    pub override_file: Option<(String, &'static str)>,
    /// What people should know, one line each.
    pub remarks: Vec<String>,
    /// The plan will not cover the whole configuration.
    pub partial: bool,
}

/// Why a run may not go on. The texts are for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is nothing that the tool would read.
    #[error(
        "No configuration files: the project root has no {0} file, so a plan would destroy \
         everything in the state"
    )]
    NoConfiguration(&'static str),
    /// An override file takes the state away from Gantry.
    #[error(
        "{0} would override Gantry, which stores the state of this stack. Remove the block, or set \
         manage_state to false"
    )]
    TakesState(Place),
    /// A file has the name of ours.
    #[error("{0} has the name of the file that Gantry uses to configure the state. Rename it")]
    NameTaken(String),
    /// Nobody keeps the state.
    #[error(
        "No file in the project root has a backend or cloud block and manage_state is false, so \
         the state would be lost with the run's folder. Add a backend, or set manage_state to true"
    )]
    NoBackend,
    /// The state is kept where it does not last.
    #[error(
        "{0} stores the state in the run's folder, where it would be lost. Use another backend, or \
         set manage_state to true"
    )]
    LocalBackend(Place),
    /// The tool would print JSON, which shows what it hides from people.
    #[error(
        "{0} contains -json, which would log values that the tool otherwise hides, and Gantry \
         needs the normal output. Remove it; `show -json` works in hooks"
    )]
    PrintsJson(&'static str),
}

/// A `backend` or `cloud` block, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    block: String,
    file: String,
    line: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in {} line {}", self.block, self.file, self.line)
    }
}

/// Whether a run may go on in a folder with these files, and who keeps its state.
///
/// # Errors
/// When it may not.
pub fn admit(files: &[RootFile<'_>], asked: &Asked<'_>) -> Result<Admitted, Refusal> {
    let taken = files.iter().find(|file| {
        is_configuration(file.name, Tool::OpenTofu)
            && file.name.starts_with(&format!("{OVERRIDE}."))
    });
    if let Some(file) = taken.filter(|_| asked.manage_state) {
        return Err(Refusal::NameTaken(file.name.to_owned()));
    }
    if let Some(variable) = arguments::prints_json(asked.variable) {
        return Err(Refusal::PrintsJson(variable));
    }
    let configuration = code::configuration(files, asked.tool);
    // What an override file overrides is not there.
    if configuration.iter().all(|file| file.is_override) {
        return Err(Refusal::NoConfiguration(match asked.tool {
            Tool::Terraform => ".tf or .tf.json",
            Tool::OpenTofu => ".tf, .tf.json, .tofu or .tofu.json",
        }));
    }
    let backends = backends(&configuration);
    let mut admitted = Admitted::default();
    if asked.manage_state {
        let (name, text) = override_file(asked.tool);
        if let Some((_, place)) =
            backends.iter().find(|(file, _)| file.is_override && *file.name > *name)
        {
            return Err(Refusal::TakesState(place.clone()));
        }
        admitted.override_file = Some((name, text));
        admitted.remarks.extend(backends.iter().map(|(_, place)| not_used(place)));
    } else if !asked.is_test {
        // The tools let one block win: the last override's, or the only one of the other files.
        match backends.last() {
            None => return Err(Refusal::NoBackend),
            Some((_, place)) if place.block == LOCAL => {
                return Err(Refusal::LocalBackend(place.clone()));
            }
            Some(_) => {}
        }
    }
    narrowed(asked, &mut admitted);
    Ok(admitted)
}

const LOCAL: &str = "backend \"local\"";

/// The file that makes Gantry the keeper, in the form that wins for the tool.
fn override_file(tool: Tool) -> (String, &'static str) {
    let ending = match tool {
        Tool::Terraform => ".tf",
        Tool::OpenTofu => ".tofu",
    };
    (format!("{OVERRIDE}{ending}"), "terraform {\n  backend \"http\" {}\n}\n")
}

fn backends<'a, 'b>(configuration: &'b [Configuration<'a>]) -> Vec<(&'b Configuration<'a>, Place)> {
    let of_file = |file: &'b Configuration<'a>| {
        let of_terraform = |terraform: &'b Block| {
            let body = &terraform.body;
            body.of("backend").chain(body.of("cloud")).map(move |block| {
                let labels: Vec<_> = block.labels.iter().map(|l| format!(" \"{l}\"")).collect();
                let block_name = format!("{}{}", block.kind, labels.concat());
                (file, Place { block: block_name, file: file.name.to_owned(), line: block.line })
            })
        };
        file.body.of("terraform").flat_map(of_terraform).collect::<Vec<_>>()
    };
    configuration.iter().flat_map(of_file).collect()
}

fn not_used(place: &Place) -> String {
    format!(
        "{place} is ignored because Gantry stores the state of this stack. If that backend holds a \
         state, import it first, or set manage_state to false"
    )
}

/// Says what the arguments of the stack's variables do to the plan.
fn narrowed(asked: &Asked<'_>, admitted: &mut Admitted) {
    let flags = arguments::of_plan(asked.variable);
    let said = |narrows: bool| -> Vec<String> {
        let which = |flag: &&arguments::Flag| match narrows {
            true => flag.narrows(),
            false => flag.name == "replace",
        };
        flags.iter().filter(which).map(arguments::Flag::text).collect()
    };
    let (narrows, replaces) = (said(true), said(false));
    if !narrows.is_empty() {
        admitted.partial = true;
        admitted.remarks.push(format!("TF_CLI_ARGS narrows the plan: {}", narrows.join(" ")));
    }
    if !replaces.is_empty() {
        admitted.remarks.push(format!(
            "TF_CLI_ARGS adds {} to every plan. Remove it once that is done",
            replaces.join(" ")
        ));
    }
}

/// What `TF_CLI_ARGS_apply` has to be for an apply to see what its plan saw: none where it may
/// stay as it is.
///
/// Values of ephemeral variables are in no plan file. OpenTofu takes their defaults instead, and
/// says nothing.
pub fn arguments_of_apply(files: &[RootFile<'_>], asked: &Asked<'_>) -> Option<String> {
    if !has_ephemeral_variables(files, asked.tool) {
        return None;
    }
    let lookup = |name: &str| match name {
        "TF_CLI_ARGS" => None,
        name => (asked.variable)(name),
    };
    let values: Vec<_> = arguments::of_plan(&lookup)
        .into_iter()
        .filter(|flag| matches!(flag.name.as_str(), "var" | "var-file"))
        .map(|flag| flag.text())
        .collect();
    if values.is_empty() {
        return None;
    }
    let own = (asked.variable)("TF_CLI_ARGS_apply").unwrap_or_default();
    Some(format!("{own} {}", arguments::joined(&values)).trim().to_owned())
}

/// Whether some input is in no plan file, so that an apply has to be given its value again.
pub fn has_ephemeral_variables(files: &[RootFile<'_>], tool: Tool) -> bool {
    code::configuration(files, tool)
        .iter()
        .any(|file| file.body.of("variable").any(|v| v.body.is_not("ephemeral", "false")))
}
