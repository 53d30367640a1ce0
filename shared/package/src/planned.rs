//! What a tool has read itself counts more than what is read here.

use crate::metadata::{Declared, Input, Metadata, Output};
use gantry_domain::{
    plan::{PlannedModule, PlannedValue},
    stack::Tool,
};
use serde_json::Value;
use std::{collections::BTreeMap, mem::take};

impl Metadata {
    /// Takes the tool's own word for what the module declares. How a type or a default is written
    /// stays, which the tool does not say: of a default only where it says the same.
    pub fn believe(&mut self, planned: &PlannedModule) {
        let mut shared = Declared {
            inputs: take(&mut self.inputs),
            outputs: take(&mut self.outputs),
            providers: take(&mut self.providers),
        };
        let mut own = self.opentofu.take().unwrap_or_else(|| shared.clone());
        match planned.tool {
            Tool::Terraform => shared.believe(planned),
            Tool::OpenTofu => own.believe(planned),
        }
        self.opentofu = (own != shared).then_some(own);
        Declared { inputs: self.inputs, outputs: self.outputs, providers: self.providers } = shared;
    }
}

impl Declared {
    fn believe(&mut self, planned: &PlannedModule) {
        let known = take(&mut self.inputs).into_iter();
        let mut known: BTreeMap<_, _> = known.map(|input| (input.name.clone(), input)).collect();
        let inputs = planned.inputs.iter().map(|(name, said)| {
            let Input { type_, default, .. } = known.remove(name).unwrap_or_default();
            Input {
                name: name.clone(),
                type_,
                description: said.description.clone(),
                default: default_of(said, default),
                required: said.required,
                sensitive: said.sensitive,
            }
        });
        self.inputs = inputs.collect();
        let outputs = planned.outputs.iter().map(|(name, said)| Output {
            name: name.clone(),
            description: said.description.clone(),
            sensitive: said.sensitive,
        });
        self.outputs = outputs.collect();
    }
}

fn default_of(said: &PlannedValue, written: Option<String>) -> Option<String> {
    if said.required {
        return None;
    }
    let value = |text: &str| serde_json::from_str::<Value>(text).ok();
    match (&said.default, written) {
        (None, written) => written,
        (Some(said), Some(written)) if value(said) == value(&written) => Some(written),
        (Some(said), _) => Some(said.clone()),
    }
}
