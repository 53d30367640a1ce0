//! What a child process sees: an allow-list of the runner's own variables, the stack's, and ours.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The variables of one child process. Values may be secret: it is never logged.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

/// What is taken over from the runner's own environment. The credentials among them are those
/// that the cloud made for this very container; everything else a run needs comes from its stack.
pub const ALLOWED: &[&str] = &[
    "PATH",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
];

/// Those that name files.
const FILES: &[&str] = &["SSL_CERT_FILE", "SSL_CERT_DIR", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"];

/// Names that a stack's variables cannot take: they say what the run is and where its state is.
fn is_reserved(name: &str) -> bool {
    name.starts_with("GANTRY_")
}

impl Environment {
    /// The allowed part of `variables`; `also` names further ones that an operator lets through
    /// (a proxy, a plugin cache).
    pub fn allowed_of(
        variables: impl IntoIterator<Item = (String, String)>,
        also: &[String],
    ) -> Self {
        let wanted = |name: &str| {
            ALLOWED.contains(&name) || (also.iter().any(|a| a == name) && !is_reserved(name))
        };
        Self(variables.into_iter().filter(|(name, _)| wanted(name)).collect())
    }

    /// Sets a variable of ours.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// Takes a variable away.
    pub fn unset(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Sets a stack's variable. False, and nothing happens, when the name is ours or is none.
    pub fn set_for_stack(&mut self, name: &str, value: &str) -> bool {
        let valid = !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0');
        if !valid || is_reserved(name) {
            return false;
        }
        self.set(name, value);
        true
    }

    /// Gives the run a home and a folder for temporary files of its own, and makes Terraform ask
    /// nothing and advise nothing about commands to type.
    pub fn prepare(&mut self, home: &Path, temporary: &Path) {
        self.set("HOME", home.to_string_lossy());
        self.set("TMPDIR", temporary.to_string_lossy());
        self.set("TF_IN_AUTOMATION", "1");
        self.set("TF_INPUT", "0");
        self.set("CHECKPOINT_DISABLE", "1");
        self.0.entry("LANG".to_owned()).or_insert_with(|| "C.UTF-8".to_owned());
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The files and folders that the runner's own variables name, and that runs must find.
    pub fn named_files(&self) -> Vec<PathBuf> {
        let named = FILES.iter().filter_map(|name| self.get(name));
        named.filter(|path| path.starts_with('/')).map(PathBuf::from).collect()
    }

    /// Every variable, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str) -> (String, String) {
        (name.to_owned(), "value".to_owned())
    }

    #[test]
    fn only_listed_names_are_taken_over() {
        let variables = ["PATH", "GANTRY_CLAIM_TOKEN", "AWS_SECRET_ACCESS_KEY", "HTTPS_PROXY"];
        let also = ["HTTPS_PROXY".to_owned(), "GANTRY_CLAIM_TOKEN".to_owned()];
        let environment = Environment::allowed_of(variables.map(pair), &also);
        assert_eq!(format!("{environment:?}"), r#"{"HTTPS_PROXY", "PATH"}"#);
    }

    #[test]
    fn a_stack_cannot_take_our_names() {
        let mut environment = Environment::default();
        assert!(environment.set_for_stack("TF_VAR_region", "x"));
        assert!(!environment.set_for_stack("GANTRY_RUN_ID", "x"));
        assert!(!environment.set_for_stack("A=B", "x"));
        assert!(!environment.set_for_stack("A", "x\0"));
    }
}
