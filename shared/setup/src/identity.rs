//! Which AWS role a program has, proven to somebody who trusts nobody but AWS.
//!
//! The program signs a request to STS (`GetCallerIdentity`) with its credentials, and hands over
//! the signed address; whoever wants to know sends it, and AWS answers whose credentials they are.
//! A header that is signed too binds the proof to one purpose. HashiCorp Vault and the AWS IAM
//! authenticator of Kubernetes work the same way.

use crate::{Clock, Environment, environment::EnvironmentError};
use aws_config::SdkConfig;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign},
    sign::v4,
};
use std::time::Duration;
use url::{Url, form_urlencoded};

/// The header that names what the proof is for.
const PURPOSE: &str = "x-gantry-purpose";
const ACTION: [(&str, &str); 2] = [("Action", "GetCallerIdentity"), ("Version", "2011-06-15")];
/// How long a proof is good.
const GOOD_FOR: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(10);
/// A proof has the parameters of a signature, and a session's token.
const LONGEST_PROOF: usize = 8192;

/// Why a role cannot be proven, or a proof not be checked.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// There is nothing to prove it with.
    #[error("there are no AWS credentials: {0}")]
    NoCredentials(String),
    /// The proof is not one. The text is for people.
    #[error("the proof of the role was not accepted: {0}")]
    Refused(String),
    /// STS could not be asked; trying again later may help.
    #[error("STS cannot be reached: {0}")]
    Unavailable(String),
}

/// Proves this program's own role.
#[derive(Clone)]
pub struct Prover {
    sdk: SdkConfig,
    endpoint: Url,
    clock: Clock,
}

impl Prover {
    /// With the credentials of the environment, as the AWS SDKs find them.
    pub async fn from_environment(clock: Clock) -> Result<Self, EnvironmentError> {
        let sdk = crate::aws::from_environment().await;
        let endpoint = endpoint(&sdk)?;
        Ok(Self { sdk, endpoint, clock })
    }

    /// The proof, good for a minute and for `purpose` alone.
    pub async fn prove(&self, purpose: &str) -> Result<String, IdentityError> {
        let none = |problem: String| IdentityError::NoCredentials(problem);
        let provider = self.sdk.credentials_provider();
        let provider = provider.ok_or_else(|| none("no source of them is set".to_owned()))?;
        let credentials = provider.provide_credentials().await;
        let identity = credentials.map_err(|error| none(error.to_string()))?.into();
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(GOOD_FOR);
        let region = self.sdk.region().map(ToString::to_string).unwrap_or_default();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&region)
            .name("sts")
            .time(self.clock.now().into())
            .settings(settings)
            .build()
            .map_err(|error| none(error.to_string()))?
            .into();
        let mut url = self.endpoint.clone();
        url.query_pairs_mut().extend_pairs(ACTION);
        let host = url[url::Position::BeforeHost..url::Position::AfterPort].to_owned();
        let headers = [("host", host.as_str()), (PURPOSE, purpose)];
        let empty = SignableBody::Bytes(b"");
        let request = SignableRequest::new("GET", url.as_str(), headers.into_iter(), empty)
            .map_err(|error| none(error.to_string()))?;
        let signed = sign(request, &parameters).map_err(|error| none(error.to_string()))?;
        let (instructions, _signature) = signed.into_parts();
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in instructions.params() {
            query.append_pair(name, value);
        }
        Ok(query.finish())
    }
}

/// Asks AWS whose proof it is.
#[derive(Clone)]
pub struct Verifier {
    http: reqwest::Client,
    endpoint: Url,
}

impl Verifier {
    /// Asks the STS of the environment's region.
    pub fn new(sdk: &SdkConfig) -> anyhow::Result<Self> {
        crate::crypto::install();
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { http, endpoint: endpoint(sdk)? })
    }

    /// The ARN behind a proof: `arn:aws:sts::123456789012:assumed-role/<role>/<session>`.
    ///
    /// The address is our own: of the proof only the signature's parameters are used.
    pub async fn arn(&self, proof: &str, purpose: &str) -> Result<String, IdentityError> {
        let refused = |problem: &str| Err(IdentityError::Refused(problem.to_owned()));
        if proof.len() > LONGEST_PROOF {
            return refused("it is too long");
        }
        let mut url = self.endpoint.clone();
        let mut binds = false;
        for (name, value) in form_urlencoded::parse(proof.as_bytes()) {
            if !name.starts_with("X-Amz-") {
                return refused("it has parameters that do not belong to a signature");
            }
            if name == "X-Amz-SignedHeaders" {
                binds = value.split(';').any(|header| header == PURPOSE);
            }
            url.query_pairs_mut().append_pair(&name, &value);
        }
        if !binds {
            return refused("it is not bound to its purpose");
        }
        url.query_pairs_mut().extend_pairs(ACTION);
        let asked = self.http.get(url).header(PURPOSE, purpose);
        let unavailable = |error: reqwest::Error| {
            // Its address is a proof.
            IdentityError::Unavailable(error.without_url().to_string())
        };
        let answer = asked.send().await.map_err(unavailable)?;
        let status = answer.status();
        let text = answer.text().await.map_err(unavailable)?;
        if status.is_server_error() || status.as_u16() == 429 {
            return Err(IdentityError::Unavailable(format!("it answered {status}")));
        }
        if !status.is_success() {
            return refused(&format!("STS answered {status}"));
        }
        match element(&text, "Arn") {
            Some(arn) => Ok(arn.to_owned()),
            None => refused("STS did not return an ARN"),
        }
    }
}

/// The text of the answer's one element of this name.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text.trim())
}

/// True when the ARN of a session (`assumed-role/<role>/<session>`) is of this role. STS leaves out
/// a role's path; roles of one account have distinct names all the same.
pub fn is_session_of(session_arn: &str, role_arn: &str) -> bool {
    let parts = |arn: &str| -> Option<(String, String, String, String)> {
        let mut parts = arn.splitn(6, ':').map(str::to_owned);
        let (_, partition, service) = (parts.next()?, parts.next()?, parts.next()?);
        let (_region, account) = (parts.next()?, parts.next()?);
        Some((partition, service, account, parts.next()?))
    };
    let (Some(session), Some(role)) = (parts(session_arn), parts(role_arn)) else { return false };
    let Some(role_name) = role.3.strip_prefix("role/").and_then(|path| path.rsplit('/').next())
    else {
        return false;
    };
    let session_role =
        session.3.strip_prefix("assumed-role/").and_then(|rest| rest.split('/').next());
    (session.1.as_str(), role.1.as_str()) == ("sts", "iam")
        && session.0 == role.0
        && session.2 == role.2
        && !role_name.is_empty()
        && session_role == Some(role_name)
}

/// The region's own STS, or where the SDK's own variables point.
fn endpoint(sdk: &SdkConfig) -> Result<Url, EnvironmentError> {
    let environment = Environment;
    let set = environment
        .optional("AWS_ENDPOINT_URL_STS")
        .or_else(|| environment.optional("AWS_ENDPOINT_URL"));
    let (name, text) = match set {
        Some(text) => ("AWS_ENDPOINT_URL_STS", text),
        None => {
            let region = sdk.region().map(ToString::to_string).unwrap_or_default();
            let suffix =
                if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
            ("AWS_REGION", format!("https://sts.{region}.{suffix}/"))
        }
    };
    Url::parse(&text).map_err(|error| EnvironmentError::Wrong {
        name: name.to_owned(),
        expected: "what leads to the address of AWS STS".to_owned(),
        problem: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_belongs_to_the_role_of_its_name_and_account() {
        let role = "arn:aws:iam::123456789012:role/gantry/apply/gantry-ApplyRole-1X";
        let session = |rest: &str| format!("arn:aws:sts::123456789012:{rest}");
        assert!(is_session_of(&session("assumed-role/gantry-ApplyRole-1X/AWSCodeBuild-1"), role));
        for other in [
            "arn:aws:sts::210987654321:assumed-role/gantry-ApplyRole-1X/s".to_owned(),
            "arn:aws-cn:sts::123456789012:assumed-role/gantry-ApplyRole-1X/s".to_owned(),
            session("assumed-role/gantry-PlanRole-1X/gantry-ApplyRole-1X"),
            session("federated-user/gantry-ApplyRole-1X"),
            "arn:aws:iam::123456789012:user/gantry-ApplyRole-1X".to_owned(),
            String::new(),
        ] {
            assert!(!is_session_of(&other, role), "{other}");
        }
        assert!(!is_session_of(&session("assumed-role//s"), "arn:aws:iam::123456789012:role/a/"));
    }

    fn sdk() -> SdkConfig {
        crate::aws::for_loopback("http://127.0.0.1:1")
    }

    #[tokio::test]
    async fn a_proof_holds_a_signature_bound_to_its_purpose() {
        let (clock, _hand) = Clock::stopped_at("2026-01-02T03:04:05Z".parse().unwrap());
        let endpoint = Url::parse("https://sts.eu-west-1.amazonaws.com/").unwrap();
        let prover = Prover { sdk: sdk(), endpoint, clock };
        let proof = prover.prove("claim-1").await.unwrap();
        let other = prover.prove("claim-2").await.unwrap();
        let value = |proof: &str, name: &str| {
            form_urlencoded::parse(proof.as_bytes())
                .find(|(found, _)| found == name)
                .map(|(_, value)| value.into_owned())
        };
        assert_eq!(value(&proof, "X-Amz-SignedHeaders").as_deref(), Some("host;x-gantry-purpose"));
        assert_eq!(value(&proof, "X-Amz-Expires").as_deref(), Some("60"));
        assert_eq!(value(&proof, "X-Amz-Date").as_deref(), Some("20260102T030405Z"));
        assert!(!proof.contains("claim-1"));
        assert_ne!(value(&proof, "X-Amz-Signature"), value(&other, "X-Amz-Signature"));
    }

    #[tokio::test]
    async fn what_is_no_bound_signature_is_refused_before_anybody_is_asked() {
        let endpoint = Url::parse("http://127.0.0.1:1/").unwrap();
        let verifier = Verifier { http: Verifier::new(&sdk()).unwrap().http, endpoint };
        for wrong in [
            "",
            "X-Amz-SignedHeaders=host",
            "Action=AssumeRole&X-Amz-SignedHeaders=host%3Bx-gantry-purpose",
            &format!("X-Amz-Security-Token={}", "a".repeat(9000)),
        ] {
            let answer = verifier.arn(wrong, "claim").await;
            assert!(matches!(answer, Err(IdentityError::Refused(_))), "{wrong}");
        }
        let bound = "X-Amz-SignedHeaders=host%3Bx-gantry-purpose";
        let answer = verifier.arn(bound, "claim").await;
        assert!(matches!(answer, Err(IdentityError::Unavailable(_))));
    }
}
