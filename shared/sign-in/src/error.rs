//! Why somebody could not be signed in, by what helps.

/// Why the provider did not do what it was asked for. The words are for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// GitLab does not know the application's ID, or its secret is another one.
    #[error("GitLab does not accept the application's ID and secret")]
    WrongSecret,
    /// The code, or the refresh token, is not good, or not good any more.
    #[error("GitLab does not accept the sign-in any more: {0}")]
    Refused(String),
    /// GitLab calls itself by another address than the one that it was linked by.
    #[error(
        "GitLab calls itself {says}, but it was connected as {known}. Connect it by the address \
         that it calls itself"
    )]
    OtherIssuer {
        /// The `issuer` of its discovery document.
        says: String,
        /// The address that it was linked by.
        known: String,
    },
    /// What came back does not prove who it is: a wrong signature, another audience, another nonce,
    /// or too late.
    #[error("GitLab's answer does not prove who signed in: {0}")]
    NotProven(String),
    /// No answer, or none that can be understood; trying again later may help.
    #[error("{0}")]
    Unavailable(String),
}
