//! A stack's variables: which names and values are taken, and how secret ones are kept.

use crate::{
    form::{Errors, Form},
    refusal::{Answer, Refusal},
};
use gantry_domain::{
    StackId,
    masking::Weakness,
    stack::{
        Retired, Stack, VARIABLE_NAMES, Variable, VariableRuns, VariableValue, is_variable_name,
    },
};
use gantry_secrets::Sealer;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashSet;

/// The most bytes of all values together: a stack has to fit into one record of 400 kB.
const LARGEST: usize = 128 * 1024;

/// The same of the sealed values that the state may still hold.
const LARGEST_RETIRED: usize = 96 * 1024;

/// The most variables of one run, and bytes of all their values: they are in its record, which is
/// written some ten times.
const MOST_OF_A_RUN: usize = 50;
const LARGEST_OF_A_RUN: usize = 16 * 1024;

/// How long the values that a module had before are masked.
const MODULES_KEEP: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Names that Gantry or the runner sets itself, or that change what a run executes.
const RESERVED: &[&str] = &[
    "PATH",
    "HOME",
    "TMPDIR",
    "IFS",
    "ENV",
    "BASH_ENV",
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "LD_AUDIT",
    "TF_INPUT",
    "TF_IN_AUTOMATION",
    "TF_DATA_DIR",
    "CHECKPOINT_DISABLE",
];

/// Beginnings of names that are Gantry's.
const RESERVED_PREFIXES: &[&str] = &["GANTRY_", "TF_HTTP_"];

/// A variable as it was sent.
pub(super) struct WantedVariable {
    pub(super) name: String,
    /// None keeps the sealed value that is there.
    pub(super) value: Option<String>,
    pub(super) secret: bool,
    pub(super) runs: VariableRuns,
}

/// Reads `variables`.
pub(super) fn read(form: &mut Form) -> Vec<WantedVariable> {
    let variables = form.objects("variables", 200, variable).unwrap_or_default();
    check_together(form, &variables, LARGEST);
    variables
}

/// Says that a name is there twice, and that the values are too large.
fn check_together(form: &mut Form, variables: &[WantedVariable], most: usize) {
    let mut names = HashSet::new();
    for (place, variable) in variables.iter().enumerate() {
        if !names.insert(variable.name.as_str()) && !variable.name.is_empty() {
            let problem = format!("{} is defined twice", variable.name);
            form.wrong(&format!("variables[{place}].name"), problem);
        }
    }
    let size: usize = variables.iter().filter_map(|v| v.value.as_ref()).map(String::len).sum();
    if size > most {
        let (size, most) = (size.div_ceil(1024), most / 1024);
        let problem = format!("The values have {size} kB; at most {most} kB are allowed");
        form.wrong("variables", problem);
    }
}

/// Variables of one run, as they were sent.
pub(crate) struct OneOffs(Vec<WantedVariable>);

impl OneOffs {
    /// Reads `variables`: each has its value.
    pub(crate) fn read(form: &mut Form) -> Self {
        let variables = form.objects("variables", MOST_OF_A_RUN, one_off).unwrap_or_default();
        check_together(form, &variables, LARGEST_OF_A_RUN);
        Self(variables)
    }

    /// The variables as the run keeps them: secret ones sealed for its stack.
    pub(crate) fn seal(self, sealer: &Sealer, stack: &Stack) -> Answer<Vec<Variable>> {
        let mut errors = Errors::new();
        if stack.settings.manage_state {
            errors.extend(other_workspaces(&self.0));
        }
        let kept = keep(sealer, &stack.id, self.0, None, &mut errors)?;
        if errors.is_empty() { Ok(kept) } else { Err(Refusal::fields(errors)) }
    }
}

/// One of them. What could not be masked is not taken: nobody looks at findings of a run.
fn one_off(form: &mut Form) -> Option<WantedVariable> {
    let (name, value) = name_and_value(form);
    let secret = form.flag("secret").unwrap_or(false);
    match &value {
        None => form.wrong("value", "Enter a value."),
        Some(value) if secret => {
            if let Some(weakness) = Weakness::of(value) {
                form.wrong("value", weakness.text());
            }
        }
        Some(_) => {}
    }
    Some(WantedVariable { name, value, secret, runs: VariableRuns::All })
}

fn name_and_value(form: &mut Form) -> (String, Option<String>) {
    let name = form.required_text("name", "Enter the variable's name.").unwrap_or_default();
    if let Err(problem) = check_name(&name) {
        form.wrong("name", problem);
    }
    let value = form.raw_text("value");
    if value.as_ref().is_some_and(|value| value.contains('\0')) {
        form.wrong("value", "Must not contain a zero character");
    }
    (name, value)
}

/// One of them; a wrong one too, so that the others keep their places.
fn variable(form: &mut Form) -> Option<WantedVariable> {
    let (name, value) = name_and_value(form);
    let secret = form.flag("secret").unwrap_or(false);
    if !secret && value.is_none() {
        form.wrong("value", "Enter a value.");
    }
    if secret && value.as_ref().is_some_and(String::is_empty) {
        form.wrong("value", "Must not be empty. Leave it out to keep the current value.");
    }
    let runs = form.choice::<VariableRuns>("runs");
    if secret && runs.is_none() {
        form.wrong(
            "runs",
            "Choose which runs get the secret. all: previews get it too, and a plan executes the \
             branch's code, so anyone who can push can read it. tracked: only runs of the tracked \
             branch get it.",
        );
    }
    Some(WantedVariable { name, value, secret, runs: runs.unwrap_or_default() })
}

/// The secret values that the stack had before and that Terraform's state may still hold: those
/// that `after` has no more, and those of before. Of these the oldest that were applied away make
/// room, which few states hold.
pub(super) fn retire(
    sealer: &Sealer,
    before: &Stack,
    after: &Stack,
    applied: Option<Timestamp>,
    now: Timestamp,
) -> Answer<Vec<Retired>> {
    let stays = |name: &str, sealed: &str| {
        let same = VariableValue::Sealed(sealed.to_owned());
        after.variables.iter().any(|now| now.name == name && now.value == same)
    };
    // Nothing of a module is applied for good: only tests under way know what it had.
    let is_old = |retired: &Retired| before.module.is_some() && retired.since < now - MODULES_KEEP;
    let gone = before.variables.iter().filter_map(|variable| match &variable.value {
        VariableValue::Sealed(sealed) if !stays(&variable.name, sealed) => {
            Some(Retired { name: variable.name.clone(), sealed: sealed.clone(), since: now })
        }
        _ => None,
    });
    let retired: Vec<Retired> = (before.retired.iter())
        .filter(|retired| !is_old(retired))
        .cloned()
        .chain(gone)
        // What does not open any more cannot be masked by anybody.
        .filter(|retired| sealer.open(&before.id, &retired.name, &retired.sealed).is_ok())
        .collect();
    let (counting, mut applied_away): (Vec<_>, Vec<_>) =
        retired.into_iter().partition(|retired| retired.counts(applied));
    let size = |retired: &[Retired]| retired.iter().map(|one| one.sealed.len()).sum::<usize>();
    if size(&counting) > LARGEST_RETIRED {
        return Err(Refusal::field(
            "variables",
            "Too many earlier secret values may still be in the state. Apply a deploy first, after \
             which they no longer count.",
        ));
    }
    while size(&counting) + size(&applied_away) > LARGEST_RETIRED {
        applied_away.remove(0);
    }
    applied_away.extend(counting);
    Ok(applied_away)
}

fn check_name(name: &str) -> Result<(), String> {
    if !is_variable_name(name) || name.len() > 255 {
        return Err(VARIABLE_NAMES.to_owned());
    }
    if RESERVED.contains(&name) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        return Err(format!("{name} is set by Gantry or would change what a run executes"));
    }
    Ok(())
}

/// A workspace of Terraform's is a state of its own in the backend, and the one with which Gantry
/// keeps a state has one: the run would fail before its plan.
pub(super) fn check_workspace(form: &mut Form, variables: &[WantedVariable]) {
    for (name, problem) in other_workspaces(variables) {
        form.wrong(&name, problem);
    }
}

fn other_workspaces(variables: &[WantedVariable]) -> impl Iterator<Item = (String, String)> {
    const PROBLEM: &str = "TF_WORKSPACE requires a backend in the code, because Gantry stores one \
                           state per stack, without workspaces. Create a stack for each workspace, \
                           or set manage_state to false.";
    let places = variables.iter().enumerate();
    let others = places.filter(|(_, variable)| names_another_workspace(variable));
    others.map(|(place, _)| (format!("variables[{place}].name"), PROBLEM.to_owned()))
}

fn names_another_workspace(variable: &WantedVariable) -> bool {
    variable.name == "TF_WORKSPACE" && variable.value.as_deref() != Some("default")
}

/// The variables as they are kept: secret ones sealed for this stack. A secret one without a value
/// keeps the sealed one that `before` has.
pub(super) fn keep(
    sealer: &Sealer,
    stack: &StackId,
    wanted: Vec<WantedVariable>,
    before: Option<&Stack>,
    errors: &mut Errors,
) -> Answer<Vec<Variable>> {
    let mut kept = Vec::with_capacity(wanted.len());
    for (place, wanted) in wanted.into_iter().enumerate() {
        let WantedVariable { name, value, secret, runs } = wanted;
        let old = before.and_then(|stack| stack.variables.iter().find(|old| old.name == name));
        let value = match (secret, value, old.map(|old| &old.value)) {
            (false, value, _) => VariableValue::Plain(value.unwrap_or_default()),
            (true, Some(value), _) => VariableValue::Sealed(sealer.seal(stack, &name, &value)?),
            (true, None, Some(VariableValue::Sealed(sealed))) => {
                VariableValue::Sealed(sealed.clone())
            }
            (true, None, _) => {
                errors.entry(format!("variables[{place}].value")).or_insert_with(|| {
                    "Enter a value. There is no secret value to keep.".to_owned()
                });
                continue;
            }
        };
        kept.push(Variable { name, value, runs });
    }
    Ok(kept)
}
