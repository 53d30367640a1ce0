//! What of a state's body matters to who keeps it.

use super::StateError;
use gantry_store::runner::StateVersion;
use serde::{Deserialize, de::IgnoredAny};

/// The version of Terraform's state format since 0.12; OpenTofu writes the same.
const FORMAT: u64 = 4;

/// A state's body, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateBody {
    pub(crate) serial: u64,
    pub(crate) lineage: String,
    pub(crate) resources: u32,
    pub(crate) size: u64,
}

/// The format: `internal/states/statefile/version4.go` of Terraform.
#[derive(Deserialize)]
struct Format {
    version: u64,
    serial: u64,
    lineage: String,
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
        let wrong =
            |text: &str| StateError::Unusable(format!("this is no Terraform state: {text}"));
        let state: Format = serde_json::from_slice(body).map_err(|error| {
            let place = format!("line {} column {}", error.line(), error.column());
            match error.classify() {
                serde_json::error::Category::Data => {
                    wrong(&format!("a field is missing or of another kind ({place})"))
                }
                _ => wrong(&format!("it is not JSON ({place})")),
            }
        })?;
        if state.version != FORMAT {
            return Err(wrong(&format!("its format is {}, not {FORMAT}", state.version)));
        }
        if state.lineage.is_empty() {
            return Err(wrong("its lineage is empty"));
        }
        // What data sources read is no resource that somebody has to destroy.
        let managed =
            state.resources.unwrap_or_default().into_iter().filter(|r| r.mode == "managed");
        let instances: usize = managed.map(|r| r.instances.map_or(0, |all| all.len())).sum();
        Ok(Self {
            serial: state.serial,
            lineage: state.lineage,
            resources: u32::try_from(instances).unwrap_or(u32::MAX),
            size: body.len() as u64,
        })
    }

    /// Terraform's own rule: same lineage, higher serial.
    pub(crate) fn check_follows(&self, current: Option<&StateVersion>) -> Result<(), StateError> {
        let Some(current) = current else { return Ok(()) };
        if self.lineage != current.lineage {
            return Err(StateError::NotSuccessor(format!(
                "the state has lineage {}, the current one has {}: it is another state",
                self.lineage, current.lineage
            )));
        }
        if self.serial <= current.serial {
            return Err(StateError::NotSuccessor(format!(
                "the state has serial {}, the current one has {} already",
                self.serial, current.serial
            )));
        }
        Ok(())
    }
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
        assert_eq!((read.serial, read.lineage.as_str(), read.resources), (7, "l", 2));
        for wrong in [
            &br#"{"version":3,"serial":7,"lineage":"l"}"#[..],
            br#"{"version":4,"serial":7,"lineage":""}"#,
            br#"{"version":4,"serial":"hush","lineage":"l"}"#,
            br#"{"version":4,"lineage":"hush"}"#,
            b"hush",
        ] {
            let error = StateBody::read(wrong).unwrap_err().to_string();
            assert!(error.starts_with("this is no Terraform state") && !error.contains("hush"));
        }
    }
}
