//! The local stand-in for Secrets Manager: a JSON file that only its owner may read.

use crate::{SecretError, SecretName, Secrets};
use secrecy::{ExposeSecret as _, SecretString};
use std::{collections::BTreeMap, io::Write as _, path::PathBuf};
use tokio::sync::Mutex;

/// Secrets in a file. A write replaces the file in one step, so that `kill -9` leaves either the
/// old or the new one.
pub struct FileSecrets {
    path: PathBuf,
    lock: Mutex<()>,
}

impl FileSecrets {
    /// Secrets in `path`, which is made by the first write.
    pub fn new(path: PathBuf) -> Self {
        Self { path, lock: Mutex::new(()) }
    }

    fn load(&self) -> Result<BTreeMap<String, String>, String> {
        match std::fs::read(&self.path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|_| {
                format!("{} is not a JSON object with string values", self.path.display())
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(format!("{}: {error}", self.path.display())),
        }
    }

    fn save(&self, all: &BTreeMap<String, String>) -> std::io::Result<()> {
        let folder = self.path.parent().unwrap_or_else(|| std::path::Path::new("."));
        std::fs::create_dir_all(folder)?;
        // A named temporary file is readable by its owner alone.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec_pretty(all)?)?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        Ok(())
    }
}

#[async_trait::async_trait]
impl Secrets for FileSecrets {
    async fn get(&self, name: SecretName) -> Result<Option<SecretString>, SecretError> {
        let _held = self.lock.lock().await;
        let all = self.load().map_err(|problem| SecretError {
            name: name.as_str(),
            attempted: "read",
            problem,
        })?;
        Ok(all.get(name.as_str()).map(|value| SecretString::from(value.clone())))
    }

    async fn put(&self, name: SecretName, value: &SecretString) -> Result<(), SecretError> {
        let _held = self.lock.lock().await;
        let failed = |problem| SecretError { name: name.as_str(), attempted: "written", problem };
        let mut all = self.load().map_err(failed)?;
        all.insert(name.as_str().to_owned(), value.expose_secret().to_owned());
        self.save(&all).map_err(|error| failed(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[tokio::test]
    async fn secrets_stay_and_only_the_owner_reads_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.json");
        let first = FileSecrets::new(path.clone());
        let made = first.get_or_make(SecretName::AdminKey, crate::random_secret).await.unwrap();
        let again = FileSecrets::new(path.clone());
        let found = again.get_or_make(SecretName::AdminKey, crate::random_secret).await.unwrap();
        assert_eq!(made.expose_secret(), found.expose_secret());
        assert!(again.get(SecretName::ApiToken).await.unwrap().is_none());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_broken_file_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.json");
        std::fs::write(&path, "{").unwrap();
        let secrets = FileSecrets::new(path.clone());
        assert!(secrets.put(SecretName::ApiToken, &"x".into()).await.is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{");
    }
}
