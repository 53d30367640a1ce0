//! The policy as rules of Landlock (<https://docs.kernel.org/userspace-api/landlock.html>): all that
//! the kernel can restrict is restricted, and what the policy names is allowed.

use super::Policy;
use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use std::{
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::FileTypeExt,
    },
    path::Path,
};

/// The newest that the library knows; what the kernel does not know is left out.
const NEWEST: ABI = ABI::V10;

/// Rules that are ready to be applied.
pub(super) struct Rules(RulesetCreated);

/// The rules for what the policy names, as it is found now.
pub(super) fn rules(policy: &Policy) -> Result<Rules, RulesetError> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    for path in &policy.read {
        rules = allow(rules, path, AccessFs::from_read(NEWEST))?;
    }
    let devices = AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev;
    for path in &policy.write {
        rules = allow(rules, path, AccessFs::from_all(NEWEST) & !devices)?;
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
    let Ok(file) = PathFd::new(path) else { return Ok(rules) };
    let access = match path.metadata() {
        Ok(found) if found.is_dir() => access,
        Ok(found) if found.file_type().is_char_device() => AccessFs::ReadFile | AccessFs::WriteFile,
        _ => access & AccessFs::from_file(NEWEST),
    };
    rules.add_rule(PathBeneath::new(file, access))
}

fn is_file(output: BorrowedFd<'_>) -> bool {
    output
        .try_clone_to_owned()
        .and_then(|file| std::fs::File::from(file).metadata())
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
