//! Which files of a folder are configuration, by each tool's own rule.

use super::{
    blocks::{self, Body, Problem},
    json,
};
use crate::stack::Tool;
use std::collections::BTreeSet;

/// A file of the project root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootFile<'a> {
    /// Its bare name.
    pub name: &'a str,
    /// What it says.
    pub text: &'a str,
}

/// A configuration file that the tool reads.
#[derive(Debug, Clone)]
pub struct Configuration<'a> {
    /// Its bare name.
    pub name: &'a str,
    /// It is merged into what the others say.
    pub is_override: bool,
    /// It is written in JSON, and so are the values of its attributes.
    pub is_json: bool,
    /// What it holds.
    pub body: Body,
    /// Why the tool refuses it, where that was noticed.
    pub problem: Option<Problem>,
}

impl Configuration<'_> {
    /// Whether it is for OpenTofu alone.
    pub fn is_for_opentofu(&self) -> bool {
        split(self.name, Tool::Terraform).is_none()
    }
}

/// The endings that a tool knows. OpenTofu's own win over those that it shares.
fn endings(tool: Tool) -> &'static [&'static str] {
    match tool {
        Tool::Terraform => &[".tf", ".tf.json"],
        Tool::OpenTofu => &[".tofu", ".tofu.json", ".tf", ".tf.json"],
    }
}

/// A name without the ending that makes it configuration, and that ending. Nothing for what
/// editors leave behind, and what is hidden.
fn split(name: &str, tool: Tool) -> Option<(&str, &'static str)> {
    let is_ignored = name.starts_with('.')
        || name.ends_with('~')
        || name.starts_with('#') && name.ends_with('#');
    let ending = endings(tool).iter().find(|ending| name.ends_with(**ending))?;
    let base = name.strip_suffix(ending)?;
    (!is_ignored).then_some((base, *ending))
}

/// Whether a tool would read a file of that name.
pub fn is_configuration(name: &str, tool: Tool) -> bool {
    split(name, tool).is_some()
}

/// What the tool reads, in its order: override files are merged in the order of their names.
pub fn configuration<'a>(files: &[RootFile<'a>], tool: Tool) -> Vec<Configuration<'a>> {
    let names: BTreeSet<_> = files.iter().map(|file| file.name).collect();
    let mut read: Vec<_> = files
        .iter()
        .filter_map(|file| {
            let (base, ending) = split(file.name, tool)?;
            let instead = ending.replace(".tf", ".tofu");
            let is_hidden = tool == Tool::OpenTofu
                && ending.starts_with(".tf")
                && names.contains(format!("{base}{instead}").as_str());
            (!is_hidden).then(|| {
                let is_json = ending.ends_with(".json");
                let (body, problem) = match is_json {
                    true => json::read(file.text),
                    false => blocks::read(file.text),
                };
                let is_override = base == "override" || base.ends_with("_override");
                Configuration { name: file.name, is_override, is_json, body, problem }
            })
        })
        .collect();
    read.sort_by_key(|file| (file.is_override, file.name));
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(tool: Tool, names: &[&'static str]) -> Vec<&'static str> {
        let files: Vec<_> = names.iter().map(|name| RootFile { name, text: "" }).collect();
        configuration(&files, tool).iter().map(|file| file.name).collect()
    }

    #[test]
    fn each_tool_reads_its_own_endings() {
        let all =
            ["b.tf", "a.tf.json", "c.tofu", "d.tofu.json", "e.txt", "tf", ".tfvars", "x.tfvars"];
        assert_eq!(names(Tool::Terraform, &all), ["a.tf.json", "b.tf"]);
        assert_eq!(names(Tool::OpenTofu, &all), ["a.tf.json", "b.tf", "c.tofu", "d.tofu.json"]);
        let left = [".a.tf", "a.tf~", "#a.tf#", ".#a.tf", "a.tftest.hcl"];
        assert_eq!(names(Tool::OpenTofu, &left), Vec::<&str>::new());
    }

    #[test]
    fn an_opentofu_file_hides_the_one_it_shares_the_name_with() {
        let both = ["a.tf", "a.tofu", "a.tf.json", "z_override.tf.json", "z_override.tofu.json"];
        assert_eq!(names(Tool::OpenTofu, &both), ["a.tf.json", "a.tofu", "z_override.tofu.json"]);
        assert_eq!(names(Tool::Terraform, &both), ["a.tf", "a.tf.json", "z_override.tf.json"]);
    }

    #[test]
    fn override_files_come_last_in_the_order_of_their_names() {
        let some = ["override.tf", "z.tf", "a_override.tf", "my-override.tf", "zz_override.tf"];
        let order = ["my-override.tf", "z.tf", "a_override.tf", "override.tf", "zz_override.tf"];
        assert_eq!(names(Tool::Terraform, &some), order);
    }
}
