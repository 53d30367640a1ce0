//! The life of an object: planned, created, read, updated, destroyed, imported and moved.

use crate::{
    diagnostics, outside,
    protocol::{
        Apply, ApplyAnswer, Configured, Diagnosed, Diagnostic, DynamicValue, Import, ImportAnswer,
        Imported, Move, Moved, Plan, PlanAnswer, Read, ReadAnswer,
    },
    provider::{Provider, identity, why},
    schema,
    value::{self, Object},
};
use anyhow::{Context as _, Result, bail};
use rmpv::Value;
use std::sync::Arc;

impl Provider {
    pub(crate) async fn validate(self: Arc<Self>, asked: Configured) -> Diagnosed {
        let config = value::object(asked.config.as_ref()).unwrap_or_default();
        let mut diagnostics = warnings(&config, "validate");
        // The tools leave it to providers to say so.
        if config.get("old_text").is_some_and(|old| !old.is_nil()) {
            let warning =
                diagnostics::warning("Argument is deprecated", "Use text instead.", "old_text");
            diagnostics.push(warning);
        }
        if let Some(name) = config.get("name").and_then(Value::as_str)
            && let Err(error) = outside::plain(name)
        {
            diagnostics.push(diagnostics::error("The object cannot be called so", why(&error)));
        }
        Diagnosed { diagnostics }
    }

    pub(crate) async fn read(self: Arc<Self>, asked: Read) -> ReadAnswer {
        let state = value::object(asked.state.as_ref()).unwrap_or_default();
        let mut diagnostics = warnings(&state, "read");
        let found =
            may(&state, "read").and_then(|()| self.outside()?.read(value::text(&state, "id")));
        match found {
            Ok(found) => ReadAnswer {
                state: value::send(found.as_ref()),
                diagnostics,
                identity: identity(found.as_ref().unwrap_or(&state)),
            },
            Err(error) => {
                diagnostics.push(diagnostics::error("The object cannot be read", why(&error)));
                ReadAnswer { state: asked.state, diagnostics, identity: identity(&state) }
            }
        }
    }

    pub(crate) async fn plan(self: Arc<Self>, asked: Plan) -> PlanAnswer {
        let prior = value::object(asked.prior.as_ref());
        let proposed = value::object(asked.proposed.as_ref());
        let switches = proposed.as_ref().or(prior.as_ref()).cloned().unwrap_or_default();
        let mut answer = PlanAnswer {
            diagnostics: warnings(&switches, "plan"),
            identity: asked.identity,
            ..PlanAnswer::default()
        };
        if let Err(error) = may(&switches, "plan") {
            answer
                .diagnostics
                .push(diagnostics::error("The object cannot be planned", why(&error)));
        }
        let Some(mut planned) = proposed else {
            return PlanAnswer { planned: value::send(None), ..answer };
        };
        planned.insert("write_only".to_owned(), Value::Nil);
        match prior {
            // What it will be known by nobody knows, also where it replaces another.
            None => {
                answer.identity = None;
                planned.insert("id".to_owned(), value::unknown());
                planned.insert("revision".to_owned(), value::unknown());
            }
            Some(prior) if prior != planned => {
                planned.insert("revision".to_owned(), value::unknown());
                if prior.get("name") != planned.get("name") {
                    answer.requires_replace.push(diagnostics::path("name"));
                }
            }
            Some(_) => {}
        }
        PlanAnswer { planned: value::send(Some(&planned)), ..answer }
    }

    pub(crate) async fn apply(self: Arc<Self>, asked: Apply) -> ApplyAnswer {
        let prior = value::object(asked.prior.as_ref());
        let planned = value::object(asked.planned.as_ref());
        let switches = planned.as_ref().or(prior.as_ref()).cloned().unwrap_or_default();
        let config = value::object(asked.config.as_ref()).unwrap_or_default();
        let write_only = config.get("write_only").cloned().unwrap_or(Value::Nil);
        let step = match (&prior, &planned) {
            (None, _) => "create",
            (_, None) => "destroy",
            _ => "update",
        };
        let mut diagnostics = warnings(&switches, "apply");
        // What there is, whether it went well or not.
        let mut state = prior.clone();
        let done = self.change(step, &switches, &mut state, planned, &write_only).await;
        if let Err(error) = done {
            let summary = format!("The object cannot be {step}{}", past(step));
            diagnostics.push(diagnostics::error(&summary, why(&error)));
        }
        let identity = state.as_ref().or(prior.as_ref()).and_then(identity);
        ApplyAnswer { state: value::send(state.as_ref()), diagnostics, identity }
    }

    async fn change(
        &self,
        step: &str,
        switches: &Object,
        state: &mut Option<Object>,
        planned: Option<Object>,
        write_only: &Value,
    ) -> Result<()> {
        let outside = self.outside()?;
        self.wait(time(switches, step)).await?;
        may(switches, step)?;
        let Some(mut planned) = planned else {
            let id = state.as_ref().map(|state| value::text(state, "id")).unwrap_or_default();
            outside.delete(id)?;
            *state = None;
            return Ok(());
        };
        let revision = state.as_ref().and_then(|state| state.get("revision")?.as_i64());
        planned.insert("revision".to_owned(), Value::from(revision.unwrap_or_default() + 1));
        if state.is_none() {
            let id = outside.create(value::text(&planned, "name"))?;
            planned.insert("id".to_owned(), Value::from(id));
        }
        outside.write(value::text(&planned, "id"), &planned, write_only)?;
        *state = Some(planned);
        may(switches, &format!("finish_{step}"))
    }

    pub(crate) async fn import(self: Arc<Self>, asked: Import) -> ImportAnswer {
        let known_by =
            asked.identity.as_ref().and_then(|identity| value::object(identity.data.as_ref()));
        let id = known_by.map_or(asked.id, |known| value::text(&known, "id").to_owned());
        let found = self.outside().and_then(|outside| {
            outside.read(&id)?.with_context(|| format!("there is no object {id}"))
        });
        match found {
            Ok(found) => {
                let imported = Imported {
                    type_name: asked.type_name,
                    state: value::send(Some(&found)),
                    identity: identity(&found),
                };
                ImportAnswer { imported: vec![imported], diagnostics: Vec::new() }
            }
            Err(error) => {
                let error = diagnostics::error("The object cannot be imported", why(&error));
                ImportAnswer { imported: Vec::new(), diagnostics: vec![error] }
            }
        }
    }

    /// From one of this provider's types to the other, which has the same attributes.
    pub(crate) async fn move_state(self: Arc<Self>, asked: Move) -> Moved {
        if !schema::RESOURCES.contains(&asked.source_type.as_str()) {
            let why = format!(
                "A {} cannot become a {}: only a test_object and a test_thing can become each other.",
                asked.source_type, asked.target_type
            );
            let error = diagnostics::error("The resource cannot be moved", why);
            return Moved { diagnostics: vec![error], ..Moved::default() };
        }
        let json = asked.source.unwrap_or_default().json;
        let read: serde_json::Value = serde_json::from_slice(&json).unwrap_or_default();
        let id = Object::from([("id".to_owned(), value::of_json(&read["id"]))]);
        Moved {
            state: Some(DynamicValue { msgpack: Vec::new(), json }),
            diagnostics: Vec::new(),
            identity: identity(&id),
        }
    }
}

/// `takes` has the seconds of each step.
fn time<'a>(object: &'a Object, step: &str) -> Option<&'a Value> {
    let steps = object.get("takes")?.as_map()?;
    steps.iter().find(|(name, _)| name.as_str() == Some(step)).map(|(_, seconds)| seconds)
}

/// Refuses what `fails_to` names.
fn may(object: &Object, step: &str) -> Result<()> {
    if value::has(object, "fails_to", step) {
        bail!("fails_to has {step:?}");
    }
    Ok(())
}

/// The warning that `warns_at` asks for.
fn warnings(object: &Object, step: &str) -> Vec<Diagnostic> {
    let name = value::text(object, "name");
    let warning = || {
        let detail = format!("The object {name} warns at {step}, as it was told to.");
        diagnostics::warning("The text may be too old", detail, "text")
    };
    value::has(object, "warns_at", step).then(warning).into_iter().collect()
}

fn past(step: &str) -> &'static str {
    if step.ends_with('e') { "d" } else { "ed" }
}
