//! `runner-api`'s records: signs of life, claims, Terraform's state and its lock, logs.

use gantry_domain::{
    RunId,
    protocol::LockInfo,
    run::{Phase, RunType},
    stack::VariableValue,
    state::StateForm,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A runner's last sign of life ([`crate::keys::beat`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// The attempt that is alive.
    pub attempt: u32,
    /// When.
    pub at: Timestamp,
}

/// That an attempt was claimed ([`crate::keys::claim`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The phase.
    pub phase: Phase,
    /// The runner's name.
    pub runner: String,
    /// What the runner sent with it: the same claim again gets the same answer.
    #[serde(default)]
    pub nonce: String,
    /// When.
    pub at: Timestamp,
    /// The run's plan was to be followed by its apply at once, and the runner was told not to go on:
    /// it came late.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
}

/// That an attempt goes to a runner that has ended its own run, and none is started for it
/// ([`crate::keys::handed_on`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedOn {
    /// The run that the runner has ended.
    pub to: RunId,
    /// Its attempt.
    pub attempt: u32,
}

/// A runner that has ended its run and takes another one ([`crate::keys::free_runner`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreeRunner {
    /// The role that it has.
    pub role: String,
    /// The type of the runs that it takes.
    pub run_type: RunType,
}

/// The lock on a stack's Terraform state ([`crate::keys::lock`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateLock {
    /// Terraform's own words on it.
    pub info: LockInfo,
    /// The run that holds it.
    pub run: RunId,
    /// The attempt that holds it.
    pub attempt: u32,
    /// Since when.
    pub at: Timestamp,
}

/// A version of a stack's Terraform state; the current one is also the pointer
/// ([`crate::keys::state`], [`crate::keys::state_version`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateVersion {
    /// Gantry's own number: 1 for the first, one more for each. Never used again.
    pub number: u64,
    /// The serial that the tool gave it.
    pub serial: u64,
    /// Terraform's lineage.
    pub lineage: String,
    /// SHA-256 of the body, in hexadecimal digits.
    pub digest: String,
    /// Where the body lies in object storage.
    pub object: String,
    /// Bytes of the body.
    pub size: u64,
    /// How many resources it holds; none when that cannot be read.
    pub resources: Option<u32>,
    /// What can be read of it.
    #[serde(default, skip_serializing_if = "StateForm::is_plain")]
    pub form: StateForm,
    /// The run that wrote it, if one did.
    pub run: Option<RunId>,
    /// Who wrote it, for people: a run's id or a key's name.
    pub by: String,
    /// It could not be delivered in time: only a person makes it current.
    pub rescued: bool,
    /// It was found in object storage, after the records were restored to a time before it.
    #[serde(default)]
    pub found: bool,
    /// When.
    pub at: Timestamp,
}

/// Which version of the state a run that changes nothing reads for its whole life
/// ([`crate::keys::state_pin`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatePin {
    /// The version's number; none when there was no state yet.
    pub number: Option<u64>,
}

/// A state body on its way ([`crate::keys::state_upload`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateUpload {
    /// Where the body lies, or will lie once it is uploaded.
    pub object: String,
}

/// How far the log of an attempt was taken, and what of it is held back until more comes, because
/// it may be the beginning of a secret ([`crate::keys::log_held`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogHeld {
    /// Bytes that the runner has sent.
    pub received: u64,
    /// Bytes of the pieces that were written.
    pub given: u64,
    /// What is held back. Sealed where there is a key.
    pub held: VariableValue,
    /// The last piece ends with the mask of a secret, which goes on for so many bytes of `held`.
    pub open: Option<usize>,
    /// Line breaks of the pieces that were written; none where a release began it that did not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<u64>,
}

/// A piece of a run's log ([`crate::keys::log`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPiece {
    /// The phase that wrote it.
    pub phase: Phase,
    /// The attempt that wrote it.
    pub attempt: u32,
    /// Bytes of this attempt's masked log before it.
    pub offset: u64,
    /// Line breaks of this attempt's log before it; none where nobody counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<u64>,
    /// When it came; none where nobody wrote that down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// Masked text.
    pub text: String,
}
