//! What a command uses of the process that it runs in: streams, the person at the terminal, the
//! environment, the folder of settings, the browser.

use crate::hosts::{self, Given};
use etcetera::BaseStrategy as _;
use std::{
    fmt,
    io::{self, IsTerminal as _, Read as _, Write},
    path::PathBuf,
    time::Duration,
};

/// More is no key.
const LONGEST_KEY: u64 = 64 * 1024;

/// All of it.
pub struct Surroundings {
    /// The folder for this program's settings of the user; none where the user has no home.
    pub folder: Option<PathBuf>,
    /// The user's home folder.
    pub home: Option<PathBuf>,
    /// `GANTRY_URL`.
    pub url: Option<String>,
    /// `GANTRY_KEY`.
    pub key: Option<String>,
    /// `NO_COLOR`.
    pub no_color: bool,
    /// A variable of the environment; none where it is empty.
    pub variable: fn(&str) -> Option<String>,
    /// Standard output.
    pub out: Stream,
    /// Standard error.
    pub err: Stream,
    /// Who can be asked.
    pub person: Box<dyn Person>,
    /// Opens an address in the browser.
    pub browser: fn(&str) -> io::Result<()>,
    /// How often a run that is followed is looked at.
    pub look_every: Duration,
}

/// Where something can be written.
pub struct Stream {
    /// The stream.
    pub write: Box<dyn Write>,
    /// A person looks at it.
    pub is_terminal: bool,
}

/// Standard input, and whoever is there.
pub trait Person {
    /// Standard input is a terminal.
    fn is_there(&self) -> bool;
    /// A line that is typed, or the rest of the input where it ends before.
    ///
    /// # Errors
    /// When nothing can be read.
    fn line(&mut self) -> io::Result<String>;
    /// A line that is typed without being shown.
    ///
    /// # Errors
    /// When nothing can be read, or it would be shown.
    fn hidden(&mut self) -> io::Result<String>;
    /// All of the input.
    ///
    /// # Errors
    /// When it cannot be read, or is no text.
    fn all(&mut self) -> io::Result<String>;
}

impl fmt::Debug for Surroundings {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("is_terminal", &self.is_terminal).finish_non_exhaustive()
    }
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        let folders = etcetera::base_strategy::choose_native_strategy().ok();
        let out = io::stdout();
        let err = io::stderr();
        Self {
            folder: folders.as_ref().map(|folders| folders.config_dir().join(hosts::FOLDER)),
            home: folders.map(|folders| folders.home_dir().to_owned()),
            url: variable("GANTRY_URL"),
            key: variable("GANTRY_KEY"),
            no_color: variable("NO_COLOR").is_some(),
            variable,
            out: Stream { is_terminal: out.is_terminal(), write: Box::new(out) },
            err: Stream { is_terminal: err.is_terminal(), write: Box::new(err) },
            person: Box::new(Terminal),
            browser: |address| open::that_detached(address),
            look_every: Duration::from_secs(1),
        }
    }

    pub(crate) fn given(&self) -> Given {
        let key = self.key.as_ref().map(|key| key.trim().into());
        Given { url: self.url.clone(), key }
    }
}

/// Empty is not set.
#[expect(clippy::disallowed_methods, reason = "the one place that reads variables here")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

struct Terminal;

impl Person for Terminal {
    fn is_there(&self) -> bool {
        io::stdin().is_terminal()
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        io::stdin().read_line(&mut line)?;
        Ok(line)
    }

    fn hidden(&mut self) -> io::Result<String> {
        rpassword::read_password()
    }

    fn all(&mut self) -> io::Result<String> {
        let mut text = String::new();
        io::stdin().take(LONGEST_KEY).read_to_string(&mut text)?;
        Ok(text)
    }
}
