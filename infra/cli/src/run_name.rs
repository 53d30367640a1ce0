//! How a run is named on the command line, and which run that is.

use crate::{
    address::{Slug, is_id, run_page},
    answers::{Kind, Run, RunSummary},
    error::{About as _, Error},
    session::Session,
};
use std::{fmt, str::FromStr};

/// A run as it is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RunName {
    /// `network#6`
    Numbered {
        /// The stack.
        stack: Slug,
        /// Its number among the stack's runs.
        number: u64,
    },
    /// `r-8c41d7`
    Id(String),
    /// `https://gantry.example.com/runs/r-8c41d7`
    Page {
        /// The Gantry whose page it is.
        base: String,
        /// The run's id.
        id: String,
    },
}

impl FromStr for RunName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "should look like network#6, a run's id, or the address of a run's page; \
                     `gantry runs` lists runs";
        if text.contains("://") {
            return run_page(text).map(|(base, id)| Self::Page { base, id }).ok_or(wrong);
        }
        if let Some((stack, number)) = text.split_once('#') {
            let number = Some(number).filter(|n| n.bytes().all(|byte| byte.is_ascii_digit()));
            let number = number.and_then(|number| number.parse().ok());
            let stack = stack.parse().ok();
            let named = stack.zip(number).map(|(stack, number)| Self::Numbered { stack, number });
            return named.ok_or(wrong);
        }
        is_id(text).then(|| Self::Id(text.to_owned())).ok_or(wrong)
    }
}

impl fmt::Display for RunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numbered { stack, number } => write!(f, "{}#{number}", stack.as_str()),
            Self::Id(id) | Self::Page { id, .. } => f.write_str(id),
        }
    }
}

/// The run that is meant. `verb` is what is to be done with it: `stop`.
pub(crate) async fn find(session: &mut Session, name: &RunName, verb: &str) -> Result<Run, Error> {
    let what = || format!("{verb} {name}");
    let id = match name {
        RunName::Numbered { stack, number } => id_of(session, stack, *number).await.about(what)?,
        RunName::Id(id) | RunName::Page { id, .. } => id.clone(),
    };
    let found = session.get_as::<Run>(&["runs", &id], &[]).await;
    match (found, name) {
        (Err(Error::Refused(refusal)), RunName::Page { base, .. })
            if refusal.status == 404 && base != session.base().as_str() =>
        {
            Err(Error::Failed(format!(
                "{} has no run {id}. The page is of {base}: if that is another Gantry, run `gantry \
                 login {base}`.",
                session.base()
            )))
        }
        (Err(Error::Refused(refusal)), RunName::Id(id)) if refusal.status == 404 => {
            Err(no_run(session, id).await).about(what)
        }
        (found, _) => found.about(what),
    }
}

/// Why there is no run of this id. It may be the slug of a stack or module.
async fn no_run(session: &mut Session, id: &str) -> Error {
    let newest = session.get_as::<Page>(&["stacks", id, "runs"], &[("limit", "1")]).await;
    Error::Failed(match newest.map(|page| page.runs.into_iter().next()) {
        Ok(Some(run)) => {
            let is_of_module = run.module || run.kind == Kind::Test;
            let what = if is_of_module { "module" } else { "stack" };
            format!(
                "{id} is a {what}, not a run: `gantry runs {id}` lists its runs, and the newest is \
                 {}.",
                run.name()
            )
        }
        Ok(None) => format!("{id} has no runs yet. `gantry plan {id}` starts one."),
        Err(Error::Refused(refusal)) if refusal.status == 404 => format!(
            "There is no stack, module or run {id}. `gantry stacks` lists stacks, and `gantry \
             runs` lists runs."
        ),
        Err(error) => return error,
    })
}

/// Runs are listed newest first, and their numbers only fall.
async fn id_of(session: &mut Session, stack: &Slug, number: u64) -> Result<String, Error> {
    let mut after: Option<String> = None;
    loop {
        let mut query = vec![("limit", "100")];
        query.extend(after.as_deref().map(|after| ("after", after)));
        let path = ["stacks", stack.as_str(), "runs"];
        let page = session.get_as::<Page>(&path, &query).await?;
        for run in &page.runs {
            match run.number {
                None => {
                    return Err(Error::Failed(format!(
                        "{} is an older Gantry, whose API does not tell the numbers of runs: name \
                         the run by its id, or by the address of its page.",
                        session.base()
                    )));
                }
                Some(of_run) if of_run == number => return Ok(run.id.clone()),
                Some(_) => {}
            }
        }
        let is_past = page.runs.last().and_then(|run| run.number).is_some_and(|last| last < number);
        match page.next {
            Some(next) if !is_past => {
                session.must_go_on(after.as_ref(), Some(&next))?;
                after = Some(next);
            }
            _ => {
                let stack = stack.as_str();
                return Err(Error::Failed(format!(
                    "{stack} has no run #{number}. `gantry runs {stack}` lists its runs."
                )));
            }
        }
    }
}

#[derive(serde::Deserialize)]
struct Page {
    runs: Vec<RunSummary>,
    next: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_named_in_three_ways() {
        let named = |text: &str| text.parse::<RunName>();
        assert_eq!(
            named("network#6"),
            Ok(RunName::Numbered { stack: "network".parse().unwrap(), number: 6 })
        );
        assert_eq!(named("r-8c41d7"), Ok(RunName::Id("r-8c41d7".to_owned())));
        assert_eq!(
            named("https://gantry.example.com/runs/r-8c41d7?at=1"),
            Ok(RunName::Page {
                base: "https://gantry.example.com".to_owned(),
                id: "r-8c41d7".to_owned()
            })
        );
        assert_eq!(named("network#6").unwrap().to_string(), "network#6");
        for bad in [
            "",
            "#6",
            "network#",
            "network#x",
            "network#+6",
            "network#-1",
            "a b",
            "../x",
            "https://x",
        ] {
            assert!(named(bad).is_err(), "{bad}");
        }
    }
}
