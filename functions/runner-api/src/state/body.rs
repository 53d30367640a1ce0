//! What of a state's body matters to who keeps it.

use super::StateError;
use gantry_domain::state::StateForm;
use gantry_store::runner::StateVersion;
use serde::{Deserialize, de::IgnoredAny};

/// The version of Terraform's state format since 0.12; OpenTofu writes the same.
const FORMAT: u64 = 4;

/// A state's body, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateBody {
    pub(crate) serial: u64,
    pub(crate) lineage: String,
    /// None when they cannot be counted.
    pub(crate) resources: Option<u32>,
    pub(crate) form: StateForm,
    pub(crate) size: u64,
}

/// What every form has that a state can follow another one by.
/// Plain: `internal/states/statefile/version4.go` of Terraform. Encrypted:
/// `internal/encryption/base.go` of OpenTofu, which leaves out `version`.
#[derive(Deserialize)]
struct Head {
    version: Option<u64>,
    serial: u64,
    lineage: String,
    #[serde(default)]
    encrypted_data: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Contents {
    #[serde(default)]
    resources: Option<Vec<Resource>>,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(default)]
    mode: String,
    #[serde(default)]
    instances: Option<Vec<IgnoredAny>>,
}

impl StateBody {
    /// Reads a body. Errors never quote it: states hold secrets.
    pub(crate) fn read(body: &[u8]) -> Result<Self, StateError> {
        let head: Head = parse(body)?;
        let (form, resources) = match (head.encrypted_data, head.version) {
            (Some(_), _) => (StateForm::Encrypted, None),
            (None, None) => return Err(wrong("it does not state its format")),
            (None, Some(FORMAT)) => (StateForm::Plain, Some(count(parse(body)?))),
            (None, Some(older @ 0..FORMAT)) => {
                return Err(wrong(&format!("its format is {older}, not {FORMAT}")));
            }
            // A tool of the future writes it, and what it made must not be lost.
            (None, Some(_)) => (StateForm::Unknown, None),
        };
        let (serial, lineage) = (head.serial, head.lineage);
        Ok(Self { serial, lineage, resources, form, size: body.len() as u64 })
    }

    /// A body that cannot be read: nothing follows it, and it follows nothing.
    pub(crate) fn unreadable(body: &[u8]) -> Self {
        let size = body.len() as u64;
        let form = StateForm::Unknown;
        Self { serial: 0, lineage: String::new(), resources: None, form, size }
    }

    /// Terraform's own rule: same lineage, higher serial.
    pub(crate) fn check_follows(&self, current: Option<&StateVersion>) -> Result<(), StateError> {
        let Some(current) = current else { return Ok(()) };
        if self.lineage != current.lineage {
            // Neither is named: whatever was sent as one would be kept with the refusal.
            return Err(StateError::NotSuccessor(
                "the state has a different lineage than the current one, so it is a different state"
                    .to_owned(),
            ));
        }
        if self.serial <= current.serial {
            return Err(StateError::NotSuccessor(format!(
                "the state has serial {}, but the current one already has {}",
                self.serial, current.serial
            )));
        }
        Ok(())
    }
}

fn wrong(text: &str) -> StateError {
    StateError::Unusable(format!("Gantry cannot read this as a state: {text}"))
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, StateError> {
    serde_json::from_slice(body).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        match error.classify() {
            serde_json::error::Category::Data => {
                wrong(&format!("a field is missing or has the wrong type ({place})"))
            }
            _ => wrong(&format!("it is not JSON ({place})")),
        }
    })
}

/// What data sources read is no resource that somebody has to destroy.
fn count(contents: Contents) -> u32 {
    let managed =
        contents.resources.unwrap_or_default().into_iter().filter(|r| r.mode == "managed");
    let instances: usize = managed.map(|r| r.instances.map_or(0, |all| all.len())).sum();
    u32::try_from(instances).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_read_without_being_quoted() {
        let body = br#"{"version":4,"serial":7,"lineage":"l","resources":[
            {"mode":"managed","instances":[{},{"attributes":{"p":"hush"}}]},
            {"mode":"data","instances":[{}]}, {"mode":"managed"}]}"#;
        let read = StateBody::read(body).unwrap();
        assert_eq!((read.serial, read.lineage.as_str(), read.resources), (7, "l", Some(2)));
        for wrong in [
            &br#"{"version":3,"serial":7,"lineage":"l"}"#[..],
            br#"{"version":4,"serial":7,"resources":[]}"#,
            br#"{"version":4,"serial":"hush","lineage":"l"}"#,
            br#"{"version":4,"lineage":"hush"}"#,
            b"hush",
        ] {
            let error = StateBody::read(wrong).unwrap_err().to_string();
            assert!(
                error.starts_with("Gantry cannot read this as a state") && !error.contains("hush")
            );
        }
    }

    /// What Terraform leaves of a first apply whose backend was gone: the lineage is the backend's.
    #[test]
    fn a_state_without_a_lineage_follows_its_like() {
        let body = br#"{"version":4,"serial":0,"lineage":"","resources":[]}"#;
        let read = StateBody::read(body).unwrap();
        assert_eq!((read.serial, read.lineage.as_str(), read.resources), (0, "", Some(0)));
    }

    /// As OpenTofu 1.12.6 writes it, and as a tool of the future might.
    #[test]
    fn what_cannot_be_listed_is_taken_and_not_counted() {
        let encrypted = br#"{"serial":4,"lineage":"l","meta":{"key_provider.pbkdf2.k":"e30="},
            "encrypted_data":"aGlkZGVu","encryption_version":"v0"}"#;
        let read = StateBody::read(encrypted).unwrap();
        assert_eq!((read.serial, read.lineage.as_str()), (4, "l"));
        assert_eq!((read.form, read.resources), (StateForm::Encrypted, None));
        let later = br#"{"version":5,"serial":1,"lineage":"l","resources":{"other":"form"}}"#;
        let read = StateBody::read(later).unwrap();
        assert_eq!((read.form, read.resources), (StateForm::Unknown, None));
    }
}
