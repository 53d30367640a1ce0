//! Signs people in with GitLab: OpenID Connect's authorization code flow, with PKCE, state and nonce.
//!
//! A [`Provider`] is the linked server with the OAuth application that an admin made there. It keeps
//! nothing of a person; whoever calls it does, sealed.

mod error;
mod provider;
mod transport;

pub use error::SignInError;
pub use provider::{Begun, Provider, ProviderConfig, SCOPES, SignedIn};
