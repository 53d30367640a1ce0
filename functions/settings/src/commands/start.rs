//! What people start for a stack: a run in the usual way or another one, a look for drift, a task.

use super::{
    CommandView,
    decide::{Said, decide},
    give, may_start, refuse,
};
use crate::{
    access::{About, Caller},
    app::App,
    form::Form,
    refusal::{Answer, Refusal},
    stacks::{self, Kind, OneOffs},
};
use gantry_domain::{
    CommitSha, Repository,
    rights::Right,
    run::{Address, PlanMode, PlanOptions, RunType},
    stack::Stack,
    text::{clean_line, unpushed::options_in_a_line},
};
use gantry_queue::Command;

/// Targets, or resources to replace, of one run.
const MOST_ADDRESSES: usize = 100;

pub(super) async fn run(
    app: &App,
    caller: &Caller,
    slug: &str,
    mut form: Form,
) -> Answer<CommandView> {
    let run_type = form.choice::<RunType>("type").unwrap_or(RunType::Tracked);
    if run_type == RunType::Test {
        form.wrong("type", "Must be tracked or proposed");
    }
    let named = form.text("commit");
    let unusual = Unusual::read(&mut form);
    form.check()?;
    let stack = stacks::find(app, slug).await?.value;
    if run_type == RunType::Tracked {
        // The route lets whoever may start a preview of the stack through.
        caller.check(Right::Deploy, About::stack(&stack))?;
    }
    let options = unusual.options(app, caller, &stack, run_type)?;
    let commit = match &stack.repository {
        Repository::Git(url) => {
            let head = stacks::head_of(app, url, &stack.branch).await?;
            if named.as_ref().is_some_and(|text| *text != stack.branch && !begins(&head, text)) {
                return Err(refuse(format!(
                    "{} is at {}. Only that commit can be run, because the code is not in GitLab.",
                    stack.branch,
                    head.short()
                )));
            }
            Some(head)
        }
        Repository::Gitlab(_) => find_commit(app, &stack, named.as_deref()).await?,
    };
    let check = async {
        may_start(app, &stack, run_type).await?;
        let known = stacks::tracked_branch(app, &stack).await?;
        if commit.is_none() && known.is_some_and(|known| known.missing) {
            return Err(refuse(format!("The branch {} does not exist.", stack.branch)));
        }
        Ok(())
    };
    let branch = named.filter(|text| commit.as_ref().is_some_and(|sha| !begins(sha, text)));
    let said = Said::asking(options_in_a_line(&options));
    let command = Command::Trigger { run_type, commit: commit.clone(), branch, options };
    decide(app, caller, &stack, command, said, check).await
}

/// What is unusual about a run, as it was sent.
struct Unusual {
    mode: PlanMode,
    targets: Vec<Address>,
    replace: Vec<Address>,
    variables: OneOffs,
    /// The slug of the stack of which nothing is to be left.
    confirm_slug: Option<String>,
}

impl Unusual {
    fn read(form: &mut Form) -> Self {
        let mode = form.choice::<PlanMode>("mode").unwrap_or_default();
        let targets = addresses(form, "targets");
        let replace = addresses(form, "replace");
        // The tools refuse it too, once the run has a runner.
        if !replace.is_empty() && !mode.is_normal() {
            form.wrong("replace", "Only possible with the mode normal");
        }
        let variables = OneOffs::read(form);
        Self { mode, targets, replace, variables, confirm_slug: form.text("confirm_slug") }
    }

    /// How the run plans, if the caller may have it planned so.
    fn options(
        self,
        app: &App,
        caller: &Caller,
        stack: &Stack,
        run_type: RunType,
    ) -> Answer<PlanOptions> {
        let Self { mode, targets, replace, variables, confirm_slug } = self;
        if mode == PlanMode::Destroy && run_type == RunType::Tracked {
            caller.check(Right::Edit, About::stack(stack))?;
            if confirm_slug.as_deref() != Some(stack.slug.as_str()) {
                let problem = format!("Type \"{}\" to confirm.", stack.slug);
                return Err(Refusal::field("confirm_slug", problem));
            }
        }
        let variables = variables.seal(&app.sealer, stack)?;
        let options = PlanOptions { mode, targets, replace, variables };
        if stack.module.is_some() && !options.is_usual() {
            return Err(refuse("A module is tested, and not planned in another way."));
        }
        Ok(options)
    }
}

fn addresses(form: &mut Form, name: &'static str) -> Vec<Address> {
    let address = |text: &str| Address::try_from(text.to_owned());
    let check = |text: &str| address(text).map(String::from).map_err(str::to_owned);
    let texts = form.texts(name, MOST_ADDRESSES, check).unwrap_or_default();
    texts.iter().filter_map(|text| address(text).ok()).collect()
}

/// The text is the SHA of the commit, or at least 7 digits of its beginning.
fn begins(commit: &CommitSha, text: &str) -> bool {
    text.len() >= 7 && commit.as_str().starts_with(text)
}

/// The commit that somebody names in the stack's project: by its SHA or the beginning of it, by a
/// branch or by a tag; none if nobody names any.
pub(crate) async fn find_commit(
    app: &App,
    stack: &Stack,
    text: Option<&str>,
) -> Answer<Option<CommitSha>> {
    let (Some(project), Some(text)) = (stack.project(), text) else { return Ok(None) };
    if let Ok(whole) = text.parse() {
        return Ok(Some(whole));
    }
    let found = app.gitlab.linked().await?.client.commit(project, text).await?;
    let missing = || {
        let project = &stack.project_path;
        let problem = format!("{project} has no commit, branch or tag with this name");
        Refusal::field("commit", problem)
    };
    found.map(|found| Some(found.id)).ok_or_else(missing)
}

pub(super) async fn look_for_drift(
    app: &App,
    caller: &Caller,
    slug: &str,
    form: Form,
) -> Answer<CommandView> {
    form.check()?;
    let stack = stacks::find_of(app, Kind::Stack, slug).await?.value;
    let check = async {
        may_start(app, &stack, RunType::Tracked).await?;
        let head = stacks::head(app, &stack.id).await?.map(|head| head.value);
        match head.and_then(|head| head.last_applied.map(|_| head.destroyed.is_some())) {
            Some(false) => Ok(()),
            Some(true) => Err(refuse("Everything of the stack was destroyed.")),
            None => Err(refuse("Nothing was applied yet, so nothing can have drifted from it.")),
        }
    };
    give(app, caller, &stack, Command::LookForDrift, check).await
}

pub(super) async fn task(
    app: &App,
    caller: &Caller,
    slug: &str,
    mut form: Form,
) -> Answer<CommandView> {
    let command = match form.raw_text("command").as_deref().map(stacks::command) {
        Some(Ok(command)) => command,
        Some(Err(problem)) => {
            form.wrong("command", problem);
            String::new()
        }
        None => {
            form.wrong("command", "Enter a command.");
            String::new()
        }
    };
    form.check()?;
    let stack = stacks::find_of(app, Kind::Stack, slug).await?.value;
    let check = may_start(app, &stack, RunType::Tracked);
    let said = Said::asking(Some(format!("Command: {}", clean_line(&command, 1_000))));
    decide(app, caller, &stack, Command::Task { command }, said, check).await
}
