//! Gantry as the keeper of a stack's state, told to Terraform without a word in its code.
//!
//! A plan file remembers its backend block, so the block is empty and everything in it, the
//! password above all, comes from `TF_HTTP_*`. An override file ([`gantry_domain::root`]) replaces
//! whatever `backend` or `cloud` block the code has.

use crate::Environment;

/// Where the `http` backend is served.
#[derive(Clone)]
pub struct HttpBackend {
    /// `http://127.0.0.1:<port>`
    pub address: String,
    /// The user's name.
    pub username: String,
    /// Good for this process's server alone.
    pub password: String,
}

impl HttpBackend {
    /// Tells Terraform. Retries are the server's affair, which knows what it is waiting for.
    pub fn describe_to(&self, environment: &mut Environment) {
        environment.set("TF_HTTP_ADDRESS", format!("{}/state", self.address));
        environment.set("TF_HTTP_UPDATE_METHOD", "POST");
        environment.set("TF_HTTP_LOCK_ADDRESS", format!("{}/lock", self.address));
        environment.set("TF_HTTP_LOCK_METHOD", "POST");
        environment.set("TF_HTTP_UNLOCK_ADDRESS", format!("{}/lock", self.address));
        environment.set("TF_HTTP_UNLOCK_METHOD", "DELETE");
        environment.set("TF_HTTP_USERNAME", self.username.as_str());
        environment.set("TF_HTTP_PASSWORD", self.password.as_str());
        environment.set("TF_HTTP_RETRY_MAX", "0");
    }
}
