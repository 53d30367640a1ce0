//! Everything together.

use crate::{
    codebuild::CodeBuild,
    deployed::Deployed,
    front::Front,
    functions::{Lambda, Process, free_port},
    mapping, policy, tools,
    wire::{REGION, Wire},
};
use anyhow::{Context as _, bail};
use aws_sdk_dynamodb::types::AttributeValue;
use gantry_setup::aws;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::{self, File, Permissions},
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::Duration,
};
use tokio::net::TcpListener;

/// How often the timer of the template is let go by, which says every minute.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// A region of AWS with the deployed template in it, on this machine.
pub struct Cloud {
    /// Where GitLab, people and runners reach it: `http://127.0.0.1:1`.
    pub address: String,
    /// What CloudFormation made.
    pub deployed: Deployed,
    /// The functions.
    pub lambda: Arc<Lambda>,
    /// Their calls to AWS.
    pub wire: Arc<Wire>,
    /// The runners.
    pub codebuild: Arc<CodeBuild>,
    /// Where moto's server is.
    pub moto: String,
    /// Where dynoxide is.
    pub dynoxide: String,
    /// Logs of everything, kept when a test fails.
    pub folder: PathBuf,
    _moto: Process,
}

impl Cloud {
    /// Deploys the template, and starts nothing that works on its own: no function, no mapping.
    ///
    /// # Errors
    /// When a tool is missing, or CloudFormation does not take the template.
    pub async fn deploy(name: &str) -> anyhow::Result<Self> {
        // Fails only when somebody else was first, which is as good.
        let _first = rustls::crypto::ring::default_provider().install_default();
        let programs = tools::programs()?;
        let folder = programs.join("aws-tests").join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(folder.join("runners"))?;
        fs::set_permissions(folder.join("runners"), Permissions::from_mode(0o711))?;
        let (moto, moto_address) = start_moto(&folder).await?;
        let deployed = tokio::task::spawn_blocking({
            let moto = moto_address.clone();
            move || tools::python("deploy.py", &[&moto], tools::transformed()?)
        });
        let deployed: Deployed = serde_json::from_str(&deployed.await??)?;
        let dynoxide = serve_table().await?;
        let (codebuild, mut told) = CodeBuild::start(
            deployed.project.clone(),
            moto_address.clone(),
            folder.clone(),
            programs,
        )
        .await?;
        let wire =
            Wire::start(moto_address.clone(), dynoxide.clone(), Arc::clone(&codebuild)).await?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = format!("http://{}", listener.local_addr()?);
        let common = [
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ENDPOINT_URL", wire.address.clone()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("GANTRY_PUBLIC_URL", address.clone()),
        ];
        let common: BTreeMap<_, _> =
            common.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let lambda = Arc::new(Lambda::start(&folder, deployed.functions.clone(), common).await?);
        Front::start(listener, deployed.routes.clone(), Arc::clone(&lambda));
        tokio::spawn({
            let lambda = Arc::clone(&lambda);
            async move {
                while let Some(event) = told.recv().await {
                    // EventBridge asks again, like this.
                    for _ in 0..3 {
                        if lambda.invoke("Scheduler", &event).await.is_ok() {
                            break;
                        }
                    }
                }
            }
        });
        Ok(Self {
            address,
            deployed,
            lambda,
            wire,
            codebuild,
            moto: moto_address,
            dynoxide,
            folder,
            _moto: moto,
        })
    }

    /// Deploys the template and starts everything.
    ///
    /// # Errors
    /// As [`Cloud::deploy`], and when a function was not built.
    pub async fn start(name: &str) -> anyhow::Result<Self> {
        let cloud = Self::deploy(name).await?;
        for function in cloud.lambda.names() {
            cloud.lambda.spawn(&function)?;
        }
        cloud.feed();
        Ok(cloud)
    }

    /// Starts the mappings alone.
    pub fn feed_messages(&self) {
        for mapping in &self.deployed.mappings {
            mapping::start(self.sqs(), mapping.clone(), Arc::clone(&self.lambda));
        }
    }

    /// Starts the mappings and the timer.
    pub fn feed(&self) {
        self.feed_messages();
        let lambda = Arc::clone(&self.lambda);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP_EVERY).await;
                let event = json!({
                    "version": "0", "source": "aws.events", "detail-type": "Scheduled Event",
                    "detail": {},
                });
                // The next one follows.
                let _missed = lambda.invoke("Scheduler", &event).await;
            }
        });
    }

    /// A client of the queues, beside the wire.
    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        let config = aws_sdk_sqs::config::Builder::from(&aws::for_loopback(&self.moto));
        let region = aws_sdk_sqs::config::Region::new(REGION);
        aws_sdk_sqs::Client::from_conf(config.region(region).build())
    }

    /// The URL of a queue by its name in the template (`events.fifo`).
    ///
    /// # Errors
    /// When no queue has this name.
    pub fn queue(&self, name: &str) -> anyhow::Result<String> {
        let one = &self.deployed.mappings.first().context("no queue")?.queue;
        let (before, _) = one.rsplit_once('/').context("no URL")?;
        Ok(format!("{before}/gantry-{name}"))
    }

    /// Every call of a function that its role does not allow: function and request.
    ///
    /// # Errors
    /// When a policy is not understood.
    pub fn forbidden_calls(&self) -> anyhow::Result<BTreeSet<(String, String)>> {
        let mut forbidden = BTreeSet::new();
        for call in self.wire.calls() {
            let Some(function) = self.deployed.functions.get(&call.caller) else { continue };
            for request in &call.requests {
                if policy::allowed_by(&function.role.policies, request)?.is_none() {
                    forbidden.insert((call.caller.clone(), request.to_string()));
                }
            }
        }
        Ok(forbidden)
    }

    /// The statements that allowed something, by function and name.
    ///
    /// # Errors
    /// When a policy is not understood.
    pub fn used_statements(&self) -> anyhow::Result<BTreeSet<(String, String)>> {
        let mut used = BTreeSet::new();
        for call in self.wire.calls() {
            let Some(function) = self.deployed.functions.get(&call.caller) else { continue };
            for request in &call.requests {
                if let Some(name) = policy::allowed_by(&function.role.policies, request)? {
                    used.insert((call.caller.clone(), name.to_owned()));
                }
            }
        }
        Ok(used)
    }

    /// All items of the table.
    ///
    /// # Errors
    /// When dynoxide does not answer.
    pub async fn items(&self) -> anyhow::Result<Vec<HashMap<String, AttributeValue>>> {
        let mut items = Vec::new();
        let mut pages =
            self.dynamodb().scan().table_name(&self.deployed.table).into_paginator().items().send();
        while let Some(item) = pages.next().await {
            items.push(item?);
        }
        Ok(items)
    }

    /// Makes these the items of the table, as a restore to an earlier time does.
    ///
    /// # Errors
    /// When dynoxide does not answer.
    pub async fn restore(&self, items: Vec<HashMap<String, AttributeValue>>) -> anyhow::Result<()> {
        let (client, table) = (self.dynamodb(), &self.deployed.table);
        for item in self.items().await? {
            let delete = client.delete_item().table_name(table);
            delete.key("pk", item["pk"].clone()).key("sk", item["sk"].clone()).send().await?;
        }
        for item in items {
            client.put_item().table_name(table).set_item(Some(item)).send().await?;
        }
        Ok(())
    }

    fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&aws::for_loopback(&self.dynoxide))
    }

    /// The value of a secret by the end of its name (`admin-key`).
    ///
    /// # Errors
    /// When moto does not give it.
    pub async fn secret(&self, name: &str) -> anyhow::Result<String> {
        let answer = self.secrets_manager("GetSecretValue", json!({"SecretId": id(name)})).await?;
        answer["SecretString"].as_str().map(str::to_owned).with_context(|| answer.to_string())
    }

    /// Writes a secret.
    ///
    /// # Errors
    /// When moto does not take it.
    pub async fn set_secret(&self, name: &str, value: &str) -> anyhow::Result<()> {
        let body = json!({"SecretId": id(name), "SecretString": value});
        let answer = self.secrets_manager("PutSecretValue", body).await?;
        answer["VersionId"].as_str().map(drop).with_context(|| answer.to_string())
    }

    async fn secrets_manager(&self, action: &str, body: Value) -> anyhow::Result<Value> {
        let credential = format!(
            "AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/secretsmanager/aws4_request, \
             SignedHeaders=host, Signature=0"
        );
        let answer = reqwest::Client::builder()
            .no_proxy()
            .build()?
            .post(&self.moto)
            .header("x-amz-target", format!("secretsmanager.{action}"))
            .header("content-type", "application/x-amz-json-1.1")
            .header("authorization", credential)
            .body(body.to_string())
            .send()
            .await?;
        Ok(serde_json::from_str(&answer.text().await?)?)
    }
}

fn id(secret: &str) -> String {
    format!("gantry/{secret}")
}

/// moto's server on a free port, with its log in `folder`, and its address.
///
/// # Errors
/// When it does not come up.
pub async fn start_moto(folder: &std::path::Path) -> anyhow::Result<(Process, String)> {
    let port = free_port()?;
    let log = File::create(folder.join("moto.log"))?;
    let mut moto = Process::start(
        Command::new(tools::folder()?.join("moto_server"))
            .args(["-H", "127.0.0.1", "-p"])
            .arg(port.to_string())
            .stdout(log.try_clone()?)
            .stderr(log),
    )?;
    let address = format!("http://127.0.0.1:{port}");
    let http = reqwest::Client::builder().no_proxy().build()?;
    for _ in 0..600 {
        if http.get(format!("{address}/moto-api/data.json")).send().await.is_ok() {
            return Ok((moto, address));
        }
        if !moto.runs() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("moto's server does not come up: see {}", folder.display())
}

/// Starts dynoxide with the functions' table, and answers its address.
async fn serve_table() -> anyhow::Result<String> {
    let database = dynoxide::Database::memory().map_err(|error| anyhow::anyhow!("{error}"))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = format!("http://{}", listener.local_addr()?);
    tokio::spawn(dynoxide::server::serve_on(listener, database));
    gantry_local::table::open(&aws::for_loopback(&address)).await?;
    Ok(address)
}
