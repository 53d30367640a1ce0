//! Settings from the environment, with errors that name the variable and say what it should be.

use std::{
    fmt::{self, Display},
    str::FromStr,
};

/// A setting that is missing or wrong. It stops the start.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// Not there, or empty.
    #[error("{name} is not set; it must be {expected}")]
    Missing {
        /// The variable.
        name: String,
        /// What it should hold, for people.
        expected: String,
    },
    /// There, but not what it should be.
    #[error("{name} must be {expected}: {problem}")]
    Wrong {
        /// The variable.
        name: String,
        /// What it should hold, for people.
        expected: String,
        /// What is wrong with the value.
        problem: String,
    },
}

/// A `main` that fails prints its error's `Debug`: that is the text for people here.
impl fmt::Debug for EnvironmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

/// The environment of the process, read in one place a program.
#[derive(Debug, Clone, Copy, Default)]
pub struct Environment;

impl Environment {
    /// The variable's value; none when it is missing or empty.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads variables")]
    pub fn optional(self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    /// The variable's value.
    pub fn required(self, name: &str, expected: &str) -> Result<String, EnvironmentError> {
        self.optional(name).ok_or_else(|| EnvironmentError::Missing {
            name: name.to_owned(),
            expected: expected.to_owned(),
        })
    }

    /// The variable's value as a `T`, or `default` when it is not set.
    pub fn parsed<T>(self, name: &str, expected: &str, default: T) -> Result<T, EnvironmentError>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.optional(name).map_or(Ok(default), |value| {
            value.parse().map_err(|error: T::Err| EnvironmentError::Wrong {
                name: name.to_owned(),
                expected: expected.to_owned(),
                problem: error.to_string(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_start_says_which_variable_and_what_it_should_be() {
        let error = Environment.required("GANTRY_NOT_THERE", "a name").unwrap_err();
        assert_eq!(format!("{error:?}"), "GANTRY_NOT_THERE is not set; it must be a name");
    }
}
