//! Which programs are measured: those of this build, and beside them those of another one.

use std::path::PathBuf;

/// One build of Gantry: the folder with its programs.
pub(crate) struct Build(PathBuf);

impl Build {
    /// What is measured in turn: the programs beside this one first, then, where there is one, the
    /// baseline's.
    pub(crate) fn all(baseline: Option<PathBuf>) -> anyhow::Result<Vec<Self>> {
        let own = std::env::current_exe()?.with_file_name("");
        let builds: Vec<Self> = [own].into_iter().chain(baseline).map(Self).collect();
        for build in &builds {
            build.program("gantry")?;
        }
        Ok(builds)
    }

    /// One of its programs.
    pub(crate) fn program(&self, name: &str) -> anyhow::Result<PathBuf> {
        // A program that is started in a folder of its own finds it too.
        let path = std::path::absolute(self.0.join(name))?;
        anyhow::ensure!(path.exists(), "{} is missing: run `make bench`", path.display());
        Ok(path)
    }

    /// That program of each; the baseline may be without it.
    pub(crate) fn each(builds: &[Self], name: &str) -> anyhow::Result<Vec<PathBuf>> {
        let own = builds[0].program(name)?;
        let others = builds[1..].iter().filter_map(|build| build.program(name).ok());
        Ok([own].into_iter().chain(others).collect())
    }

    /// A file of the folder above, which is `target`.
    pub(crate) fn in_target(&self, name: &str) -> PathBuf {
        self.0.join("..").join(name)
    }
}
