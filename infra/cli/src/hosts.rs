//! The Gantries that a user has logged in to: addresses and keys, in a file that only the user can
//! read.

use crate::{address::Base, args::Reach, error::Error};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// Their folder, in the one for settings of the user.
pub(crate) const FOLDER: &str = "gantry";
const FILE: &str = "hosts.json";
/// Held while the file is changed.
const LOCK: &str = "hosts.lock";

/// All of them, by address.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Hosts {
    /// The one that commands talk to.
    pub(crate) current: Option<String>,
    #[serde(default)]
    pub(crate) hosts: BTreeMap<String, Host>,
}

/// One of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Host {
    #[serde(serialize_with = "exposed")]
    pub(crate) key: SecretString,
    /// It was said that http is good enough.
    #[serde(default)]
    pub(crate) insecure_http: bool,
    /// Certificates to trust besides the system's own.
    #[serde(default)]
    pub(crate) ca_file: Option<PathBuf>,
}

fn exposed<S: Serializer>(key: &SecretString, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(key.expose_secret())
}

/// Which Gantry a command talks to, and how.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) base: Base,
    pub(crate) key: SecretString,
    /// The key is from `GANTRY_KEY`.
    pub(crate) key_is_given: bool,
    pub(crate) ca_file: Option<PathBuf>,
}

/// What the environment says, which takes precedence over the file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given {
    pub(crate) url: Option<String>,
    pub(crate) key: Option<SecretString>,
}

/// Whether the file that keys are in is called so, wherever it was copied to.
pub(crate) fn is_key_file(path: &Path) -> bool {
    path.ends_with(Path::new(FOLDER).join(FILE))
}

impl Hosts {
    /// Reads the file; nothing where there is none yet.
    pub(crate) fn load(folder: Option<&Path>) -> Result<Self, Error> {
        let Some(folder) = folder else { return Ok(Self::default()) };
        let path = folder.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Error::file("read", &path, &error)),
        };
        refuse_open_to_others(&path)?;
        // The error's own text may show a part of the key.
        serde_json::from_slice(&text).map_err(|error| {
            Error::Failed(format!(
                "{} cannot be read as JSON (line {}). Delete it, then run `gantry login`.",
                path.display(),
                error.line()
            ))
        })
    }

    /// Writes the file: it is there as a whole or not at all, and only its owner can read it.
    pub(crate) fn save(&self, folder: Option<&Path>) -> Result<(), Error> {
        let folder = folder.ok_or_else(|| {
            Error::Failed(
                "No folder for settings was found: set HOME, or use GANTRY_URL and GANTRY_KEY."
                    .into(),
            )
        })?;
        let path = folder.join(FILE);
        let written = make_private(folder).and_then(|()| {
            // tempfile's files are their owner's alone.
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            serde_json::to_writer_pretty(&mut file, self)?;
            file.write_all(b"\n")?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            Ok(())
        });
        written.map_err(|error| Error::file("write", &path, &error))
    }

    /// Changes what is stored: one process after the other, each on top of what the one before it
    /// wrote.
    pub(crate) fn change<T>(
        folder: Option<&Path>,
        change: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let lock = match folder {
            Some(folder) => {
                let path = folder.join(LOCK);
                let locked = make_private(folder).and_then(|()| {
                    let file = fs::File::options();
                    let file = file.clone().create(true).append(true).open(&path)?;
                    file.lock()?;
                    Ok(file)
                });
                Some(locked.map_err(|error| Error::file("lock", &path, &error))?)
            }
            None => None,
        };
        let mut hosts = Self::load(folder)?;
        let changed = change(&mut hosts)?;
        hosts.save(folder)?;
        // Whoever waits may go on.
        drop(lock);
        Ok(changed)
    }

    /// Forgets one, the current one by default; which one that was.
    pub(crate) fn remove(&mut self, url: Option<&str>) -> Result<String, Error> {
        let known = self.known();
        let address = match url {
            Some(url) => Base::parse(url, true)?.to_string(),
            None => self.current.clone().ok_or_else(|| no_host(&known))?,
        };
        if self.hosts.remove(&address).is_none() {
            return Err(Error::Failed(format!("You are not logged in to {address}.{known}")));
        }
        if self.current.as_ref() == Some(&address) {
            // Which of several comes next is for a person to say.
            self.current = match self.hosts.keys().collect::<Vec<_>>()[..] {
                [only] => Some(only.clone()),
                _ => None,
            };
        }
        Ok(address)
    }

    /// Which one to talk to. The address of a page chooses among those that are stored, unless the
    /// environment says something.
    pub(crate) fn choose(
        &self,
        given: &Given,
        page: Option<&str>,
        reach: &Reach,
    ) -> Result<Chosen, Error> {
        if given.key.is_some() && given.url.is_none() {
            return Err(Error::Usage(
                "GANTRY_KEY is set, and GANTRY_URL is not: a key goes only where it belongs. Set \
                 both, or neither."
                    .into(),
            ));
        }
        let of_page = page.filter(|page| {
            given.url.is_none() && given.key.is_none() && self.hosts.contains_key(*page)
        });
        let text = given.url.as_deref().or(of_page).or(self.current.as_deref());
        let text = text.ok_or_else(|| no_host(&self.known()))?;
        let stored = Base::parse(text, true).ok().and_then(|base| self.hosts.get(base.as_str()));
        let insecure = reach.insecure_http || stored.is_some_and(|host| host.insecure_http);
        let base = Base::parse(text, insecure)?;
        let stored_key = stored.map(|host| host.key.clone());
        let key = given.key.clone().or(stored_key).ok_or_else(|| {
            Error::NoHost(format!(
                "There is no key for {base}. Set GANTRY_KEY, or run `gantry login {base}`."
            ))
        })?;
        Ok(Chosen {
            key,
            key_is_given: given.key.is_some(),
            ca_file: reach.ca_file.clone().or(stored.and_then(|host| host.ca_file.clone())),
            base,
        })
    }

    fn known(&self) -> String {
        match self.hosts.keys().cloned().collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => String::new(),
            known => format!(" You are logged in to: {known}."),
        }
    }
}

fn no_host(known: &str) -> Error {
    Error::NoHost(format!(
        "No Gantry is chosen. Run `gantry login https://gantry.example.com` with the address of \
         yours.{known}"
    ))
}

#[cfg(unix)]
fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

/// A user's settings are the user's alone there.
#[cfg(not(unix))]
fn make_private(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}

#[cfg(unix)]
fn refuse_open_to_others(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt as _;
    let found = fs::metadata(path).map_err(|error| Error::file("read", path, &error))?;
    if found.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    let path = path.display();
    Err(Error::Failed(format!(
        "{path} holds keys, and other users can read it. Run `chmod 600 {path}`; if somebody may \
         have read it, have the keys revoked."
    )))
}

#[cfg(not(unix))]
fn refuse_open_to_others(_path: &Path) -> Result<(), Error> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "https://a.example";
    const B: &str = "https://b.example";

    fn host(key: &str) -> Host {
        Host { key: key.into(), insecure_http: false, ca_file: None }
    }

    fn two() -> Hosts {
        let hosts = [(A.to_owned(), host("key-a")), (B.to_owned(), host("key-b"))].into();
        Hosts { current: Some(A.to_owned()), hosts }
    }

    fn given(url: &str, key: &str) -> Given {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Given { url: some(url), key: some(key).map(Into::into) }
    }

    #[test]
    fn keys_are_stored_for_their_user_alone() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("config/gantry");
        assert!(Hosts::load(Some(&folder)).unwrap().hosts.is_empty());
        two().save(Some(&folder)).unwrap();
        let read = Hosts::load(Some(&folder)).unwrap();
        assert_eq!(read.current.as_deref(), Some(A));
        assert_eq!(read.hosts[B].key.expose_secret(), "key-b");
        assert!(!format!("{read:?}").contains("key-"), "{read:?}");
        // Nothing else is left there.
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        assert!(Hosts::load(None).unwrap().hosts.is_empty() && two().save(None).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_read_is_refused_and_what_is_written_is_closed() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("gantry");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        two().save(Some(&folder)).unwrap();
        let file = folder.join(FILE);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&file)), (0o700, 0o600));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let error = Hosts::load(Some(&folder)).unwrap_err().to_string();
        assert!(error.contains("chmod 600") && !error.contains("key-a"), "{error}");
        fs::write(&file, "{\"current\": \"key-a").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let error = Hosts::load(Some(&folder)).unwrap_err().to_string();
        assert!(error.contains("line 1") && !error.contains("key-a"), "{error}");
    }

    #[test]
    fn the_environment_takes_precedence_then_the_page_then_the_current_one() {
        let choose = |url: &str, key: &str, page: Option<&str>| {
            let chosen = two().choose(&given(url, key), page, &Reach::default())?;
            let key = chosen.key.expose_secret().to_owned();
            Ok::<_, Error>((chosen.base.to_string(), key, chosen.key_is_given))
        };
        let expect = |base: &str, key: &str, is_given| (base.to_owned(), key.to_owned(), is_given);
        assert_eq!(choose("", "", None).unwrap(), expect(A, "key-a", false));
        assert_eq!(choose("", "", Some(B)).unwrap(), expect(B, "key-b", false));
        assert_eq!(choose("", "", Some("https://c.example")).unwrap(), expect(A, "key-a", false));
        assert_eq!(choose("https://b.example/", "", Some(A)).unwrap(), expect(B, "key-b", false));
        assert_eq!(choose(B, "given", None).unwrap(), expect(B, "given", true));
        // A key that was given is sent nowhere but where that was said, too.
        for page in [None, Some(B)] {
            assert_eq!(choose("", "given", page).unwrap_err().exit_code(), 2);
        }
        let unknown = choose("https://c.example", "", None).unwrap_err().to_string();
        assert_eq!(
            unknown,
            "There is no key for https://c.example. Set GANTRY_KEY, or run `gantry login \
             https://c.example`."
        );
        assert_eq!(choose("http://c.example", "x", None).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn logins_at_once_lose_no_key() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("gantry");
        let names: Vec<String> = (0..8).map(|n| format!("https://{n}.example")).collect();
        std::thread::scope(|scope| {
            for name in &names {
                scope.spawn(|| {
                    let login = |hosts: &mut Hosts| {
                        hosts.hosts.insert(name.clone(), host("key"));
                        // Long enough for the others to come.
                        std::thread::sleep(std::time::Duration::from_millis(5));
                        Ok(())
                    };
                    Hosts::change(Some(&folder), login).unwrap();
                });
            }
        });
        let read = Hosts::load(Some(&folder)).unwrap();
        assert_eq!(read.hosts.into_keys().collect::<Vec<_>>(), names);
    }

    #[test]
    fn after_a_logout_the_only_one_left_is_current() {
        let mut hosts = two();
        assert_eq!(hosts.remove(None).unwrap(), A);
        assert_eq!(hosts.current.as_deref(), Some(B));
        let error = hosts.remove(Some("a.example")).unwrap_err().to_string();
        assert_eq!(
            error,
            "You are not logged in to https://a.example. You are logged in to: https://b.example."
        );
        assert_eq!(hosts.remove(Some("b.example")).unwrap(), B);
        let none = hosts.choose(&Given::default(), None, &Reach::default()).unwrap_err();
        assert!(none.to_string().contains("gantry login"), "{none}");
    }
}
