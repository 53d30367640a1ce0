//! What the story has outside of Gantry and of any cloud: objects that are files, and their provider.

use crate::HostConfig;
use anyhow::Context as _;
use gantry_domain::stack::Tool;
use gantry_engine::tool;
use gantry_terraform::{
    TEST_PROVIDER_PROGRAM, mirror_config, test_provider_code, test_provider_mirror,
};
use std::{fs, path::PathBuf};

/// The folder, and how a stack gets at it.
pub(crate) struct Outside {
    /// Where the objects lie.
    pub(crate) objects: PathBuf,
    /// The tools' configuration that has the provider.
    pub(crate) config: PathBuf,
    /// The tool can invoke actions.
    pub(crate) has_actions: bool,
}

impl Outside {
    /// An empty one beside the data folder, which the host's runs may reach from now on.
    ///
    /// # Errors
    /// When it cannot be made, or the provider was not built.
    pub(crate) async fn new(config: &mut HostConfig, tool: Tool) -> anyhow::Result<Self> {
        let folder = config.data_dir.with_file_name("demo-outside");
        let objects = folder.join("objects");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&objects)?;
        let folder = folder.canonicalize()?;
        let program = std::env::current_exe()?.with_file_name(TEST_PROVIDER_PROGRAM);
        let mirror = test_provider_mirror(&program).with_context(|| {
            format!("{} is not there; `make demo` builds it", program.display())
        })?;
        let file = folder.join("terraform.rc");
        fs::write(&file, mirror_config(&mirror))?;
        let objects = folder.join("objects");
        config.reach.may_read.extend([mirror, file.clone()]);
        config.reach.may_write.push(objects.clone());
        let version = tool::version_on_path(tool, &config.path).await?;
        Ok(Self { objects, config: file, has_actions: knows_actions(tool, &version) })
    }

    /// The code that names the provider.
    pub(crate) fn provider(&self) -> String {
        test_provider_code(&self.objects)
    }

    /// What is in the object's file.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn read(&self, id: &str) -> anyhow::Result<String> {
        let file = self.objects.join(id);
        fs::read_to_string(&file).with_context(|| file.display().to_string())
    }

    /// Changes it by hand.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn edit(&self, id: &str, what: &str, with: &str) -> anyhow::Result<()> {
        fs::write(self.objects.join(id), self.read(id)?.replace(what, with))?;
        Ok(())
    }
}

/// Terraform has them from 1.14 on.
fn knows_actions(tool: Tool, version: &str) -> bool {
    let mut numbers = version.split(['.', '-']).map(str::parse::<u32>);
    match (tool, numbers.next(), numbers.next()) {
        (Tool::Terraform, Some(Ok(1)), Some(Ok(minor))) => minor >= 14,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terraform_knows_actions_from_1_14_on() {
        for (tool, version, knows) in [
            (Tool::Terraform, "1.11.4", false),
            (Tool::Terraform, "1.14.0", true),
            (Tool::Terraform, "1.15.0-rc1", true),
            (Tool::OpenTofu, "1.14.0", false),
        ] {
            assert_eq!(knows_actions(tool, version), knows, "{tool:?} {version}");
        }
    }
}
