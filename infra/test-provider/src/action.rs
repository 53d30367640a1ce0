//! An action leaves a note outside. Terraform has actions from 1.14 on, OpenTofu has none.

use crate::{
    diagnostics,
    protocol::{ActionEvent, ActionEventKind, Configured, Diagnosed, Progress},
    provider::{Provider, why},
    value::{self, Object},
};
use anyhow::{Result, bail};
use rmpv::Value;
use std::sync::Arc;

impl Provider {
    pub(crate) async fn check_action(self: Arc<Self>, _: Configured) -> Diagnosed {
        Diagnosed::default()
    }

    pub(crate) async fn invoke(self: Arc<Self>, asked: Configured) -> Vec<ActionEvent> {
        let config = value::object(asked.config.as_ref()).unwrap_or_default();
        let message = format!("writes {:?}", value::text(&config, "text"));
        let mut completed = Diagnosed::default();
        if let Err(error) = self.leave_a_note(&config).await {
            completed.diagnostics.push(diagnostics::error("The note cannot be left", why(&error)));
        }
        [ActionEventKind::Progress(Progress { message }), ActionEventKind::Completed(completed)]
            .map(|kind| ActionEvent { kind: Some(kind) })
            .into()
    }

    async fn leave_a_note(&self, config: &Object) -> Result<()> {
        self.wait(config.get("takes")).await?;
        if config.get("fails").and_then(Value::as_bool) == Some(true) {
            bail!("fails is true");
        }
        self.outside()?.note(value::text(config, "text"))
    }
}
