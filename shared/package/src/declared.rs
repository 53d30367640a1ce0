//! What the files that a tool reads declare together, by that tool's rules.

use crate::{
    json,
    metadata::{Declared, Input, Output, ProviderRequirement},
    native,
};
use gantry_domain::code::{Block, Configuration};
use std::collections::{BTreeMap, BTreeSet};

/// The kinds of blocks whose type names the provider.
const OBJECTS: &[&str] = &["resource", "data", "ephemeral", "action"];
/// The provider that is part of the tools.
const BUILT_IN: &str = "terraform";

/// What the files of a module declare, in the order in which they are merged.
pub(crate) fn read(files: &[Configuration<'_>]) -> Declared {
    Declared {
        inputs: inputs(files),
        outputs: outputs(files),
        providers: Providers::read(files).into_values().collect(),
    }
}

/// Which versions of Terraform the files ask for. An override file's word replaces the others'.
pub(crate) fn required_version(files: &[Configuration<'_>]) -> Option<String> {
    let mut versions = Vec::new();
    for file in files {
        let said: Vec<_> = required_versions(file).collect();
        if file.is_override && !said.is_empty() {
            versions.clear();
        }
        versions.extend(said);
    }
    joined(versions)
}

/// Which versions of OpenTofu the files ask for. It takes what stands in files that Terraform may
/// read, too, for a word to Terraform, and adds all others up.
pub(crate) fn required_opentofu(files: &[Configuration<'_>]) -> Option<String> {
    let said = files.iter().flat_map(|file| {
        let for_it = required_versions(file).filter(|_| file.is_for_opentofu());
        let language = file.body.of("language").flat_map(|block| block.body.of("compatible_with"));
        let said = language.filter_map(|with| Value::of(file, with, "opentofu")?.text());
        for_it.chain(said).collect::<Vec<_>>()
    });
    joined(said.collect())
}

fn required_versions<'a>(file: &'a Configuration<'_>) -> impl Iterator<Item = String> + 'a {
    let blocks = file.body.of("terraform");
    blocks.filter_map(|block| Value::of(file, block, "required_version")?.text())
}

fn joined(versions: Vec<String>) -> Option<String> {
    let mut seen = BTreeSet::new();
    let different: Vec<_> =
        versions.iter().map(String::as_str).filter(|version| seen.insert(*version)).collect();
    Some(different.join(", ")).filter(|said| !said.is_empty())
}

/// A value as it is written.
struct Value<'a> {
    written: &'a str,
    is_json: bool,
}

impl<'a> Value<'a> {
    fn of(file: &Configuration<'_>, block: &'a Block, name: &str) -> Option<Self> {
        Some(Self { written: block.body.get(name)?, is_json: file.is_json })
    }

    fn text(&self) -> Option<String> {
        match self.is_json {
            true => json::text(self.written),
            false => native::text(self.written),
        }
    }

    fn type_of(&self) -> String {
        match self.is_json {
            true => json::type_of(self.written),
            false => native::type_of(self.written),
        }
    }

    fn default(&self) -> String {
        match self.is_json {
            true => json::default(self.written),
            false => native::default(self.written),
        }
    }

    /// What may be true is taken for true: it says that something is not shown.
    fn flag(&self) -> bool {
        let said = match self.is_json {
            true => json::is_true(self.written),
            false => native::is_true(self.written),
        };
        said.unwrap_or(true)
    }

    fn provider(&self, name: &str) -> ProviderRequirement {
        match self.is_json {
            true => json::provider(name, self.written),
            false => native::provider(name, self.written),
        }
    }

    /// The local name in a reference to a provider's configuration (`aws.east`).
    fn provider_name(&self) -> Option<String> {
        let said = self.text()?;
        let name = said.split(['.', '[']).next()?.trim();
        (!name.is_empty()).then(|| name.to_owned())
    }
}

fn labelled<'a>(
    files: &'a [Configuration<'a>],
    kind: &'static str,
) -> impl Iterator<Item = (&'a Configuration<'a>, &'a String, &'a Block)> {
    files.iter().flat_map(move |file| {
        file.body.of(kind).filter_map(move |block| match block.labels.as_slice() {
            [name] => Some((file, name, block)),
            _ => None,
        })
    })
}

/// What a later block says replaces what an earlier one said, attribute by attribute.
fn inputs(files: &[Configuration<'_>]) -> Vec<Input> {
    let mut inputs = BTreeMap::new();
    for (file, name, block) in labelled(files, "variable") {
        let value = |attribute| Value::of(file, block, attribute);
        let input = inputs.entry(name.clone()).or_insert_with(|| Input {
            name: name.clone(),
            required: true,
            ..Input::default()
        });
        if let Some(said) = value("type") {
            input.type_ = Some(said.type_of());
        }
        if let Some(said) = value("description") {
            input.description = said.text();
        }
        if let Some(said) = value("default") {
            input.default = Some(said.default());
            input.required = false;
        }
        if let Some(said) = value("sensitive") {
            input.sensitive = said.flag();
        }
    }
    inputs.into_values().collect()
}

fn outputs(files: &[Configuration<'_>]) -> Vec<Output> {
    let mut outputs = BTreeMap::new();
    for (file, name, block) in labelled(files, "output") {
        let output = outputs
            .entry(name.clone())
            .or_insert_with(|| Output { name: name.clone(), ..Output::default() });
        if let Some(said) = Value::of(file, block, "description") {
            output.description = said.text();
        }
        if let Some(said) = Value::of(file, block, "sensitive") {
            output.sensitive = said.flag();
        }
    }
    outputs.into_values().collect()
}

struct Providers;

impl Providers {
    /// By their local names: what is required, with what `provider` blocks ask for besides, and
    /// what resources need that nobody requires.
    fn read(files: &[Configuration<'_>]) -> BTreeMap<String, ProviderRequirement> {
        let mut found = Self::required(files);
        for (name, versions) in Self::configured(files) {
            let provider = found.entry(name.clone()).or_insert_with(|| named(&name));
            provider.version =
                joined(provider.version.take().into_iter().chain(versions).collect());
        }
        for name in Self::needed(files) {
            if name != BUILT_IN {
                found.entry(name.clone()).or_insert_with(|| named(&name));
            }
        }
        found
    }

    /// An override file's entry takes the place of the whole other one.
    fn required(files: &[Configuration<'_>]) -> BTreeMap<String, ProviderRequirement> {
        let mut required = BTreeMap::new();
        for file in files {
            let blocks = file.body.of("terraform");
            for block in blocks.flat_map(|block| block.body.of("required_providers")) {
                for (name, written) in &block.body.attributes {
                    // Quotes around the name, and comments in JSON.
                    let name = name.trim_matches('"').to_owned();
                    if name != "//" {
                        let value = Value { written, is_json: file.is_json };
                        required.insert(name.clone(), value.provider(&name));
                    }
                }
            }
        }
        required
    }

    /// Which providers have `provider` blocks, and which versions these ask for.
    fn configured(files: &[Configuration<'_>]) -> BTreeMap<String, Vec<String>> {
        let mut configured = BTreeMap::new();
        for (file, name, block) in labelled(files, "provider") {
            let text = |attribute| Value::of(file, block, attribute).and_then(|said| said.text());
            let version: &mut Option<String> =
                configured.entry((name.clone(), text("alias"))).or_default();
            *version = text("version").or(version.take());
        }
        let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for ((name, _), version) in configured {
            versions.entry(name).or_default().extend(version);
        }
        versions
    }

    /// The local names of the providers of resources and the like.
    fn needed(files: &[Configuration<'_>]) -> Vec<String> {
        let mut needed = BTreeMap::new();
        for file in files {
            let in_checks = file.body.of("check").flat_map(|check| check.body.of("data"));
            for block in file.body.blocks.iter().chain(in_checks) {
                let (true, [kind, name]) =
                    (OBJECTS.contains(&block.kind.as_str()), block.labels.as_slice())
                else {
                    continue;
                };
                let said = Value::of(file, block, "provider").and_then(|p| p.provider_name());
                let key = (block.kind.as_str(), kind, name);
                let implied = kind.split('_').next().unwrap_or(kind).to_owned();
                match said {
                    Some(said) => drop(needed.insert(key, said)),
                    None => drop(needed.entry(key).or_insert(implied)),
                }
            }
        }
        needed.into_values().collect()
    }
}

fn named(name: &str) -> ProviderRequirement {
    ProviderRequirement { name: name.to_owned(), ..ProviderRequirement::default() }
}
