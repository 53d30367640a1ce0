//! The policy as rules of Landlock (<https://docs.kernel.org/userspace-api/landlock.html>): all that
//! the kernel can restrict is restricted, and what the policy names is allowed.

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use nix::libc;
use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    },
    path::Path,
};

/// The newest that the library knows; what the kernel does not know is left out.
const NEWEST: ABI = ABI::V10;

/// Rules that are ready to be applied.
pub(super) struct Rules(RulesetCreated);

/// The rules for what can be reached, and changed where it says so, as it is found now.
pub(super) fn rules<'a>(
    reachable: impl Iterator<Item = (&'a Path, bool)>,
) -> Result<Rules, RulesetError> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    let devices = AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev;
    for (path, can_change) in reachable {
        let access = match can_change {
            true => AccessFs::from_all(NEWEST) & !devices,
            false => AccessFs::from_read(NEWEST),
        };
        rules = allow(rules, path, access)?;
    }
    // A script may open its own output anew, by the name /dev/stderr. A pipe needs no rule.
    for output in [io::stdout().as_fd(), io::stderr().as_fd()] {
        if is_file(output) {
            let write = AccessFs::WriteFile | AccessFs::Truncate;
            rules = rules.add_rule(PathBeneath::new(output, write))?;
        }
    }
    Ok(Rules(rules))
}

fn allow(
    rules: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    let opened = File::options().read(true).custom_flags(libc::O_PATH).open(path);
    let Ok(file) = opened else { return Ok(rules) };
    let access = match file.metadata() {
        Ok(found) if found.is_dir() => access,
        Ok(found) if found.file_type().is_char_device() => AccessFs::ReadFile | AccessFs::WriteFile,
        _ => access & AccessFs::from_file(NEWEST),
    };
    rules.add_rule(PathBeneath::new(file, access))
}

fn is_file(output: BorrowedFd<'_>) -> bool {
    output
        .try_clone_to_owned()
        .and_then(|file| File::from(file).metadata())
        .is_ok_and(|found| found.is_file())
}

impl Rules {
    /// Applies them to this process and to all that it starts; the version of the interface, where
    /// the kernel has one.
    pub(super) fn apply(self) -> Result<Option<u32>, RulesetError> {
        let status = self.0.restrict_self()?;
        match (status.ruleset, status.landlock) {
            (RulesetStatus::NotEnforced, _) => Ok(None),
            (_, LandlockStatus::Available { effective_abi, .. }) => {
                let version = format!("{effective_abi:?}");
                Ok(version.trim_start_matches('V').parse().ok())
            }
            _ => Ok(None),
        }
    }
}
