//! The cryptography of this process.

/// reqwest asks the process for its cryptography.
pub fn install() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Fails only when somebody else was first, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}
