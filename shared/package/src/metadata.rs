//! What a module says about itself: read from the files of its own folder, not of those below.

use crate::{Limits, archive::Module, declared, error};
use gantry_domain::{
    code::{self, Configuration, Problem, RootFile},
    stack::Tool,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    path::Path,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
};

/// How much of a README is kept, in bytes.
const README: usize = 256 << 10;
/// How much code is read in all, in bytes.
const CODE: usize = 16 << 20;

/// What a module says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "ModuleCode")]
pub struct Metadata {
    /// Its variables, by name.
    pub inputs: Vec<Input>,
    /// Its outputs, by name.
    pub outputs: Vec<Output>,
    /// The providers that it requires, by their local names.
    pub providers: Vec<ProviderRequirement>,
    /// Which versions of Terraform it works with.
    pub required_version: Option<String>,
    /// Which versions of OpenTofu it works with: what OpenTofu looks at since 1.12.
    pub required_opentofu: Option<String>,
    /// What OpenTofu reads, where that is something else than what Terraform reads, which is
    /// above.
    pub opentofu: Option<Declared>,
    /// Its README, as Markdown; the beginning of one that is too long.
    pub readme: Option<String>,
    /// What could not be read or was left out, for people.
    pub problems: Vec<String>,
}

/// What the code declares as one tool reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "ModuleDeclarations")]
pub struct Declared {
    /// Its variables, by name.
    pub inputs: Vec<Input>,
    /// Its outputs, by name.
    pub outputs: Vec<Output>,
    /// The providers that it requires, by their local names.
    pub providers: Vec<ProviderRequirement>,
}

/// A variable.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "ModuleInput")]
pub struct Input {
    /// Its name.
    pub name: String,
    /// The type as it is written, without needless space. Lines stay lines: they divide the
    /// attributes of an object.
    #[serde(rename = "type")]
    pub type_: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// The default as it is written (HCL), or as JSON.
    pub default: Option<String>,
    /// True when it has no default.
    pub required: bool,
    /// True when its value is not shown.
    pub sensitive: bool,
}

/// An output.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "ModuleOutput")]
pub struct Output {
    /// Its name.
    pub name: String,
    /// What it is.
    pub description: Option<String>,
    /// True when its value is not shown.
    pub sensitive: bool,
}

/// A provider that the module requires.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ProviderRequirement {
    /// What the module calls it.
    pub name: String,
    /// Where it comes from, as it is written (`hashicorp/aws`); one of `hashicorp` where nothing
    /// is.
    pub source: Option<String>,
    /// Which versions of it the module works with.
    pub version: Option<String>,
}

/// Reads a module's metadata for as long as the limits allow; none when the folder has no file
/// with code.
pub(crate) fn read_in_time(module: &Arc<Module>, limits: Limits) -> Option<Metadata> {
    code_files(module).next()?;
    let (sender, receiver) = mpsc::channel();
    let read_here = Arc::clone(module);
    // One that takes longer is left to itself: it ends, since the code that it reads is bounded.
    thread::spawn(move || {
        let metadata = read(&read_here, limits.file);
        // Nobody waits for it any more.
        let _given_up = sender.send(metadata);
    });
    let metadata = receiver.recv_timeout(limits.time).unwrap_or_else(|failed| {
        let why = match failed {
            RecvTimeoutError::Timeout => {
                format!("reading it took longer than {} seconds", limits.time.as_secs_f64())
            }
            RecvTimeoutError::Disconnected => "it cannot be read".to_owned(),
        };
        let problems = vec![format!("The code is not shown: {why}")];
        Metadata { problems, ..Metadata::default() }
    });
    Some(metadata)
}

/// The names in the module's own folder.
fn names(module: &Module) -> impl Iterator<Item = &str> {
    let here = module.entries.keys().filter(|path| path.components().count() == 1);
    here.filter_map(|path| path.to_str())
}

/// The files with code: OpenTofu reads what Terraform reads, and more.
fn code_files(module: &Module) -> impl Iterator<Item = (&str, &[u8])> {
    let named = names(module).filter(|name| code::is_configuration(name, Tool::OpenTofu));
    named.filter_map(|name| Some((name, module.body(Path::new(name))?)))
}

fn read(module: &Module, largest: u64) -> Metadata {
    let mut problems = Vec::new();
    for path in &module.left_out {
        let path = path.display();
        problems.push(format!(
            "{path} was left out because it is a link that may lead outside the module"
        ));
    }
    let mut files = Vec::new();
    let mut of_files = Vec::new();
    let mut left = CODE;
    for (name, body) in code_files(module) {
        let body = match left.checked_sub(body.len()) {
            _ if body.len() as u64 > largest => Err(too_large(name, largest)),
            None => Err(format!(
                "{name} was not read because with it the code would be larger than {}",
                error::bytes(CODE as u64)
            )),
            Some(rest) => {
                left = rest;
                utf8(name, body)
            }
        };
        // One that is not read still stands in the place of another.
        let text = body.unwrap_or_else(|problem| {
            of_files.push((name, problem));
            ""
        });
        files.push(RootFile { name, text });
    }
    let terraform = code::configuration(&files, Tool::Terraform);
    let is_shared = files.iter().all(|file| code::is_configuration(file.name, Tool::Terraform));
    let own = (!is_shared).then(|| code::configuration(&files, Tool::OpenTofu));
    let opentofu = own.as_ref().unwrap_or(&terraform);
    let noticed = terraform.iter().chain(own.iter().flatten());
    of_files.extend(noticed.filter_map(|Configuration { name, problem, .. }| {
        let Problem { line, message } = problem.as_ref()?;
        Some((*name, format!("{name} line {line}: {message}")))
    }));
    of_files.sort_by_key(|(name, _)| *name);
    of_files.dedup();
    problems.extend(of_files.into_iter().map(|(_, problem)| problem));
    let readme = readme(&names(module).collect::<Vec<_>>())
        .and_then(|name| Some((name, module.body(Path::new(name))?)))
        .and_then(|(name, body)| match body.len() as u64 > largest {
            true => {
                problems.push(too_large(name, largest));
                None
            }
            false => Some(cut(body)),
        });
    let Declared { inputs, outputs, providers } = declared::read(&terraform);
    let other = own.as_ref().map(|own| declared::read(own)).filter(|other| {
        (&other.inputs, &other.outputs, &other.providers) != (&inputs, &outputs, &providers)
    });
    Metadata {
        inputs,
        outputs,
        providers,
        required_version: declared::required_version(&terraform),
        required_opentofu: declared::required_opentofu(opentofu),
        opentofu: other,
        readme,
        problems,
    }
}

fn too_large(name: &str, largest: u64) -> String {
    format!("{name} was not read because it is larger than {}", error::bytes(largest))
}

fn utf8<'a>(name: &str, body: &'a [u8]) -> Result<&'a str, String> {
    std::str::from_utf8(body).map_err(|error| {
        let good = body.get(..error.valid_up_to()).unwrap_or_default();
        let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
        format!("{name} line {line}: not valid UTF-8")
    })
}

fn readme<'a>(names: &[&'a str]) -> Option<&'a str> {
    let called =
        |wanted: &str| names.iter().copied().find(|name: &&str| name.eq_ignore_ascii_case(wanted));
    called("README.md").or_else(|| called("README"))
}

fn cut(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    if text.len() <= README {
        return text.into_owned();
    }
    let beginning = &text[..text.floor_char_boundary(README)];
    format!(
        "{beginning}\n\n*The rest was left out because the file is longer than {}.*\n",
        error::bytes(README as u64)
    )
}
