//! Which of a stack's variables a run gets. What a run can read, the code of its branch can read.

use gantry_domain::{
    protocol::RunVariable,
    run::{Run, RunType},
    stack::{Retired, Stack, Variable, VariableRuns, VariableValue},
};
use gantry_secrets::Sealer;
use secrecy::{ExposeSecret as _, SecretString};

/// A secret variable that this installation's key does not open. Meant for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Sealed {
    /// It is the value that the variable has.
    #[error(
        "The secret variable {0} cannot be decrypted with this installation's key. Set it again"
    )]
    Present(String),
    /// It is one that the variable had before.
    #[error(
        "An earlier value of the secret variable {0} cannot be decrypted with this installation's \
         key, so it cannot be masked. Save the stack again to drop it"
    )]
    Retired(String),
}

/// The variables that `run` gets, opened. Tracked-only ones go to tracked runs, and to looks for drift
/// of what those have applied; code from a fork gets no secret ones at all, whatever they say. Those of
/// this run alone come in place of the stack's.
pub(crate) fn of_run(
    stack: &Stack,
    run: &Run,
    sealer: Option<&Sealer>,
) -> Result<Vec<RunVariable>, Sealed> {
    let mut variables = stack
        .variables
        .iter()
        .filter(|variable| may_have(run, variable))
        .map(|v| open(stack, v, sealer))
        .collect::<Result<Vec<_>, Sealed>>()?;
    let of_run = run.options.variables.iter().filter(|variable| !is_kept_from_fork(run, variable));
    for variable in of_run {
        variables.retain(|known| known.name != variable.name);
        variables.push(open(stack, variable, sealer)?);
    }
    let of_test = run.test.iter().flat_map(|test| &test.case.variables);
    for (name, value) in of_test {
        variables.retain(|variable| variable.name != *name);
        let (name, value) = (name.clone(), value.clone());
        variables.push(RunVariable { name, value, secret: false });
    }
    Ok(variables)
}

/// Every secret that a run of the stack may show: those of all audiences, those that the state may
/// still hold, and its own.
pub(crate) fn all_secrets(
    stack: &Stack,
    run: &Run,
    retired: &[&Retired],
    sealer: Option<&Sealer>,
) -> Result<Vec<SecretString>, Sealed> {
    let open = |name: &str, sealed: &str| sealer?.open(&stack.id, name, sealed).ok();
    let mut secrets = Vec::new();
    for variable in stack.variables.iter().chain(&run.options.variables) {
        if let VariableValue::Sealed(sealed) = &variable.value {
            let opened = open(&variable.name, sealed);
            secrets.push(opened.ok_or_else(|| Sealed::Present(variable.name.clone()))?);
        }
    }
    for Retired { name, sealed, .. } in retired {
        secrets.push(open(name, sealed).ok_or_else(|| Sealed::Retired(name.clone()))?);
    }
    Ok(secrets)
}

/// Those of the values that a stack's variables had before which this installation's key opens.
pub(crate) fn opened(
    stack: &Stack,
    retired: &[&Retired],
    sealer: Option<&Sealer>,
) -> Vec<SecretString> {
    let open = |Retired { name, sealed, .. }: &&Retired| sealer?.open(&stack.id, name, sealed).ok();
    retired.iter().filter_map(open).collect()
}

fn may_have(run: &Run, variable: &Variable) -> bool {
    let for_its_type = match variable.runs {
        VariableRuns::All => true,
        VariableRuns::Tracked => match &run.test {
            Some(test) => test.tracked,
            // It executes what was deployed with them.
            None => run.run_type == RunType::Tracked || run.is_drift(),
        },
    };
    for_its_type && !is_kept_from_fork(run, variable)
}

fn is_kept_from_fork(run: &Run, variable: &Variable) -> bool {
    run.fork_of.is_some() && matches!(variable.value, VariableValue::Sealed(_))
}

fn open(
    stack: &Stack,
    variable: &Variable,
    sealer: Option<&Sealer>,
) -> Result<RunVariable, Sealed> {
    let name = variable.name.clone();
    match &variable.value {
        VariableValue::Plain(value) => {
            Ok(RunVariable { name, value: value.clone(), secret: false })
        }
        VariableValue::Sealed(sealed) => {
            let opened = sealer.and_then(|sealer| sealer.open(&stack.id, &name, sealed).ok());
            match opened {
                Some(value) => {
                    Ok(RunVariable { name, value: value.expose_secret().to_owned(), secret: true })
                }
                None => Err(Sealed::Present(name)),
            }
        }
    }
}
