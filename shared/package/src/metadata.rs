//! What a module says about itself: read from the files of its own folder, not of those below.

use crate::{archive::Module, error, hcl, json};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, io, panic::resume_unwind, path::Path, thread};

/// How much of a README is kept, in bytes.
const README: usize = 256 << 10;
/// The stack of the thread that parses. The parser goes 64 levels deep before it gives up, which
/// takes up to 4 MiB without optimization: more than a thread has that nobody asked.
const STACK: usize = 16 << 20;

/// What a module says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// Its variables, by name.
    pub inputs: Vec<Input>,
    /// Its outputs, by name.
    pub outputs: Vec<Output>,
    /// The providers that it requires, by their local names.
    pub providers: Vec<ProviderRequirement>,
    /// Which versions of Terraform or OpenTofu it works with.
    pub required_version: Option<String>,
    /// Its README, as Markdown; the beginning of one that is too long.
    pub readme: Option<String>,
    /// What could not be read or was left out, for people.
    pub problems: Vec<String>,
}

/// A variable.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// What it is.
    pub description: Option<String>,
    /// True when its value is not shown.
    pub sensitive: bool,
}

/// A provider that the module requires.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProviderRequirement {
    /// What the module calls it.
    pub name: String,
    /// Where it comes from, as it is written (`hashicorp/aws`).
    pub source: Option<String>,
    /// Which versions of it the module works with.
    pub version: Option<String>,
}

/// Why one file tells nothing.
pub(crate) struct Unparsable {
    pub(crate) line: usize,
    pub(crate) message: String,
}

/// Reads a module's metadata; none when the folder has no file with code.
pub(crate) fn read(module: &Module, largest: u64) -> io::Result<Option<Metadata>> {
    thread::scope(|scope| {
        let reader = thread::Builder::new().stack_size(STACK);
        let read = reader.spawn_scoped(scope, || read_here(module, largest))?;
        Ok(read.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

fn read_here(module: &Module, largest: u64) -> Option<Metadata> {
    let mut declared = Declared::default();
    for path in &module.left_out {
        let path = path.display();
        declared
            .problems
            .push(format!("{path} is a link that may lead out of the module: it is left out"));
    }
    let names = module.entries.keys().filter(|path| path.components().count() == 1);
    let names: Vec<&str> = names.filter_map(|path| path.to_str()).collect();
    let mut code: Vec<CodeFile<'_>> = names.iter().copied().filter_map(CodeFile::named).collect();
    code.retain(|file| module.body(Path::new(file.name)).is_some());
    if code.is_empty() {
        return None;
    }
    code.sort();
    for file in code {
        let Some(text) = declared.text(module, file.name, largest) else { continue };
        let read = std::str::from_utf8(text)
            .map_err(|error| Unparsable {
                line: 1 + text[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count(),
                message: "this is not UTF-8".to_owned(),
            })
            .map(|text| text.strip_prefix('\u{feff}').unwrap_or(text))
            .and_then(|text| match file.is_json {
                true => json::read(text, &mut declared),
                false => hcl::read(text, &mut declared),
            });
        if let Err(Unparsable { line, message }) = read {
            declared.problems.push(format!("{} line {line}: {message}", file.name));
        }
    }
    let readme = readme(&names).and_then(|name| declared.text(module, name, largest)).map(cut);
    Some(declared.into_metadata(readme))
}

/// A file with code. They are ordered as they have to be read: what is read later overrides.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct CodeFile<'a> {
    /// Terraform and OpenTofu merge these into what the others say.
    is_override: bool,
    /// OpenTofu prefers these.
    is_tofu: bool,
    name: &'a str,
    is_json: bool,
}

impl<'a> CodeFile<'a> {
    /// None for what Terraform does not read, an editor's files among it.
    fn named(name: &'a str) -> Option<Self> {
        let (plain, is_json) = match name.strip_suffix(".json") {
            Some(plain) => (plain, true),
            None => (name, false),
        };
        let (stem, is_tofu) = match plain.strip_suffix(".tofu") {
            Some(stem) => (stem, true),
            None => (plain.strip_suffix(".tf")?, false),
        };
        if stem.is_empty() || stem.starts_with('.') {
            return None;
        }
        let is_override = stem == "override" || stem.ends_with("_override");
        Some(Self { is_override, is_tofu, name, is_json })
    }
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
        "{beginning}\n\n*The rest is left out: it is longer than {}.*\n",
        error::bytes(README as u64)
    )
}

/// What the files said so far. A second word on the same thing adds to the first and overrides it.
#[derive(Default)]
pub(crate) struct Declared {
    inputs: BTreeMap<String, Input>,
    outputs: BTreeMap<String, Output>,
    providers: BTreeMap<String, ProviderRequirement>,
    versions: Vec<String>,
    problems: Vec<String>,
}

impl Declared {
    /// Whether it is required is decided here.
    pub(crate) fn input(&mut self, said: Input) {
        let known = self.inputs.entry(said.name.clone()).or_default();
        *known = Input {
            name: said.name,
            type_: said.type_.or(known.type_.take()),
            description: said.description.or(known.description.take()),
            default: said.default.or(known.default.take()),
            required: false,
            sensitive: said.sensitive || known.sensitive,
        };
        known.required = known.default.is_none();
    }

    pub(crate) fn output(&mut self, said: Output) {
        let known = self.outputs.entry(said.name.clone()).or_default();
        *known = Output {
            name: said.name,
            description: said.description.or(known.description.take()),
            sensitive: said.sensitive || known.sensitive,
        };
    }

    pub(crate) fn provider(&mut self, said: ProviderRequirement) {
        let known = self.providers.entry(said.name.clone()).or_default();
        *known = ProviderRequirement {
            name: said.name,
            source: said.source.or(known.source.take()),
            version: said.version.or(known.version.take()),
        };
    }

    /// Every requirement holds, whichever file says it.
    pub(crate) fn required_version(&mut self, said: String) {
        if !self.versions.contains(&said) {
            self.versions.push(said);
        }
    }

    /// The body of a file, or a problem when it is too large to be read.
    fn text<'a>(&mut self, module: &'a Module, name: &str, largest: u64) -> Option<&'a [u8]> {
        let body = module.body(Path::new(name))?;
        if body.len() as u64 > largest {
            let largest = error::bytes(largest);
            self.problems.push(format!("{name} is larger than {largest}: it is not read"));
            return None;
        }
        Some(body)
    }

    fn into_metadata(self, readme: Option<String>) -> Metadata {
        Metadata {
            inputs: self.inputs.into_values().collect(),
            outputs: self.outputs.into_values().collect(),
            providers: self.providers.into_values().collect(),
            required_version: Some(self.versions.join(", ")).filter(|said| !said.is_empty()),
            readme,
            problems: self.problems,
        }
    }
}
